//! Numbers in words and digits.

const ENGLISH: &[(&str, u32)] = &[
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
    ("hundred", 100),
];

const FRENCH: &[(&str, u32)] = &[
    ("un", 1),
    ("une", 1),
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
    ("vingts", 20),
    ("trente", 30),
    ("quarante", 40),
    ("cinquante", 50),
    ("soixante", 60),
    ("cent", 100),
];

fn word(text: &str) -> Option<u32> {
    ENGLISH
        .iter()
        .chain(FRENCH)
        .find(|(word, _)| *word == text)
        .map(|(_, value)| *value)
}

/// A number at the beginning of these words, and how many of them it is. Digits may have a fraction.
pub(super) fn number(words: &[&str]) -> Option<(f64, usize)> {
    let first = words.first()?;
    if first.starts_with(|c: char| c.is_ascii_digit()) {
        let value = first
            .replace(',', ".")
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value < 1e9)?;
        return Some((value, 1));
    }
    let (mut total, mut last, mut at) = (0, u32::MAX, 0);
    while let Some(text) = words.get(at) {
        // "Twenty and one", « vingt et un »; but not the "and" before something else.
        let joined = matches!(*text, "et" | "and")
            && at > 0
            && words
                .get(at + 1)
                .and_then(|next| word(next))
                .is_some_and(|next| next < last);
        if joined {
            at += 1;
            continue;
        }
        let Some(value) = word(text) else { break };
        let times = match (last, value) {
            // « quatre-vingt », "two hundred".
            (4, 20) | (1..=9, 100) => true,
            _ => false,
        };
        if times {
            total = total - last + last * value;
        } else if value < last
            && (last >= 20
                || last == u32::MAX
                || (last, value) == (10, 7)
                || (last, value) == (10, 8)
                || (last, value) == (10, 9))
        {
            total += value;
        } else {
            break;
        }
        last = if times { last * value } else { value };
        at += 1;
    }
    (at > 0).then_some((f64::from(total), at))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_read() {
        for (text, expected) in [
            ("ten minutes", Some((10.0, 1))),
            ("21 degrees", Some((21.0, 1))),
            ("21,5 degres", Some((21.5, 1))),
            ("twenty one", Some((21.0, 2))),
            ("vingt et un degres", Some((21.0, 3))),
            ("quatre vingt dix neuf", Some((99.0, 4))),
            ("soixante quinze", Some((75.0, 2))),
            ("soixante dix sept", Some((77.0, 3))),
            ("dix neuf", Some((19.0, 2))),
            ("one hundred and twenty", Some((120.0, 4))),
            ("cent", Some((100.0, 1))),
            ("five six", Some((5.0, 1))),
            ("minutes", None),
            ("1e99", None),
            ("", None),
        ] {
            let words: Vec<&str> = text.split(' ').collect();
            assert_eq!(number(&words), expected, "{text}");
        }
    }
}
