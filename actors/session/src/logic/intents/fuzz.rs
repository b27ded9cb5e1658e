//! Any text a person may send: it is answered, briefly, at once, and in the same words every time.

use jarvis_fuzz::fuzz;

use super::tests::facts;
use super::*;

/// Longest reply of the built-in responder, in characters: what it gives back of a message is shortened.
const LONGEST_REPLY_CHARS: usize = 2_000;

const WORDS: [&str; 40] = [
    "which node am I on",
    "what time is it",
    "quelle heure est-il",
    "quel jour",
    "combien font ",
    "what is ",
    "calculate ",
    "how many nodes",
    "repeat",
    "jarvis, ",
    "please",
    "s'il te plaît",
    "square root of ",
    "racine de ",
    " squared",
    " divided by ",
    " fois ",
    " times ",
    " plus ",
    " minus ",
    " moins ",
    " to the power of ",
    " puissance ",
    "percent of ",
    "% ",
    "(",
    ")",
    "^",
    "**",
    "!",
    "1e308",
    "0.1",
    "1,5",
    "1 000",
    "99999999999999999999",
    "two hundred",
    "quatre-vingt-dix",
    "½",
    "²",
    "π",
];

#[test]
fn fuzz_messages_of_people() {
    let facts = facts();
    fuzz!()
        .text()
        .words(WORDS)
        .seeds([
            "which node am I on?",
            "Sur quel nœud suis-je ?",
            "what is 2 + 3 * (4 - 1)",
            "combien font 12,5 % de 80 ?",
        ])
        .seeds([
            "what is the square root of 2",
            "2^10",
            "quelle heure est-il ?",
            "hello",
            "répète",
            "10 / 3",
            "-2^-2",
        ])
        .seeds([
            "one hundred and twenty-three times four",
            "deux fois trois plus quatre-vingts",
            "open the pod bay doors",
        ])
        .runs(300)
        .memory(512 * 1024, 256)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let understood = understand(text, &facts);
            assert!(!understood.text.trim().is_empty(), "everything is answered");
            let length = understood.text.chars().count();
            assert!(length <= LONGEST_REPLY_CHARS, "{length} characters");
            assert_eq!(understand(text, &facts), understood);
            assert!(without_model(text, "x").ends_with("\n\nx") && !cut_note(text).is_empty());
            // What kind of answer it was: its first words.
            understood.text.chars().take(16).collect::<String>()
        });
}

/// Arithmetic alone, so that more of it is reached.
#[test]
fn fuzz_arithmetic() {
    fuzz!()
        .text()
        .words([
            "+",
            "-",
            "*",
            "/",
            "^",
            "(",
            ")",
            "%",
            "!",
            ".",
            ",",
            "e",
            "9999999999",
            "0.0000001",
            "1e300",
            "sqrt",
            "racine de ",
            "²",
        ])
        .seeds([
            "2+2",
            "2^0.5",
            "(1+2)*(3-4)/5",
            "100 % 7",
            "50% of 10",
            "2^2^2^2",
            "1/3",
            "-(-(-1))",
            "10^100",
            "0^0",
            "1/0",
        ])
        .seeds([
            "what is 1,234.5 + 0.5",
            "combien font 1 234,5 + 0,5",
            "7 x 8",
            "7 × 8 ÷ 2",
            "2 − 3",
        ])
        .runs(4_000)
        .memory(512 * 1024, 256)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let answer = arithmetic::answer(&fold(text), Language::English)?;
            assert_eq!(
                arithmetic::answer(&fold(text), Language::English),
                Some(answer.clone())
            );
            assert!(answer.chars().count() <= LONGEST_REPLY_CHARS);
            assert!(!answer.contains("NaN") && !answer.contains("inf"), "{answer}");
            Some(
                answer
                    .chars()
                    .filter(|c| c.is_alphabetic())
                    .take(24)
                    .collect::<String>(),
            )
        });
}
