//! One ordered table whose clones share all but what differs: rows stand in small chunks, and a write copies the one
//! chunk that it touches.

use std::ops::Bound;
use std::sync::Arc;

use crate::storage::KeyValue;

/// Rows in a chunk before it is split: small enough to copy at each write, large enough to keep the list of chunks short.
const MAX_CHUNK_ROWS: usize = 128;

type Row = (Arc<[u8]>, Arc<[u8]>);

/// Chunks are in order and never empty.
#[derive(Clone, Default)]
pub(super) struct CowTable {
    chunks: Arc<Vec<Arc<Vec<Row>>>>,
}

impl CowTable {
    pub(super) fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = find(chunk, key).ok()?;
        Some(&chunk[at].1)
    }

    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) {
        let index = self.chunk_of(key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(chunk) = chunks.get_mut(index).map(Arc::make_mut) else {
            chunks.push(Arc::new(vec![(key.into(), value.into())]));
            return;
        };
        match find(chunk, key) {
            Ok(at) => chunk[at].1 = value.into(),
            Err(at) => chunk.insert(at, (key.into(), value.into())),
        }
        if chunk.len() > MAX_CHUNK_ROWS {
            let upper = chunk.split_off(MAX_CHUNK_ROWS / 2);
            chunks.insert(index + 1, Arc::new(upper));
        }
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        let index = self.chunk_of(key);
        let Some(at) = self.chunks.get(index).and_then(|chunk| find(chunk, key).ok()) else {
            return;
        };
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[index]);
        chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(index);
        }
    }

    pub(super) fn scan(
        &self,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        backwards: bool,
        limit: usize,
    ) -> Vec<KeyValue> {
        let owned = |row: &Row| (row.0.to_vec(), row.1.to_vec());
        if backwards {
            let end = bound_key(to).map_or(self.chunks.len(), |key| {
                self.chunks.len().min(self.chunk_of(key) + 1)
            });
            let rows = self.chunks[..end]
                .iter()
                .rev()
                .flat_map(|chunk| chunk.iter().rev());
            let inside = rows
                .skip_while(|row| !ends_within(row, to))
                .take_while(|row| begins_within(row, from));
            inside.take(limit).map(owned).collect()
        } else {
            let start = bound_key(from).map_or(0, |key| self.chunks.len().min(self.chunk_of(key)));
            let rows = self.chunks[start..].iter().flat_map(|chunk| chunk.iter());
            let inside = rows
                .skip_while(|row| !begins_within(row, from))
                .take_while(|row| ends_within(row, to));
            inside.take(limit).map(owned).collect()
        }
    }

    /// The chunk that holds `key`, if any does.
    fn chunk_of(&self, key: &[u8]) -> usize {
        self.chunks
            .partition_point(|chunk| *chunk[0].0 <= *key)
            .saturating_sub(1)
    }
}

fn find(chunk: &[Row], key: &[u8]) -> Result<usize, usize> {
    chunk.binary_search_by(|row| (*row.0).cmp(key))
}

fn bound_key(bound: Bound<&[u8]>) -> Option<&[u8]> {
    match bound {
        Bound::Included(key) | Bound::Excluded(key) => Some(key),
        Bound::Unbounded => None,
    }
}

fn begins_within(row: &Row, from: Bound<&[u8]>) -> bool {
    match from {
        Bound::Included(key) => *row.0 >= *key,
        Bound::Excluded(key) => *row.0 > *key,
        Bound::Unbounded => true,
    }
}

fn ends_within(row: &Row, to: Bound<&[u8]>) -> bool {
    match to {
        Bound::Included(key) => *row.0 <= *key,
        Bound::Excluded(key) => *row.0 < *key,
        Bound::Unbounded => true,
    }
}
