//! Calculations in words and signs, English and French: `12 * (3 + 4)`, "20 percent of 50", "racine carrée de 2".

mod lexer;
mod number;
mod parser;

use lexer::Token;
use number::{MathError, Number};

use super::language::Language;

/// Longest text that is read as a calculation, in characters.
const MAX_CALCULATION_CHARS: usize = 1_000;

/// What people put before a calculation; the longer ones first. Lower case, without accents.
const BEGINNINGS: &[&str] = &[
    "quel est le resultat de ",
    "what is the result of ",
    "combien ca fait ",
    "combien font ",
    "combien fait ",
    "c'est combien ",
    "c est combien ",
    "how much is ",
    "how much are ",
    "calcule-moi ",
    "calcule moi ",
    "calculate ",
    "calculer ",
    "calcule ",
    "compute ",
    "what is ",
    "what's ",
    "whats ",
    "que vaut ",
    "que fait ",
    "que font ",
    "combien ",
];

/// What may stand behind it.
const ENDINGS: &[&str] = &["ca fait combien", "equals", "egale", "egal", "=", "?", "!", "."];

/// The answer to a calculation; none where `folded` (lower case, without accents) is no calculation.
pub fn answer(folded: &str, language: Language) -> Option<String> {
    let text = bare(folded);
    if text.len() > MAX_CALCULATION_CHARS {
        // Only signs and digits: certainly meant as one, so it is answered rather than passed on.
        let numeric = text
            .chars()
            .all(|c| c.is_ascii_digit() || " +-*/^%().,".contains(c));
        return numeric.then(|| complaint(MathError::TooComplex, language));
    }
    if is_date_or_call_number(text) {
        return None;
    }
    let tokens = match lexer::read(text, language)? {
        Ok(tokens) => tokens,
        Err(error) => return Some(complaint(error, language)),
    };
    let numbers = tokens
        .iter()
        .filter(|token| matches!(token, Token::Number(_)))
        .count();
    // One token alone is no calculation: a year, a house number.
    if numbers == 0 || numbers == tokens.len() {
        return None;
    }
    // "One of two" speaks of something else: only a percentage is of something.
    if tokens
        .iter()
        .enumerate()
        .any(|(at, &t)| t == Token::Of && (at == 0 || tokens[at - 1] != Token::Percent))
    {
        return None;
    }
    Some(match parser::evaluate(&tokens) {
        Ok(value) => result(&tokens, value, language),
        Err(error) => complaint(error, language),
    })
}

/// Whether the text is written as dates and telephone numbers are: "12/05/2026", "2026-11-20", "06-12-34-56-78".
fn is_date_or_call_number(text: &str) -> bool {
    ['/', '-'].into_iter().any(|mark| {
        let groups: Vec<&str> = text.split(mark).collect();
        let digits = groups
            .iter()
            .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
        let zero = groups
            .iter()
            .any(|group| group.len() > 1 && group.starts_with('0'));
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let date = matches!(lengths[..], [1 | 2, 1 | 2, 4] | [4, 1 | 2, 1 | 2]);
        groups.len() > 2 && digits && (zero || date)
    })
}

fn bare(folded: &str) -> &str {
    let mut text = folded.trim();
    while let Some(rest) = BEGINNINGS
        .iter()
        .find_map(|beginning| text.strip_prefix(beginning))
    {
        text = rest.trim_start();
    }
    while let Some(rest) = ENDINGS.iter().find_map(|ending| text.strip_suffix(ending)) {
        text = rest.trim_end();
    }
    text
}

fn result(tokens: &[Token], value: Number, language: Language) -> String {
    let (text, exact) = value.display(language.decimal_mark());
    format!(
        "{} {} {text}",
        written(tokens, language),
        if exact { "=" } else { "≈" }
    )
}

/// The calculation as it was understood, so that a misreading shows.
fn written(tokens: &[Token], language: Language) -> String {
    let mut out = String::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before]);
        let sign = !matches!(before, Some(Token::Number(_) | Token::Close | Token::Percent));
        match token {
            Token::Number(value) => out.push_str(&value.display(language.decimal_mark()).0),
            Token::Plus => out.push_str(" + "),
            Token::Minus if sign => out.push('-'),
            Token::Minus => out.push_str(" - "),
            Token::Times => out.push_str(" × "),
            Token::Over => out.push_str(" ÷ "),
            Token::Mod => out.push_str(" mod "),
            Token::Power => out.push('^'),
            Token::Percent
                if matches!(
                    tokens.get(at + 1),
                    Some(Token::Number(_) | Token::Open | Token::Root)
                ) =>
            {
                out.push_str(" mod ");
            }
            Token::Percent => out.push_str(if language == Language::French { " %" } else { "%" }),
            Token::Of => out.push_str(if language == Language::French {
                " de "
            } else {
                " of "
            }),
            Token::Root => out.push('√'),
            Token::Open => out.push('('),
            Token::Close => out.push(')'),
        }
    }
    out
}

fn complaint(error: MathError, language: Language) -> String {
    let text = match (language, error) {
        (Language::English, MathError::DivisionByZero) => "That divides by zero, which has no result.",
        (Language::English, MathError::TooLarge) => "The result is too large for me to write down.",
        (Language::English, MathError::NotReal) => {
            "That has no real result: it takes the root of a negative number."
        }
        (Language::English, MathError::TooComplex) => {
            "That calculation is too long or nested too deep for me."
        }
        (Language::English, MathError::Malformed) => {
            "I cannot read that calculation: something is missing or out of place. Try \"12 * (3 + 4)\"."
        }
        (Language::French, MathError::DivisionByZero) => {
            "C'est une division par zéro, qui n'a pas de résultat."
        }
        (Language::French, MathError::TooLarge) => "Le résultat est trop grand pour que je l'écrive.",
        (Language::French, MathError::NotReal) => {
            "Il n'y a pas de résultat réel : c'est la racine d'un nombre négatif."
        }
        (Language::French, MathError::TooComplex) => "Ce calcul est trop long ou trop imbriqué pour moi.",
        (Language::French, MathError::Malformed) => {
            "Je n'arrive pas à lire ce calcul : il manque quelque chose. Essayez « 12 * (3 + 4) »."
        }
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::intents::language::fold;

    fn english(text: &str) -> Option<String> {
        answer(&fold(text), Language::English)
    }

    fn french(text: &str) -> Option<String> {
        answer(&fold(text), Language::French)
    }

    #[test]
    fn calculations_in_english() {
        for (asked, expected) in [
            ("2+2", "2 + 2 = 4"),
            ("What is 12 * (3 + 4)?", "12 × (3 + 4) = 84"),
            ("what's 7 times 8 ?", "7 × 8 = 56"),
            ("two plus two", "2 + 2 = 4"),
            ("10 divided by 4", "10 ÷ 4 = 2.5"),
            ("1/3", "1 ÷ 3 ≈ 0.3333333333"),
            ("1/3*3", "1 ÷ 3 × 3 = 1"),
            ("0.1 + 0.2", "0.1 + 0.2 = 0.3"),
            ("1,000 + 1", "1000 + 1 = 1001"),
            ("1,234.5 * 2", "1234.5 × 2 = 2469"),
            ("20% of 50", "20% of 50 = 10"),
            ("20 percent of 50", "20% of 50 = 10"),
            ("50 + 10%", "50 + 10% = 55"),
            ("17 % 5", "17 mod 5 = 2"),
            ("-7 mod 3", "-7 mod 3 = 2"),
            ("2^10", "2^10 = 1024"),
            ("2**10", "2^10 = 1024"),
            ("2^3^2", "2^3^2 = 512"),
            ("-2^2", "-2^2 = -4"),
            ("2^-2", "2^-2 = 0.25"),
            ("square root of 144", "√144 = 12"),
            ("square root of 2", "√2 ≈ 1.414213562"),
            ("the square root of 9/16", "√9 ÷ 16 = 0.1875"),
            ("5 squared", "5^2 = 25"),
            ("3x4", "3 × 4 = 12"),
            ("2(3+4)", "2(3 + 4) = 14"),
            ("5 - -3", "5 - -3 = 8"),
            ("100-20-5", "100 - 20 - 5 = 75"),
            ("10 : 4", "10 ÷ 4 = 2.5"),
            ("100^100", "100^100 ≈ 1e200"),
            (
                "170141183460469231731687303715884105727 + 1",
                "170141183460469231731687303715884105727 + 1 ≈ 1.701411835e38",
            ),
        ] {
            assert_eq!(english(asked).as_deref(), Some(expected), "{asked}");
        }
    }

    #[test]
    fn calculations_in_french() {
        for (asked, expected) in [
            ("Combien font 3 fois 4 ?", "3 × 4 = 12"),
            ("10 divisé par 4", "10 ÷ 4 = 2,5"),
            ("1,5 + 1,25", "1,5 + 1,25 = 2,75"),
            ("10 000 + 1", "10000 + 1 = 10001"),
            ("20 % de 50", "20 % de 50 = 10"),
            ("vingt moins sept", "20 - 7 = 13"),
            ("racine carrée de 81", "√81 = 9"),
            ("5 au carré", "5^2 = 25"),
        ] {
            assert_eq!(french(asked).as_deref(), Some(expected), "{asked}");
        }
    }

    #[test]
    fn what_has_no_result_is_said_so() {
        for (asked, expected) in [
            ("1/0", "divides by zero"),
            ("5 mod 0", "divides by zero"),
            ("0^-1", "divides by zero"),
            ("10^1000", "too large"),
            ("sqrt(-1)", "no real result"),
            ("(-8)^0.5", "no real result"),
            ("3 +", "cannot read"),
            ("(1 + 2", "cannot read"),
            ("1.2.3.4 + 1", "cannot read"),
        ] {
            let reply = english(asked).unwrap_or_default();
            assert!(reply.contains(expected), "{asked}: {reply}");
        }
        assert!(french("1/0").is_some_and(|reply| reply.contains("division par zéro")));
    }

    #[test]
    fn depth_and_length_are_bounded() {
        for hostile in [
            "(".repeat(900),
            format!("1{}", "-".repeat(900)),
            format!("{}1", "-".repeat(900)),
            "1+".repeat(100_000),
            format!("2{}", "^2".repeat(400)),
            "√".repeat(900),
            "9".repeat(900) + "+1",
        ] {
            let reply = english(&hostile);
            assert!(
                reply.as_ref().is_none_or(|reply| reply.len() < 1_200),
                "{reply:?}"
            );
        }
        assert!(
            english(&format!("{}1{}", "(".repeat(100), ")".repeat(100)))
                .is_some_and(|r| r.contains("too long"))
        );
    }

    #[test]
    fn other_messages_are_no_calculations() {
        for text in [
            "2024",
            "hello",
            "what is love",
            "call me at 5",
            "who is number one",
            "",
            "-",
            "plus",
            "42?",
        ] {
            assert_eq!(english(text), None, "{text}");
        }
    }

    #[test]
    fn extremes_never_panic() {
        let numbers = [
            "0",
            "1",
            "170141183460469231731687303715884105727",
            "(-170141183460469231731687303715884105727-1)",
            "0.000000000000000000000000000001",
            "1e5",
        ];
        for a in numbers {
            for b in numbers {
                for sign in ["+", "-", "*", "/", "mod ", "^"] {
                    let _ = english(&format!("{a} {sign}{b}"));
                    let _ = english(&format!("sqrt({a} {sign}{b})"));
                }
            }
        }
    }
}
