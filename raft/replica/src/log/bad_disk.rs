//! A disk for tests that loses its power in the middle of a write, or has no room left.

use std::io;
use std::sync::{Arc, Mutex};

use jarvis_host::{Entropy, SeededEntropy};
use redb::StorageBackend;

use crate::replica::lock;

/// What a disk writes in one piece or not at all.
const SECTOR_BYTES: usize = 512;

/// A disk. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub(crate) struct BadDisk(Arc<Mutex<Content>>);

#[derive(Debug, Default)]
struct Content {
    /// As a reader sees it.
    current: Vec<u8>,
    /// What is on the platter for certain.
    synced: Vec<u8>,
    /// Written since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    /// Writes and syncs until the power fails; none: it does not.
    fuse: Option<u64>,
    dead: bool,
    /// Bytes behind which there is no room; none: there is.
    room: Option<usize>,
    /// Whether room is only missed by what is written, not by what the file's length promises.
    sparse: bool,
}

impl BadDisk {
    /// With room up to this many bytes. A sparse file is longer than what was written of it.
    pub(crate) fn with_room(bytes: usize, sparse: bool) -> Self {
        let disk = Self::default();
        {
            let mut content = lock(&disk.0);
            content.room = Some(bytes);
            content.sparse = sparse;
        }
        disk
    }

    /// From here on there is room up to this many bytes; none: as much as anyone wants.
    pub(crate) fn set_room(&self, bytes: Option<usize>) {
        lock(&self.0).room = bytes;
    }

    /// The power fails after this many writes and syncs.
    pub(crate) fn light_fuse(&self, operations: u64) {
        lock(&self.0).fuse = Some(operations);
    }

    /// Whether the power has failed.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.0).dead
    }

    /// What is found when the power is back: of what was not synced each write may be there, in part, or not at all.
    pub(crate) fn after_power_cut(&self, chance: &SeededEntropy) -> Self {
        let content = lock(&self.0);
        let mut found = content.synced.clone();
        for (offset, bytes) in &content.unsynced {
            let sectors = bytes.len().div_ceil(SECTOR_BYTES) as u64;
            let kept = match chance.next_u64() % 3 {
                0 => 0,
                1 => bytes.len(),
                _ => ((chance.next_u64() % (sectors + 1)) as usize * SECTOR_BYTES).min(bytes.len()),
            };
            put(&mut found, *offset, &bytes[..kept]);
        }
        Self(Arc::new(Mutex::new(Content {
            current: found.clone(),
            synced: found,
            ..Content::default()
        })))
    }
}

impl Content {
    fn spend(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some(0) => self.dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if self.dead {
            Err(io::Error::other("the power is off"))
        } else {
            Ok(())
        }
    }

    fn check_room(&self, end: usize) -> io::Result<()> {
        match self.room {
            Some(room) if end > room => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl StorageBackend for BadDisk {
    fn len(&self) -> io::Result<u64> {
        let content = lock(&self.0);
        content.check()?;
        Ok(content.current.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let content = lock(&self.0);
        content.check()?;
        let from = offset as usize;
        let bytes = content
            .current
            .get(from..from + out.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = lock(&self.0);
        content.check()?;
        let len = len as usize;
        if len > content.current.len() && !content.sparse {
            content.check_room(len)?;
        }
        // A file's length is its file system's affair, which keeps its own journal.
        content.current.resize(len, 0);
        content.synced.resize(len, 0);
        content
            .unsynced
            .retain(|(offset, bytes)| offset + bytes.len() <= len);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut content = lock(&self.0);
        content.spend()?;
        for (offset, bytes) in std::mem::take(&mut content.unsynced) {
            put(&mut content.synced, offset, &bytes);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut content = lock(&self.0);
        content.spend()?;
        let offset = offset as usize;
        content.check_room(offset + data.len())?;
        put(&mut content.current, offset, data);
        content.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}
