//! What is subscribed to: filters that do not overlap, so that a broker sends every message once.
//!
//! MQTT lets a broker send a message once for each subscription that it matches, and Mosquitto does so unless told otherwise;
//! each copy has a packet id of its own and could be taken for another message. Two filters that overlap are therefore
//! replaced by one that covers both. What comes besides is for nobody and follows nothing.

use std::collections::BTreeSet;

/// Filters that together cover all of `wanted`, none of which overlaps another.
pub(super) fn without_overlap(wanted: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let (mut wild, plain): (BTreeSet<String>, BTreeSet<String>) =
        wanted.into_iter().partition(|filter| is_wild(filter));
    // Joining makes filters wider, never more of them: it ends.
    while let Some((one, other)) = overlapping(&wild) {
        wild.remove(&one);
        wild.remove(&other);
        wild.insert(join(&one, &other));
    }
    let covered = |topic: &String| wild.iter().any(|filter| overlap(filter, topic));
    let alone: Vec<String> = plain.into_iter().filter(|topic| !covered(topic)).collect();
    wild.into_iter().chain(alone).collect()
}

fn is_wild(filter: &str) -> bool {
    filter.contains(['+', '#'])
}

fn overlapping(wild: &BTreeSet<String>) -> Option<(String, String)> {
    wild.iter().enumerate().find_map(|(n, one)| {
        let other = wild.iter().skip(n + 1).find(|other| overlap(one, other))?;
        Some((one.clone(), other.clone()))
    })
}

/// Whether some topic matches both.
fn overlap(one: &str, other: &str) -> bool {
    // Topics that begin with `$` are not for filters that begin with a wildcard.
    let hidden = |a: &str, b: &str| a.starts_with('$') && b.starts_with(['+', '#']);
    if hidden(one, other) || hidden(other, one) {
        return false;
    }
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    loop {
        match (ones.next(), others.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(a), Some(b)) if a == b || a == "+" || b == "+" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

/// The narrowest filter that covers both of two that overlap.
fn join(one: &str, other: &str) -> String {
    let (mut ones, mut others) = (one.split('/'), other.split('/'));
    let mut levels = Vec::new();
    loop {
        match (ones.next(), others.next()) {
            (None, None) => break,
            (Some(a), Some(b)) if a != "#" && b != "#" => levels.push(if a == b { a } else { "+" }),
            _ => {
                levels.push("#");
                break;
            }
        }
    }
    levels.join("/")
}

#[cfg(test)]
mod tests {
    use super::without_overlap;

    #[test]
    fn nothing_comes_twice_and_nothing_is_left_out() {
        #[rustfmt::skip]
        let table: &[(&[&str], &[&str])] = &[
            (&["a", "b"], &["a", "b"]),
            (&["a/b", "a/+"], &["a/+"]),
            (&["a/b", "a/#", "a"], &["a/#"]),
            (&["a/+", "+/b"], &["+/+"]),
            (&["a/+/c", "a/b/#"], &["a/+/#"]),
            (&["h/+/+/config", "h/sensor/#", "z/+"], &["h/+/#", "z/+"]),
            // Joined, it overlaps a third.
            (&["a/+", "+/b", "c/d"], &["+/+"]),
            (&["#", "$SYS/#", "x"], &["#", "$SYS/#"]),
            (&["+/x", "$SYS/x"], &["$SYS/x", "+/x"]),
            (&["a/#", "b/#", "a/b/+"], &["a/#", "b/#"]),
        ];
        for (wanted, expected) in table {
            let found = without_overlap(wanted.iter().map(|filter| (*filter).to_owned()));
            assert_eq!(
                found.iter().map(String::as_str).collect::<Vec<_>>(),
                *expected,
                "{wanted:?}"
            );
        }
    }
}
