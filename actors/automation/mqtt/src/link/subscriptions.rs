//! PURE: what is subscribed to, and what is not yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::link::wire::FIRST_FAILURE;

/// Most filters of one request.
const MAX_FILTERS: usize = 64;
/// Most bytes of filters in one request: brokers may take no large packets.
const MAX_FILTER_BYTES: usize = 4_096;

/// The subscriptions of the broker's session, as far as this owner knows them.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    confirmed: BTreeSet<String>,
    refused: BTreeMap<String, u8>,
    asked: BTreeMap<u16, Asked>,
    /// Something has changed since all was found to be asked for.
    stirred: bool,
}

#[derive(Debug)]
enum Asked {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
}

/// What to ask the broker for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Subscribe(Vec<String>),
    Unsubscribe(Vec<String>),
}

impl Subscriptions {
    /// A connection stands. What was confirmed holds as long as the session does.
    pub(crate) fn connected(&mut self, session_present: bool) {
        self.stirred = true;
        self.asked.clear();
        self.refused.clear();
        if !session_present {
            self.confirmed.clear();
        }
    }

    /// Whether there may be something to ask for.
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred
    }

    /// Something else is wanted.
    pub(crate) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Whether all that is wanted is answered for.
    pub(crate) fn is_settled(&self) -> bool {
        !self.stirred && self.asked.is_empty()
    }

    /// What the broker does not allow, with its code.
    pub(crate) fn refused(&self) -> &BTreeMap<String, u8> {
        &self.refused
    }

    /// The next request on the way to `wanted`; none when all is asked for.
    pub(crate) fn next(&mut self, wanted: &BTreeSet<String>) -> Option<Ask> {
        let asked: BTreeSet<&String> = self
            .asked
            .values()
            .flat_map(|asked| match asked {
                Asked::Subscribe(filters) | Asked::Unsubscribe(filters) => filters,
            })
            .collect();
        let missing = wanted
            .iter()
            .filter(|f| !self.confirmed.contains(*f) && !self.refused.contains_key(*f) && !asked.contains(f));
        let missing = some_of(missing);
        if !missing.is_empty() {
            return Some(Ask::Subscribe(missing));
        }
        let surplus = self
            .confirmed
            .iter()
            .filter(|f| !wanted.contains(*f) && !asked.contains(f));
        let surplus = some_of(surplus);
        self.stirred = !surplus.is_empty();
        self.stirred.then_some(Ask::Unsubscribe(surplus))
    }

    pub(crate) fn asked(&mut self, packet_id: u16, ask: Ask) {
        let asked = match ask {
            Ask::Subscribe(filters) => Asked::Subscribe(filters),
            Ask::Unsubscribe(filters) => Asked::Unsubscribe(filters),
        };
        self.asked.insert(packet_id, asked);
    }

    /// The broker answered with a code for each filter; those it does not allow. None: it was not asked, or miscounts.
    pub(crate) fn subscribed(&mut self, packet_id: u16, codes: &[u8]) -> Option<Vec<(String, u8)>> {
        self.stirred = true;
        let Some(Asked::Subscribe(filters)) = self.asked.remove(&packet_id) else {
            return None;
        };
        if filters.len() != codes.len() {
            return None;
        }
        let mut refused = Vec::new();
        for (filter, code) in filters.into_iter().zip(codes.iter().copied()) {
            if code >= FIRST_FAILURE {
                self.refused.insert(filter.clone(), code);
                refused.push((filter, code));
            } else {
                self.confirmed.insert(filter);
            }
        }
        Some(refused)
    }

    /// The broker answered; false: it was not asked.
    pub(crate) fn unsubscribed(&mut self, packet_id: u16) -> bool {
        self.stirred = true;
        let Some(Asked::Unsubscribe(filters)) = self.asked.remove(&packet_id) else {
            return false;
        };
        for filter in filters {
            self.confirmed.remove(&filter);
        }
        true
    }
}

/// As many as fit into one request.
fn some_of<'a>(filters: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut some: Vec<String> = Vec::new();
    let mut bytes = 0;
    for filter in filters.take(MAX_FILTERS) {
        bytes += filter.len();
        if bytes > MAX_FILTER_BYTES && !some.is_empty() {
            break;
        }
        some.push(filter.clone());
    }
    some
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(filters: &[&str]) -> BTreeSet<String> {
        filters.iter().map(|f| (*f).to_owned()).collect()
    }

    fn ask(of: &[&str]) -> Option<Ask> {
        Some(Ask::Subscribe(of.iter().map(|f| (*f).to_owned()).collect()))
    }

    #[test]
    fn what_is_wanted_is_asked_for_once_a_session() {
        let mut subscriptions = Subscriptions::default();
        let wanted = set(&["a", "b", "c"]);
        subscriptions.connected(false);
        assert_eq!(subscriptions.next(&wanted), ask(&["a", "b", "c"]));
        let all = subscriptions.next(&wanted).expect("all");
        subscriptions.asked(1, all);
        assert_eq!(subscriptions.next(&wanted), None);
        let refused = subscriptions.subscribed(1, &[1, 0x87, 0]).expect("was asked");
        assert_eq!(refused, [("b".to_owned(), 0x87)]);
        assert_eq!(subscriptions.next(&wanted), None);
        // What was refused may be allowed by the next time.
        subscriptions.connected(true);
        assert_eq!(subscriptions.next(&wanted), ask(&["b"]));
        subscriptions.connected(false);
        assert_eq!(subscriptions.next(&wanted), ask(&["a", "b", "c"]));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_given_up() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.asked(1, ask(&["a", "b"]).expect("some"));
        assert_eq!(subscriptions.subscribed(1, &[1, 1]), Some(Vec::new()));
        let give_up = Ask::Unsubscribe(vec!["b".to_owned()]);
        assert_eq!(subscriptions.next(&set(&["a"])).as_ref(), Some(&give_up));
        subscriptions.asked(2, give_up);
        assert_eq!(subscriptions.next(&set(&["a"])), None);
        assert!(subscriptions.unsubscribed(2) && !subscriptions.unsubscribed(2));
        assert_eq!(subscriptions.next(&set(&["a", "b"])), ask(&["b"]));
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_none() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.subscribed(1, &[0]), None);
        subscriptions.asked(1, ask(&["a"]).expect("some"));
        assert_eq!(subscriptions.subscribed(1, &[0, 0]), None);
        let many: BTreeSet<String> = (0..200).map(|n| format!("{n:0>100}")).collect();
        let Some(Ask::Subscribe(some)) = subscriptions.next(&many) else {
            panic!("some")
        };
        assert_eq!(some.len(), 40);
    }
}
