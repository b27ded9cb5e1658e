//! A transcript is the same on every node.

use super::Broken;
use crate::history::Entry;

const LAW: &str = "transcripts are the same everywhere";

/// Compares the transcripts of one session as several nodes give them.
pub fn check(session: &str, by_node: &[(String, Vec<Entry>)]) -> Vec<Broken> {
    let Some(((first, expected), others)) = by_node.split_first() else {
        return Vec::new();
    };
    let differing = others.iter().filter(|(_, entries)| entries != expected);
    differing
        .map(|(node, entries)| {
            let at = expected.iter().zip(entries).position(|(a, b)| a != b);
            let (here, there) = (expected.len(), entries.len());
            let what = format!("{first} has {here} entries, {node} {there}; first difference at {at:?}");
            Broken {
                law: LAW,
                session: session.to_owned(),
                what,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_differs_is_found() {
        let entry = |seq| Entry {
            seq,
            about: "a".into(),
            reply: false,
            text: String::new(),
        };
        let same = vec![
            ("n1".to_owned(), vec![entry(1)]),
            ("n2".to_owned(), vec![entry(1)]),
        ];
        assert!(check("s", &same).is_empty());
        let differing = vec![("n1".to_owned(), vec![entry(1)]), ("n2".to_owned(), vec![])];
        assert_eq!(check("s", &differing).len(), 1);
    }
}
