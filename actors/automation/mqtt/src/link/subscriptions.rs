//! PURE: what is subscribed to, and what is not yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::link::wire::FIRST_FAILURE;
use crate::wanted::Wanted;

/// Most filters of one request.
const MAX_FILTERS: usize = 64;
/// Most bytes of filters in one request: brokers may take no large packets.
const MAX_FILTER_BYTES: usize = 4_096;

/// The subscriptions of the broker's session, as far as this owner knows them.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    confirmed: BTreeSet<String>,
    /// The last number for which what is retained was sent, by filter.
    sent: BTreeMap<String, u64>,
    /// What earlier owners may have subscribed to.
    held: BTreeSet<String>,
    refused: BTreeMap<String, u8>,
    asked: BTreeMap<u16, Ask>,
    /// The wish for which all was found to be asked for.
    settled: u64,
    /// Something has changed since then.
    stirred: bool,
}

/// What to ask the broker for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To send what matches, and of what it retains of that: all, for numbers that are not 0, or what is new to it.
    Subscribe(Vec<(String, u64)>),
    Unsubscribe(Vec<String>),
}

impl Ask {
    fn names(&self) -> Vec<&String> {
        match self {
            Self::Subscribe(filters) => filters.iter().map(|(filter, _)| filter).collect(),
            Self::Unsubscribe(filters) => filters.iter().collect(),
        }
    }
}

impl Subscriptions {
    /// Earlier owners may have subscribed to these.
    pub(crate) fn new(held: BTreeSet<String>) -> Self {
        Self {
            held,
            stirred: true,
            ..Self::default()
        }
    }

    /// A connection stands. What was confirmed holds as long as the session does.
    pub(crate) fn connected(&mut self, session_present: bool) {
        self.stirred = true;
        let unanswered = std::mem::take(&mut self.asked);
        self.refused.clear();
        if !session_present {
            self.confirmed.clear();
            self.sent.clear();
            self.held.clear();
            return;
        }
        for ask in unanswered.into_values() {
            // The broker may have taken it, or not.
            for filter in ask.names() {
                self.confirmed.remove(filter);
                self.held.insert(filter.clone());
            }
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

    /// The last wish for which all was answered, and nothing else is subscribed to; none while something is asked for.
    pub(crate) fn settled(&self) -> Option<u64> {
        self.is_settled().then_some(self.settled)
    }

    /// What the broker does not allow, with its code.
    pub(crate) fn refused(&self) -> &BTreeMap<String, u8> {
        &self.refused
    }

    /// By how many subscriptions a message may come, each time as a message of its own.
    pub(crate) fn copies(&self, topic: &str) -> usize {
        if self.is_settled() {
            return 1;
        }
        self.confirmed
            .union(&self.held)
            .filter(|filter| matches(filter, topic))
            .count()
    }

    /// The next request on the way to `wanted`; none when all is asked for.
    pub(crate) fn next(&mut self, wanted: &Wanted) -> Option<Ask> {
        let asked: BTreeSet<&String> = self.asked.values().flat_map(Ask::names).collect();
        let may_ask = |filter: &String| !self.refused.contains_key(filter) && !asked.contains(filter);
        let missing = wanted
            .filters
            .difference(&self.confirmed)
            .map(|filter| (filter, 0));
        let unsent = wanted.retained.iter().map(|(filter, number)| (filter, *number));
        let unsent =
            unsent.filter(|(filter, number)| self.sent.get(*filter).is_none_or(|sent| sent < number));
        let some = some_of(missing.filter(|one| may_ask(one.0)), |one| one.0);
        let some = match some.is_empty() {
            true => some_of(unsent.filter(|one| may_ask(one.0)), |one| one.0),
            false => some,
        };
        if !some.is_empty() {
            let filters = some.into_iter().map(|(filter, number)| (filter.clone(), number));
            return Some(Ask::Subscribe(filters.collect()));
        }
        let known = self.confirmed.union(&self.held);
        let surplus = known.filter(|filter| !wanted.filters.contains(*filter) && !asked.contains(filter));
        let surplus = some_of(surplus, |filter| filter);
        if surplus.is_empty() {
            self.stirred = false;
            self.settled = wanted.version;
            return None;
        }
        Some(Ask::Unsubscribe(surplus.into_iter().cloned().collect()))
    }

    pub(crate) fn asked(&mut self, packet_id: u16, ask: Ask) {
        self.asked.insert(packet_id, ask);
    }

    /// The broker answered with a code for each filter; those it does not allow. None: it was not asked, or miscounts.
    pub(crate) fn subscribed(&mut self, packet_id: u16, codes: &[u8]) -> Option<Vec<(String, u8)>> {
        self.stirred = true;
        let Some(Ask::Subscribe(filters)) = self.asked.remove(&packet_id) else {
            return None;
        };
        if filters.len() != codes.len() {
            return None;
        }
        let mut refused = Vec::new();
        for ((filter, number), code) in filters.into_iter().zip(codes.iter().copied()) {
            if code >= FIRST_FAILURE {
                self.refused.insert(filter.clone(), code);
                refused.push((filter, code));
            } else {
                if number > 0 {
                    self.sent.insert(filter.clone(), number);
                }
                self.confirmed.insert(filter);
            }
        }
        Some(refused)
    }

    /// The broker answered; false: it was not asked.
    pub(crate) fn unsubscribed(&mut self, packet_id: u16) -> bool {
        self.stirred = true;
        let Some(Ask::Unsubscribe(filters)) = self.asked.remove(&packet_id) else {
            return false;
        };
        for filter in filters {
            self.confirmed.remove(&filter);
            self.held.remove(&filter);
        }
        true
    }
}

/// As many as fit into one request.
fn some_of<T>(all: impl Iterator<Item = T>, filter: impl Fn(&T) -> &String) -> Vec<T> {
    let mut some = Vec::new();
    let mut bytes = 0;
    for one in all.take(MAX_FILTERS) {
        bytes += filter(&one).len();
        if bytes > MAX_FILTER_BYTES && !some.is_empty() {
            break;
        }
        some.push(one);
    }
    some
}

/// Whether a filter is for a topic (MQTT 5, 4.7).
fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut filters, mut topics) = (filter.split('/'), topic.split('/'));
    loop {
        match (filters.next(), topics.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(level), Some(name)) if level == "+" || level == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(filters: &[&str]) -> Wanted {
        Wanted::of(filters.iter().map(|f| (*f).to_owned()))
    }

    fn ask(of: &[&str]) -> Option<Ask> {
        Some(Ask::Subscribe(of.iter().map(|f| ((*f).to_owned(), 0)).collect()))
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
        assert_eq!(subscriptions.settled(), None, "it is not answered");
        let refused = subscriptions.subscribed(1, &[1, 0x87, 0]).expect("was asked");
        assert_eq!(refused, [("b".to_owned(), 0x87)]);
        assert_eq!(subscriptions.next(&wanted), None);
        assert_eq!(subscriptions.settled(), Some(0));
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
    fn what_an_earlier_owner_subscribed_to_is_given_up_and_may_send_copies_until_then() {
        let mut subscriptions = Subscriptions::new(["a/+", "b/c"].map(str::to_owned).into());
        subscriptions.connected(true);
        let wanted = Wanted {
            version: 7,
            ..set(&["a/#", "b/c"])
        };
        assert_eq!(subscriptions.copies("a/b"), 1, "as far as is known");
        let both = subscriptions.next(&wanted).expect("both");
        subscriptions.asked(1, both);
        assert_eq!(subscriptions.copies("a/b"), 1, "before it is answered none comes");
        let give_up = Ask::Unsubscribe(vec!["a/+".to_owned()]);
        assert_eq!(subscriptions.next(&wanted).as_ref(), Some(&give_up));
        subscriptions.asked(2, give_up);
        subscriptions.subscribed(1, &[1, 1]);
        assert_eq!(subscriptions.next(&wanted), None);
        assert_eq!((subscriptions.copies("a/b"), subscriptions.settled()), (2, None));
        assert_eq!(subscriptions.copies("b/c"), 1);
        assert!(subscriptions.unsubscribed(2));
        assert_eq!(subscriptions.next(&wanted), None);
        assert_eq!(
            (subscriptions.copies("a/b"), subscriptions.settled()),
            (1, Some(7))
        );
        // A session that began anew has none.
        let mut subscriptions = Subscriptions::new(["a/+".to_owned()].into());
        subscriptions.connected(false);
        assert_eq!(subscriptions.next(&set(&[])), None);
    }

    #[test]
    fn what_was_not_answered_may_be_so_or_not() {
        let mut subscriptions = Subscriptions::default();
        subscriptions.asked(1, ask(&["a", "b"]).expect("some"));
        subscriptions.subscribed(1, &[1, 1]);
        let give_up = subscriptions.next(&set(&["a"])).expect("b");
        subscriptions.asked(2, give_up);
        subscriptions.connected(true);
        assert_eq!(
            subscriptions.next(&set(&["a", "b"])),
            ask(&["b"]),
            "it is wanted again"
        );
        let give_up = Ask::Unsubscribe(vec!["b".to_owned()]);
        assert_eq!(subscriptions.next(&set(&["a"])), Some(give_up));
    }

    #[test]
    fn what_is_retained_is_asked_for_again_when_it_is_wished() {
        let mut subscriptions = Subscriptions::default();
        let mut wanted = set(&["a/#", "b"]);
        subscriptions.asked(1, ask(&["a/#", "b"]).expect("some"));
        subscriptions.subscribed(1, &[1, 1]);
        wanted.retained = [("a/b".to_owned(), 2), ("b".to_owned(), 3)].into();
        let again = Ask::Subscribe(vec![("a/b".to_owned(), 2), ("b".to_owned(), 3)]);
        assert_eq!(subscriptions.next(&wanted).as_ref(), Some(&again));
        subscriptions.asked(2, again);
        subscriptions.subscribed(2, &[1, 1]);
        assert_eq!(subscriptions.copies("a/b"), 2);
        let give_up = Ask::Unsubscribe(vec!["a/b".to_owned()]);
        assert_eq!(
            subscriptions.next(&wanted).as_ref(),
            Some(&give_up),
            "it was for the moment"
        );
        subscriptions.asked(3, give_up);
        assert!(subscriptions.unsubscribed(3));
        assert_eq!(subscriptions.next(&wanted), None, "once");
        wanted.retained.clear();
        assert_eq!(subscriptions.next(&wanted), None);
    }

    #[test]
    fn filters_are_for_topics() {
        for (filter, topic, is_for) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "a/b", true),
            ("+/b", "a/b", true),
            ("#", "$SYS/b", false),
            ("$SYS/#", "$SYS/b", true),
        ] {
            assert_eq!(matches(filter, topic), is_for, "{filter} {topic}");
        }
    }

    #[test]
    fn an_answer_that_was_not_asked_for_is_none() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.subscribed(1, &[0]), None);
        subscriptions.asked(1, ask(&["a"]).expect("some"));
        assert_eq!(subscriptions.subscribed(1, &[0, 0]), None);
        let many = Wanted::of((0..200).map(|n| format!("{n:0>100}")));
        let Some(Ask::Subscribe(filters)) = subscriptions.next(&many) else {
            panic!("some")
        };
        assert_eq!(filters.len(), 40);
    }
}
