//! MQTT filters, in a trie by level: which are for a topic.

use std::collections::{BTreeMap, BTreeSet};

/// Filters with something at each.
#[derive(Debug, Clone)]
pub struct TopicFilters<T> {
    root: Node<T>,
}

#[derive(Debug, Clone)]
struct Node<T> {
    levels: BTreeMap<String, Node<T>>,
    /// `+`.
    any: Option<Box<Node<T>>>,
    /// Filters that end here.
    here: BTreeSet<T>,
    /// Filters that end here with `#`, which is also for the level above it.
    below: BTreeSet<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            levels: BTreeMap::new(),
            any: None,
            here: BTreeSet::new(),
            below: BTreeSet::new(),
        }
    }
}

impl<T> Default for TopicFilters<T> {
    fn default() -> Self {
        Self {
            root: Node::default(),
        }
    }
}

/// Whether a text is a filter: `+` and `#` stand alone in their level, `#` in the last.
pub fn is_filter(text: &str) -> bool {
    if text.is_empty() || text.len() > usize::from(u16::MAX) || text.contains('\0') {
        return false;
    }
    let mut levels = text.split('/').peekable();
    while let Some(level) = levels.next() {
        let wild = level.contains(['+', '#']);
        if wild && (level.len() != 1 || (level == "#" && levels.peek().is_some())) {
            return false;
        }
    }
    true
}

impl<T: Ord + Copy> TopicFilters<T> {
    /// Puts something at a filter.
    pub fn insert(&mut self, filter: &str, value: T) {
        let mut node = &mut self.root;
        for level in filter.split('/') {
            node = match level {
                "#" => {
                    node.below.insert(value);
                    return;
                }
                "+" => node.any.get_or_insert_default(),
                level => node.levels.entry(level.to_owned()).or_default(),
            };
        }
        node.here.insert(value);
    }

    /// Takes something away from a filter.
    pub fn remove(&mut self, filter: &str, value: T) {
        let levels: Vec<&str> = filter.split('/').collect();
        self.root.remove(&levels, value);
    }

    /// All that is at filters for a topic, in order, each once.
    pub fn matches(&self, topic: &str) -> BTreeSet<T> {
        let mut found = BTreeSet::new();
        let levels: Vec<&str> = topic.split('/').collect();
        // Wildcards at the beginning are not for the broker's own topics.
        let wild = !topic.starts_with('$');
        self.root.collect(&levels, wild, &mut found);
        found
    }
}

impl<T: Ord + Copy> Node<T> {
    fn collect(&self, levels: &[&str], wild: bool, found: &mut BTreeSet<T>) {
        if wild {
            found.extend(&self.below);
        }
        let Some((level, rest)) = levels.split_first() else {
            found.extend(&self.here);
            return;
        };
        if let Some(node) = self.levels.get(*level) {
            node.collect(rest, true, found);
        }
        if let Some(node) = self.any.as_ref().filter(|_| wild) {
            node.collect(rest, true, found);
        }
    }

    fn remove(&mut self, levels: &[&str], value: T) {
        match levels.split_first() {
            None => {
                self.here.remove(&value);
            }
            Some((&"#", _)) => {
                self.below.remove(&value);
            }
            Some((&"+", rest)) => {
                if let Some(node) = &mut self.any {
                    node.remove(rest, value);
                    if node.is_empty() {
                        self.any = None;
                    }
                }
            }
            Some((level, rest)) => {
                if let Some(node) = self.levels.get_mut(*level) {
                    node.remove(rest, value);
                    if node.is_empty() {
                        self.levels.remove(*level);
                    }
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.levels.is_empty() && self.any.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{TopicFilters, is_filter};

    #[test]
    fn filters_are_for_the_topics_that_the_standard_says() {
        #[rustfmt::skip]
        let table = [
            ("a/b", "a/b", true), ("a/b", "a", false), ("a/b", "a/b/c", false), ("a/b", "A/b", false),
            ("a/+", "a/b", true), ("a/+", "a/", true), ("a/+", "a", false), ("a/+", "a/b/c", false),
            ("+", "a", true), ("+", "a/b", false), ("+/+", "/a", true), ("/+", "/a", true), ("+", "/a", false),
            ("a/#", "a", true), ("a/#", "a/b/c", true), ("a/#", "ab", false), ("#", "a/b", true), ("#", "/", true),
            ("a/+/c/#", "a/b/c", true), ("a/+/c/#", "a/b/c/d", true), ("a/+/c/#", "a/b/d", false),
            ("#", "$SYS/x", false), ("+/x", "$SYS/x", false), ("$SYS/#", "$SYS/x", true), ("$SYS/+", "$SYS/x", true),
            ("a/b", "a//b", false), ("a//b", "a//b", true), ("é/+", "é/ü", true),
        ];
        for (filter, topic, expected) in table {
            assert!(is_filter(filter));
            let mut filters = TopicFilters::default();
            filters.insert(filter, 1);
            assert_eq!(!filters.matches(topic).is_empty(), expected, "{filter} {topic}");
            filters.remove(filter, 1);
            assert!(filters.matches(topic).is_empty());
            assert!(filters.root.is_empty(), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter() {
        for text in ["", "a/#/b", "a#", "a/b+", "#/", "+a", "a\0", &"x".repeat(70_000)] {
            assert!(!is_filter(text), "{text}");
        }
    }

    #[test]
    fn several_at_a_topic_come_in_order_and_once() {
        let mut filters = TopicFilters::default();
        for (value, filter) in [(3, "a/b"), (1, "#"), (2, "a/+"), (2, "a/b"), (4, "a/c")] {
            filters.insert(filter, value);
        }
        assert_eq!(filters.matches("a/b").into_iter().collect::<Vec<_>>(), [1, 2, 3]);
    }
}
