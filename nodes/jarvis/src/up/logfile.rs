//! A log file that does not grow without end: two files of a bounded size.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Size at which a file is put aside, in bytes.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// Writes lines; the file before is kept as `NAME.1`.
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl LogFile {
    /// Goes on with the file that is there.
    ///
    /// # Errors
    /// Of the file system.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            bytes,
        })
    }

    /// Adds a line. A log that cannot be written must not end what it tells of.
    pub(super) fn line(&mut self, text: &str) {
        if self.bytes >= MAX_FILE_BYTES {
            self.rotate();
        }
        if writeln!(self.file, "{text}").is_ok() {
            self.bytes += text.len() as u64 + 1;
        }
    }

    fn rotate(&mut self) {
        let mut aside = self.path.clone().into_os_string();
        aside.push(".1");
        let renewed = std::fs::rename(&self.path, aside).and_then(|()| Self::open(&self.path));
        match renewed {
            Ok(fresh) => *self = fresh,
            // Begin anew in the same file rather than fill the disk.
            Err(_) => {
                let _ = self.file.set_len(0);
                self.bytes = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_files_of_a_bounded_size_are_all_there_ever_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jarvis.log");
        let mut log = LogFile::open(&path).expect("opens");
        let text = "x".repeat(1024 * 1024 - 1);
        for _ in 0..20 {
            log.line(&text);
        }
        let sizes: Vec<u64> = ["jarvis.log", "jarvis.log.1"]
            .iter()
            .map(|name| std::fs::metadata(folder.path().join(name)).expect("there").len())
            .collect();
        assert_eq!(sizes, [4 * 1024 * 1024, MAX_FILE_BYTES]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 2);
    }
}
