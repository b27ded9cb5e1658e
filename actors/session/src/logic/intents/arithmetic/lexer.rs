//! Reads a calculation's words and signs. Anything it does not know means that the message is no calculation.

use super::number::{MathError, Number};
use crate::logic::intents::language::Language;

/// Most tokens of a calculation.
pub(super) const MAX_TOKENS: usize = 400;

/// A piece of a calculation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token {
    /// A number.
    Number(Number),
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`, `times`, `fois`
    Times,
    /// `/`, `divided by`, `divisé par`
    Over,
    /// `mod`
    Mod,
    /// `^`
    Power,
    /// `%`: remainder or hundredths, as what follows says
    Percent,
    /// `of`, `de` behind a percentage
    Of,
    /// `√`, `square root of`
    Root,
    /// `(`
    Open,
    /// `)`
    Close,
}

/// What words mean. The longer ones stand before their own beginnings.
const WORDS: &[(&[&str], &[Token])] = &[
    (&["to", "the", "power", "of"], &[Token::Power]),
    (&["the", "square", "root", "of"], &[Token::Root]),
    (&["square", "root", "of"], &[Token::Root]),
    (&["square", "root"], &[Token::Root]),
    (&["la", "racine", "carree", "de"], &[Token::Root]),
    (&["racine", "carree", "de"], &[Token::Root]),
    (&["racine", "de"], &[Token::Root]),
    (&["racine"], &[Token::Root]),
    (&["sqrt"], &[Token::Root]),
    (&["multiplied", "by"], &[Token::Times]),
    (&["multiplie", "par"], &[Token::Times]),
    (&["multiplies", "par"], &[Token::Times]),
    (&["divided", "by"], &[Token::Over]),
    (&["divise", "par"], &[Token::Over]),
    (&["divises", "par"], &[Token::Over]),
    (&["to", "the"], &[Token::Power]),
    (&["a", "la", "puissance"], &[Token::Power]),
    (&["puissance"], &[Token::Power]),
    (&["power"], &[Token::Power]),
    (&["pow"], &[Token::Power]),
    (&["squared"], &[Token::Power, Token::Number(Number::Exact(2, 1))]),
    (&["cubed"], &[Token::Power, Token::Number(Number::Exact(3, 1))]),
    (
        &["au", "carre"],
        &[Token::Power, Token::Number(Number::Exact(2, 1))],
    ),
    (
        &["au", "cube"],
        &[Token::Power, Token::Number(Number::Exact(3, 1))],
    ),
    (&["percent"], &[Token::Percent]),
    (&["per", "cent"], &[Token::Percent]),
    (&["pour", "cent"], &[Token::Percent]),
    (&["pourcent"], &[Token::Percent]),
    (&["pourcents"], &[Token::Percent]),
    (&["of"], &[Token::Of]),
    (&["de"], &[Token::Of]),
    (&["plus"], &[Token::Plus]),
    (&["minus"], &[Token::Minus]),
    (&["less"], &[Token::Minus]),
    (&["moins"], &[Token::Minus]),
    (&["times"], &[Token::Times]),
    (&["fois"], &[Token::Times]),
    (&["over"], &[Token::Over]),
    (&["sur"], &[Token::Over]),
    (&["modulo"], &[Token::Mod]),
    (&["mod"], &[Token::Mod]),
];

const NUMBER_WORDS: &[(&str, i128)] = &[
    ("zero", 0),
    ("one", 1),
    ("two", 2),
    ("three", 3),
    ("four", 4),
    ("five", 5),
    ("six", 6),
    ("seven", 7),
    ("eight", 8),
    ("nine", 9),
    ("ten", 10),
    ("eleven", 11),
    ("twelve", 12),
    ("thirteen", 13),
    ("fourteen", 14),
    ("fifteen", 15),
    ("sixteen", 16),
    ("seventeen", 17),
    ("eighteen", 18),
    ("nineteen", 19),
    ("twenty", 20),
    ("thirty", 30),
    ("forty", 40),
    ("fifty", 50),
    ("sixty", 60),
    ("seventy", 70),
    ("eighty", 80),
    ("ninety", 90),
    ("un", 1),
    ("deux", 2),
    ("trois", 3),
    ("quatre", 4),
    ("cinq", 5),
    ("sept", 7),
    ("huit", 8),
    ("neuf", 9),
    ("dix", 10),
    ("onze", 11),
    ("douze", 12),
    ("treize", 13),
    ("quatorze", 14),
    ("quinze", 15),
    ("seize", 16),
    ("vingt", 20),
    ("trente", 30),
    ("quarante", 40),
    ("cinquante", 50),
    ("soixante", 60),
];

/// The pieces of `text` (lower case, without accents), or none where it holds anything else.
pub(super) fn read(text: &str, language: Language) -> Option<Result<Vec<Token>, MathError>> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if c.is_whitespace() {
            at += 1;
        } else if c.is_ascii_digit()
            || (matches!(c, '.' | ',') && chars.get(at + 1).is_some_and(char::is_ascii_digit))
        {
            let (number, next) = number(&chars, at, language);
            match number {
                Ok(number) => tokens.push(Token::Number(number)),
                Err(error) => return Some(Err(error)),
            }
            at = next;
        } else if c.is_ascii_alphabetic() {
            at = words(&chars, at, &mut tokens)?;
        } else {
            // "10:30" is a time of day; "10 : 2" divides.
            if c == ':' && chars.get(at + 1).is_some_and(char::is_ascii_digit) {
                return None;
            }
            sign(c, &mut tokens)?;
            at += 1;
        }
        if tokens.len() > MAX_TOKENS {
            return Some(Err(MathError::TooComplex));
        }
    }
    Some(Ok(tokens))
}

fn sign(c: char, tokens: &mut Vec<Token>) -> Option<()> {
    let token = match c {
        '+' => Token::Plus,
        '-' | '−' | '–' => Token::Minus,
        // Two stars are a power, as programmers write it.
        '*' if tokens.last() == Some(&Token::Times) => {
            tokens.pop();
            Token::Power
        }
        '*' | '×' | '·' => Token::Times,
        '/' | '÷' | ':' => Token::Over,
        '^' => Token::Power,
        '%' => Token::Percent,
        '√' => Token::Root,
        '(' | '[' => Token::Open,
        ')' | ']' => Token::Close,
        '²' | '³' => {
            tokens.push(Token::Power);
            Token::Number(Number::whole(if c == '²' { 2 } else { 3 }))
        }
        _ => return None,
    };
    tokens.push(token);
    Some(())
}

/// Reads the words from `at` on and gives where they end; none if one is unknown.
fn words(chars: &[char], at: usize, tokens: &mut Vec<Token>) -> Option<usize> {
    let end = |from: usize| {
        chars[from..]
            .iter()
            .position(|c| !c.is_ascii_alphabetic())
            .map_or(chars.len(), |n| from + n)
    };
    // An x between numbers multiplies, with or without spaces: "3x4".
    if chars[at] == 'x' && end(at) == at + 1 {
        tokens.push(Token::Times);
        return Some(at + 1);
    }
    let mut ahead = Vec::new();
    let mut from = at;
    while ahead.len() < 4 && from < chars.len() && chars[from].is_ascii_alphabetic() {
        let to = end(from);
        ahead.push((chars[from..to].iter().collect::<String>(), to));
        from = to + chars[to..].iter().take_while(|c| c.is_whitespace()).count();
    }
    let (first, after_first) = ahead.first()?;
    if let Some((_, value)) = NUMBER_WORDS.iter().find(|(word, _)| word == first) {
        tokens.push(Token::Number(Number::whole(*value)));
        return Some(*after_first);
    }
    let (phrase, meaning) = WORDS.iter().find(|(phrase, _)| {
        phrase.len() <= ahead.len() && phrase.iter().zip(&ahead).all(|(word, (read, _))| word == read)
    })?;
    tokens.extend_from_slice(meaning);
    Some(ahead[phrase.len() - 1].1)
}

/// Reads one number from `at` on and gives where it ends.
fn number(chars: &[char], at: usize, language: Language) -> (Result<Number, MathError>, usize) {
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let mut end = at;
    let mut groups = vec![String::new()];
    let mut marks = Vec::new();
    while end < chars.len() {
        let c = chars[end];
        if c.is_ascii_digit() {
            groups.last_mut().expect("there is always a group").push(c);
        } else if matches!(c, '.' | ',') && digit(end + 1) {
            marks.push(c);
            groups.push(String::new());
        } else if c.is_whitespace()
            && groups_by_space(chars, end, language)
            && !marks.iter().any(|m| matches!(m, '.' | ','))
        {
            marks.push(' ');
            groups.push(String::new());
        } else {
            break;
        }
        end += 1;
    }
    (assemble(&groups, &marks, language), end)
}

/// Whether a space at `at` stands between groups of three digits, as in French "10 000".
fn groups_by_space(chars: &[char], at: usize, language: Language) -> bool {
    let digits = chars[at + 1..].iter().take_while(|c| c.is_ascii_digit()).count();
    language == Language::French && digits == 3
}

fn assemble(groups: &[String], marks: &[char], language: Language) -> Result<Number, MathError> {
    let (first, rest) = groups.split_first().ok_or(MathError::Malformed)?;
    let Some(&last_mark) = marks.last() else {
        return Number::from_digits(first, "");
    };
    let of_three = !first.is_empty() && rest.iter().all(|group| group.len() == 3);
    let same = marks.iter().all(|&mark| mark == last_mark);
    let thousands = match last_mark {
        ' ' => true,
        ',' => of_three && same && (language == Language::English || marks.len() > 1),
        _ => of_three && same && marks.len() > 1,
    };
    if thousands {
        return Number::from_digits(&groups.concat(), "");
    }
    // Only the last mark is a decimal one; those before it must be of another kind and set thousands apart.
    let (fraction, whole) = groups.split_last().ok_or(MathError::Malformed)?;
    if marks[..marks.len() - 1].contains(&last_mark) || whole[1..].iter().any(|group| group.len() != 3) {
        return Err(MathError::Malformed);
    }
    Number::from_digits(&whole.concat(), fraction)
}
