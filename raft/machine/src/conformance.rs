//! What every [`TableStore`] must do, as tests that its own tests call. Whoever breaks a rule makes these panic.
//!
//! [`check_store`] asks for empty stores, one after another. [`check_reopen`] asks for the same storage again and again,
//! each time after the opening before was dropped (or, for a store that can simulate it, after a crash).

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::storage::{KeyValue, Read, StoreError, Table, TableStore};

/// Rows of the larger cases: more than any store keeps in one page or chunk.
const MANY_ROWS: u64 = 1_000;

/// Checks reads, scans, atomic batches, isolation and the separateness of tables. `make` gives an empty store each time.
///
/// # Panics
/// Where the store breaks a rule; the message says which.
pub fn check_store(make: &mut dyn FnMut() -> Box<dyn TableStore>) {
    rows_are_set_read_and_removed(&*make());
    tables_are_apart(&*make());
    scans_keep_their_bounds(&*make());
    scans_agree_with_a_map(&*make());
    a_batch_sees_its_own_writes(&*make());
    a_failed_batch_changes_nothing(&*make());
    a_picture_stays_as_it_was(&*make());
    large_rows_are_kept(&*make());
}

/// Checks that durable batches, and all before them, are there after each opening, and others whole or not at all.
/// `open` opens the same storage each time, empty at first, once the opening before was dropped.
///
/// # Panics
/// Where the store breaks a rule; the message says which.
pub fn check_reopen(open: &mut dyn FnMut() -> Box<dyn TableStore>) {
    let store = open();
    assert!(
        all(&*store, Table::Meta).is_empty(),
        "the storage is empty at first"
    );
    put(&*store, false, &[(b"early-a", b"1"), (b"early-b", b"1")]);
    put(&*store, true, &[(b"synced", b"2")]);
    drop(store);

    let store = open();
    assert_eq!(
        all(&*store, Table::Meta),
        [row(b"early-a", b"1"), row(b"early-b", b"1"), row(b"synced", b"2")],
        "a durable batch and all before it are there after opening again"
    );
    put(&*store, true, &[(b"synced", b"3")]);
    put(&*store, false, &[(b"late-1a", b"4"), (b"late-1b", b"4")]);
    put(&*store, false, &[(b"late-2a", b"5"), (b"late-2b", b"5")]);
    drop(store);

    let store = open();
    let picture = store.read().expect("reads");
    let has = |key: &[u8]| picture.get(Table::Meta, key).expect("gets").is_some();
    assert_eq!(
        picture.get(Table::Meta, b"synced"),
        Ok(Some(b"3".to_vec())),
        "the later durable batch is there"
    );
    assert_eq!(
        has(b"late-1a"),
        has(b"late-1b"),
        "a batch that was not durable is there whole or not at all"
    );
    assert_eq!(
        has(b"late-2a"),
        has(b"late-2b"),
        "a batch that was not durable is there whole or not at all"
    );
    assert!(
        has(b"late-1a") || !has(b"late-2a"),
        "no batch is there without the one before it"
    );
    drop(picture);

    let failed = store.write(true, &mut |w| {
        w.put(Table::Meta, b"failed", b"6")?;
        Err(StoreError("on purpose".to_owned()))
    });
    assert!(failed.is_err(), "a failing batch is reported");
    put(&*store, true, &[]);
    drop(store);
    let found = open().read().expect("reads").get(Table::Meta, b"failed");
    assert_eq!(found, Ok(None), "a failed batch is not there after opening again");
}

fn rows_are_set_read_and_removed(store: &dyn TableStore) {
    assert_eq!(get(store, b"a"), None, "nothing stands in an empty store");
    put(store, false, &[(b"a", b"1"), (b"b", b""), (b"a\0", b"2")]);
    assert_eq!(
        get(store, b"a"),
        Some(b"1".to_vec()),
        "a row is read as it was set"
    );
    assert_eq!(get(store, b"b"), Some(Vec::new()), "an empty row is a row");
    assert_eq!(get(store, b"a\0"), Some(b"2".to_vec()), "keys are bytes");
    put(store, true, &[(b"a", b"a longer one")]);
    assert_eq!(
        get(store, b"a"),
        Some(b"a longer one".to_vec()),
        "a row is replaced"
    );
    write(store, false, &mut |w| {
        w.delete(Table::Meta, b"a")?;
        w.delete(Table::Meta, b"never there")
    });
    assert_eq!(get(store, b"a"), None, "a removed row is gone");
    assert_eq!(
        all(store, Table::Meta).len(),
        2,
        "removing one row leaves the others"
    );
}

fn tables_are_apart(store: &dyn TableStore) {
    for table in Table::ALL {
        write(store, false, &mut |w| w.put(table, b"key", &[table as u8]));
    }
    for table in Table::ALL {
        assert_eq!(
            all(store, table),
            [row(b"key", &[table as u8])],
            "{table:?} holds its own row only"
        );
    }
    write(store, false, &mut |w| w.delete(Table::Nodes, b"key"));
    assert!(
        all(store, Table::Nodes).is_empty() && !all(store, Table::Meta).is_empty(),
        "tables do not share rows"
    );
}

fn scans_keep_their_bounds(store: &dyn TableStore) {
    put(
        store,
        false,
        &[
            (&[1], b"a"),
            (&[2], b"b"),
            (&[2, 0], b"c"),
            (&[3], b"d"),
            (&[255], b"e"),
        ],
    );
    let picture = store.read().expect("reads");
    let keys = |from, to, backwards, limit| -> Vec<Vec<u8>> {
        let rows = picture
            .scan(Table::Meta, from, to, backwards, limit)
            .expect("scans");
        rows.into_iter().map(|(key, _)| key).collect()
    };
    use Bound::{Excluded, Included, Unbounded};
    let everything: Vec<Vec<u8>> = vec![vec![1], vec![2], vec![2, 0], vec![3], vec![255]];
    assert_eq!(
        keys(Unbounded, Unbounded, false, usize::MAX),
        everything,
        "ascending"
    );
    let turned: Vec<_> = everything.iter().rev().cloned().collect();
    assert_eq!(keys(Unbounded, Unbounded, true, usize::MAX), turned, "descending");
    assert_eq!(
        keys(Included(&[2]), Excluded(&[3]), false, 9),
        [vec![2], vec![2, 0]],
        "from is in, to is out"
    );
    assert_eq!(
        keys(Excluded(&[2]), Included(&[3]), false, 9),
        [vec![2, 0], vec![3]],
        "from is out, to is in"
    );
    assert_eq!(
        keys(Excluded(&[2]), Included(&[3]), true, 1),
        [vec![3]],
        "the limit counts from the far end"
    );
    assert_eq!(
        keys(Included(&[2]), Unbounded, false, 2),
        [vec![2], vec![2, 0]],
        "the limit counts from the start"
    );
    assert_eq!(
        keys(Included(&[4]), Included(&[9]), true, 9),
        Vec::<Vec<u8>>::new(),
        "nothing in between"
    );
    assert_eq!(
        keys(Unbounded, Unbounded, false, 0),
        Vec::<Vec<u8>>::new(),
        "a limit of nothing"
    );
    assert_eq!(
        keys(Included(&[3]), Included(&[1]), false, 9),
        Vec::<Vec<u8>>::new(),
        "a range turned round is empty"
    );
    assert_eq!(
        keys(Included(&[3]), Excluded(&[1]), true, 9),
        Vec::<Vec<u8>>::new(),
        "a range turned round is empty"
    );
    assert_eq!(
        keys(Excluded(&[2]), Excluded(&[2]), false, 9),
        Vec::<Vec<u8>>::new(),
        "a range of nothing is empty"
    );
    assert_eq!(
        keys(Excluded(&[2]), Included(&[2]), false, 9),
        Vec::<Vec<u8>>::new(),
        "a range of nothing is empty"
    );
}

fn scans_agree_with_a_map(store: &dyn TableStore) {
    let mut model = BTreeMap::new();
    // Keys in an order that is neither ascending nor descending, and a third of them removed again.
    let key_of = |n: u64| {
        (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16)
            .to_be_bytes()
            .to_vec()
    };
    for batch in 0..MANY_ROWS / 100 {
        write(store, batch % 2 == 0, &mut |w| {
            for n in batch * 100..(batch + 1) * 100 {
                w.put(Table::Messages, &key_of(n), &n.to_be_bytes())?;
                model.insert(key_of(n), n.to_be_bytes().to_vec());
            }
            for n in (batch * 100..(batch + 1) * 100).step_by(3) {
                w.delete(Table::Messages, &key_of(n))?;
                model.remove(&key_of(n));
            }
            Ok(())
        });
    }
    let expected: Vec<KeyValue> = model.clone().into_iter().collect();
    assert_eq!(
        all(store, Table::Messages),
        expected,
        "all rows in the order of their keys"
    );
    let picture = store.read().expect("reads");
    for n in (0..MANY_ROWS).step_by(37) {
        let (low, high) = (key_of(n).min(key_of(n + 1)), key_of(n).max(key_of(n + 1)));
        let (from, to) = (Bound::Included(low.as_slice()), Bound::Excluded(high.as_slice()));
        let wanted: Vec<KeyValue> = model
            .range(low.clone()..high.clone())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        assert_eq!(
            picture
                .scan(Table::Messages, from, to, false, usize::MAX)
                .as_ref(),
            Ok(&wanted),
            "a range"
        );
        let mut last: Vec<KeyValue> = wanted.into_iter().rev().collect();
        last.truncate(5);
        assert_eq!(
            picture.scan(Table::Messages, from, to, true, 5),
            Ok(last),
            "the last of a range"
        );
    }
}

fn a_batch_sees_its_own_writes(store: &dyn TableStore) {
    put(store, false, &[(b"a", b"1"), (b"c", b"1")]);
    write(store, false, &mut |w| {
        w.put(Table::Meta, b"b", b"2")?;
        w.put(Table::Meta, b"c", b"2")?;
        w.delete(Table::Meta, b"a")?;
        assert_eq!(w.get(Table::Meta, b"a")?, None, "a batch sees what it removed");
        assert_eq!(
            w.get(Table::Meta, b"b")?,
            Some(b"2".to_vec()),
            "a batch sees what it set"
        );
        let rows = w.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, false, usize::MAX)?;
        assert_eq!(
            rows,
            [row(b"b", b"2"), row(b"c", b"2")],
            "a batch's scans see its writes"
        );
        Ok(())
    });
}

fn a_failed_batch_changes_nothing(store: &dyn TableStore) {
    put(store, true, &[(b"a", b"1"), (b"b", b"1")]);
    let failed = store.write(true, &mut |w| {
        w.put(Table::Meta, b"a", b"2")?;
        w.delete(Table::Meta, b"b")?;
        w.put(Table::Nodes, b"c", b"2")?;
        Err(StoreError("on purpose".to_owned()))
    });
    assert_eq!(
        failed,
        Err(StoreError("on purpose".to_owned())),
        "the batch's own error comes back"
    );
    assert_eq!(
        all(store, Table::Meta),
        [row(b"a", b"1"), row(b"b", b"1")],
        "a failed batch changes nothing"
    );
    assert!(
        all(store, Table::Nodes).is_empty(),
        "a failed batch changes no table"
    );
    put(store, false, &[(b"a", b"3")]);
    assert_eq!(
        get(store, b"a"),
        Some(b"3".to_vec()),
        "the store goes on after a failed batch"
    );
}

fn a_picture_stays_as_it_was(store: &dyn TableStore) {
    put(store, false, &[(b"a", b"1"), (b"b", b"1")]);
    let before: Box<dyn Read + Send + Sync> = store.read().expect("reads");
    write(store, false, &mut |w| {
        w.put(Table::Meta, b"a", b"2")?;
        w.put(Table::Meta, b"c", b"2")?;
        w.delete(Table::Meta, b"b")
    });
    let seen = before.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, false, usize::MAX);
    assert_eq!(
        seen,
        Ok(vec![row(b"a", b"1"), row(b"b", b"1")]),
        "a picture is unaffected by later batches"
    );
    assert_eq!(
        before.get(Table::Meta, b"c"),
        Ok(None),
        "a picture is unaffected by later batches"
    );
    assert_eq!(
        all(store, Table::Meta),
        [row(b"a", b"2"), row(b"c", b"2")],
        "a new picture has them"
    );
}

fn large_rows_are_kept(store: &dyn TableStore) {
    let large = vec![7; 1024 * 1024];
    write(store, false, &mut |w| w.put(Table::Messages, b"large", &large));
    assert_eq!(
        all(store, Table::Messages),
        [row(b"large", &large)],
        "a row of a mebibyte is kept"
    );
}

fn row(key: &[u8], value: &[u8]) -> KeyValue {
    (key.to_vec(), value.to_vec())
}

fn get(store: &dyn TableStore, key: &[u8]) -> Option<Vec<u8>> {
    store.read().expect("reads").get(Table::Meta, key).expect("gets")
}

fn all(store: &dyn TableStore, table: Table) -> Vec<KeyValue> {
    let picture = store.read().expect("reads");
    picture
        .scan(table, Bound::Unbounded, Bound::Unbounded, false, usize::MAX)
        .expect("scans")
}

fn put(store: &dyn TableStore, durable: bool, rows: &[(&[u8], &[u8])]) {
    write(store, durable, &mut |w| {
        rows.iter()
            .try_for_each(|(key, value)| w.put(Table::Meta, key, value))
    });
}

fn write(
    store: &dyn TableStore,
    durable: bool,
    batch: &mut dyn FnMut(&mut dyn crate::storage::Write) -> Result<(), StoreError>,
) {
    store.write(durable, batch).expect("the batch is kept");
}
