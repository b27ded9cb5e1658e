//! Bytes of the log's records, by index: what snapshots and purges go by, without reading the disk.

use std::collections::VecDeque;

/// Records between two marks have so many bytes, or one record more: what is told of sizes is right to this much, and a log at its
/// bound has a few thousand marks.
const MARK_EVERY_BYTES: u64 = 64 * 1024;

/// So many bytes were counted in the records below an index, purged ones among them.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    index: u64,
    bytes: u64,
}

/// Sizes of the records in the log, summed up between marks.
#[derive(Debug)]
pub(crate) struct RecordSizes {
    /// Ascending, never empty; the first is where the log begins, or a little before.
    marks: VecDeque<Mark>,
    /// After the last record.
    end: Mark,
}

impl RecordSizes {
    /// Of an empty log.
    pub(crate) fn new() -> Self {
        Self {
            marks: VecDeque::from([Mark::default()]),
            end: Mark::default(),
        }
    }

    /// Counts the record of an index, which follows the last one. Records that are passed over count as empty.
    pub(crate) fn push(&mut self, index: u64, bytes: usize) {
        let marked = self.marks.back().map_or(0, |mark| mark.bytes);
        if self.end.bytes - marked >= MARK_EVERY_BYTES {
            self.marks.push_back(self.end);
        }
        self.end = Mark {
            index: index + 1,
            bytes: self.end.bytes + bytes as u64,
        };
    }

    /// Forgets the records from an index on.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.marks.len() > 1 && self.marks.back().is_some_and(|mark| mark.index > from) {
            self.marks.pop_back();
        }
        if from < self.end.index {
            self.end = Mark {
                index: from,
                bytes: self.below(from),
            };
        }
    }

    /// Forgets the records up to an index.
    pub(super) fn purge(&mut self, upto: u64) {
        if self.end.index <= upto + 1 {
            self.end.index = upto + 1;
            self.marks = VecDeque::from([self.end]);
        }
        while self.marks.get(1).is_some_and(|mark| mark.index <= upto + 1) {
            self.marks.pop_front();
        }
    }

    /// Of all records in the log.
    pub(crate) fn total(&self) -> u64 {
        self.between(0, u64::MAX - 1)
    }

    /// Of the records after one index, up to another.
    pub(crate) fn between(&self, after: u64, upto: u64) -> u64 {
        self.below(upto + 1).saturating_sub(self.below(after + 1))
    }

    /// The least index after which the records up to another one have no more than so many bytes.
    pub(crate) fn keeping(&self, bytes: u64, upto: u64) -> u64 {
        let least = self.below(upto + 1).saturating_sub(bytes);
        let position = self.marks.partition_point(|mark| mark.bytes < least);
        let mark = self.marks.get(position).unwrap_or(&self.end);
        mark.index.saturating_sub(1).min(upto)
    }

    /// Counted below an index, as of the last mark that is not after it.
    fn below(&self, index: u64) -> u64 {
        if index >= self.end.index {
            return self.end.bytes;
        }
        let after = self.marks.partition_point(|mark| mark.index <= index);
        self.marks
            .get(after.saturating_sub(1))
            .map_or(0, |mark| mark.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1024;

    /// A log of records of so many bytes, the first of index 1.
    fn sizes(records: impl IntoIterator<Item = usize>) -> RecordSizes {
        let mut sizes = RecordSizes::new();
        for (index, bytes) in (1..).zip(records) {
            sizes.push(index, bytes);
        }
        sizes
    }

    #[test]
    fn large_records_are_told_apart() {
        let sizes = sizes([100 * KIB, 200 * KIB, 300 * KIB]);
        let kib = |after, upto| sizes.between(after, upto) / KIB as u64;
        assert_eq!([kib(0, 3), kib(1, 3), kib(2, 3), kib(0, 1)], [600, 500, 300, 100]);
        assert_eq!([kib(3, 3), kib(3, 9), kib(0, 9)], [0, 0, 600]);
        let keeping = |bytes: usize| sizes.keeping((bytes * KIB) as u64, 3);
        assert_eq!([600, 599, 500, 300, 299, 0].map(keeping), [0, 1, 1, 2, 3, 3]);
        assert_eq!(sizes.keeping(0, 2), 2, "never more than was asked about");
    }

    #[test]
    fn small_records_are_right_to_a_mark_and_take_little() {
        let sizes = sizes((0..100_000).map(|n| n % 200));
        let exact = (0..100_000u64).map(|n| n % 200).sum::<u64>();
        assert_eq!(sizes.total(), exact);
        assert!(sizes.marks.len() as u64 <= exact / MARK_EVERY_BYTES + 1);
        let kept = 1024 * 1024;
        let upto = sizes.keeping(kept, 100_000);
        let left: u64 = (upto..100_000).map(|n| n % 200).sum();
        assert!(left <= kept && left > kept - MARK_EVERY_BYTES - 200, "{left}");
    }

    #[test]
    fn purged_and_truncated_records_do_not_count() {
        let mut sizes = sizes([100 * KIB; 10]);
        sizes.purge(4);
        assert_eq!(sizes.total(), 600 * KIB as u64);
        assert_eq!(sizes.keeping(600 * KIB as u64, 10), 4);
        sizes.truncate(9);
        assert_eq!(sizes.total(), 400 * KIB as u64);
        sizes.push(9, KIB);
        assert_eq!(sizes.between(7, 9), 101 * KIB as u64);
        // A snapshot that is ahead of the log takes its place.
        sizes.purge(50);
        assert_eq!((sizes.total(), sizes.keeping(0, 50)), (0, 50));
        sizes.push(51, KIB);
        assert_eq!((sizes.total(), sizes.between(50, 51)), (KIB as u64, KIB as u64));
    }

    #[test]
    fn records_that_were_passed_over_count_as_empty() {
        let mut sizes = sizes([100 * KIB; 2]);
        sizes.push(1_000, 100 * KIB);
        assert_eq!(sizes.total(), 300 * KIB as u64);
        assert_eq!(sizes.between(2, 1_000), 100 * KIB as u64);
        assert_eq!(sizes.keeping(100 * KIB as u64, 1_000), 2);
    }
}
