//! The folder itself: opened, locked, checked; each way to be unfit has its own words.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use fs4::FileExt;

use super::identity::{FORMAT_VERSION, NodeFile, ReadError};
use crate::fail::Failure;

/// Less free space than this and a node does not start: the log must be able to grow while someone makes room.
pub const LEAST_FREE_BYTES: u64 = 16 * 1024 * 1024;

const NODE_FILE: &str = "node.toml";
const LOCK_FILE: &str = "lock";
const ADMIN_TOKEN_FILE: &str = "admin.token";
/// What waits on the disk for its turn.
const SPOOL_FOLDER: &str = "spool";
const FOLDER_MODE: u32 = 0o700;
const SECRET_MODE: u32 = 0o600;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process runs on it.
    #[error("the data folder {} is in use by process {}", path.display(), pid.as_deref().unwrap_or("(unknown)"))]
    Locked {
        /// Which folder.
        path: PathBuf,
        /// Whose.
        pid: Option<String>,
    },
    /// The file system refuses.
    #[error("cannot {act} {}: {source}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The disk is full.
    #[error("the disk of {} has {free_bytes} bytes free, and a node needs {least_bytes}", path.display())]
    Full {
        /// Which folder.
        path: PathBuf,
        /// What is left.
        free_bytes: u64,
        /// What a node needs.
        least_bytes: u64,
    },
    /// A newer build wrote it.
    #[error("the data folder {} has format {found}; this build knows up to {FORMAT_VERSION}", path.display())]
    Newer {
        /// Which folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The identity is damaged.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No node was made here.
    #[error("the data folder {} belongs to no cluster yet", path.display())]
    NotAMember {
        /// Which folder.
        path: PathBuf,
    },
    /// A node was made here already.
    #[error("the data folder {} already belongs to node {name} of cluster {cluster}", path.display())]
    AlreadyAMember {
        /// Which folder.
        path: PathBuf,
        /// Which node.
        name: String,
        /// Which cluster.
        cluster: String,
    },
    /// The identity and the keys are of different clusters.
    #[error("{}/node.toml names cluster {named}, but the keys in tls/ are of cluster {keys}", path.display())]
    OtherCluster {
        /// Which folder.
        path: PathBuf,
        /// The cluster of node.toml.
        named: String,
        /// The cluster of the certificate.
        keys: String,
    },
    /// The keys are gone.
    #[error("the keys of node {name} are gone: {}/tls is not complete", path.display())]
    NoKeys {
        /// Which folder.
        path: PathBuf,
        /// Which node.
        name: String,
    },
    /// The log is gone though it was begun.
    #[error("the log of node {name} is gone: {}/raft was there before", path.display())]
    Wiped {
        /// Which folder.
        path: PathBuf,
        /// Which node.
        name: String,
    },
}

impl DataError {
    /// What to do about it.
    pub fn advice(&self) -> String {
        match self {
            DataError::Locked { pid: Some(pid), .. } => {
                format!("stop that node first (kill {pid}), or use another folder with --data")
            }
            DataError::Locked { pid: None, .. } => "stop that node first, or use another folder with --data".to_owned(),
            DataError::Io { path, source, .. } => match source.kind() {
                ErrorKind::PermissionDenied => {
                    format!("run as the user who owns it (ls -ld {})", path.display())
                }
                ErrorKind::ReadOnlyFilesystem => {
                    "mount the disk for writing (a card that fails may have become read-only), or use another folder \
                     with --data"
                        .to_owned()
                }
                ErrorKind::StorageFull => format!("make room on the disk of {}", path.display()),
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    "a file is where a folder must be: move it away, or give a folder with --data".to_owned()
                }
                ErrorKind::IsADirectory => format!(
                    "a folder is where a file must be: move {} away, or use another folder with --data",
                    path.display()
                ),
                _ => "check the disk, or use another folder with --data".to_owned(),
            },
            DataError::Full { .. } => "make room, or use a folder on another disk with --data".to_owned(),
            DataError::Newer { .. } => "install the newer jarvis on this machine again".to_owned(),
            DataError::Damaged { .. } => {
                "restore the file from a backup; or remove this node from another one (`jarvis remove NAME`), delete \
                 the folder and join again"
                    .to_owned()
            }
            DataError::NotAMember { path } => format!(
                "make a new cluster: jarvis init --data {0}\nor join one: run `jarvis invite` on a member, then \
                 `jarvis join TOKEN --data {0}` here",
                path.display()
            ),
            DataError::AlreadyAMember { path, .. } => {
                format!("start it: jarvis run --data {}\nor use another folder with --data", path.display())
            }
            DataError::OtherCluster { .. } => {
                "these are parts of two nodes: restore both from the same backup".to_owned()
            }
            DataError::NoKeys { name, .. } | DataError::Wiped { name, .. } => format!(
                "a node may not come back without what it promised: on another node run `jarvis remove {name}` and \
                 `jarvis invite`, then delete this folder and join again"
            ),
        }
    }

    /// As a command tells it.
    pub fn failure(&self, what: &str) -> Failure {
        Failure::new(what, self).next(self.advice())
    }
}

/// A data folder by its path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    path: PathBuf,
    least_free_bytes: u64,
}

impl DataFolder {
    /// The folder at `path`, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            least_free_bytes: LEAST_FREE_BYTES,
        }
    }

    /// With another least free space than [`LEAST_FREE_BYTES`].
    #[must_use]
    pub fn with_least_free(mut self, bytes: u64) -> Self {
        self.least_free_bytes = bytes;
        self
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it if need be, locks it for this process and checks that it can be written.
    ///
    /// # Errors
    /// `Locked`, `Io`, `Full`.
    pub fn lock(&self) -> Result<LockedFolder, DataError> {
        let locked = self.lock_only()?;
        let free_bytes = fs4::available_space(&self.path).map_err(|source| DataError::Io {
            act: "measure",
            path: self.path.clone(),
            source,
        })?;
        if free_bytes < self.least_free_bytes {
            return Err(DataError::Full {
                path: self.path.clone(),
                free_bytes,
                least_bytes: self.least_free_bytes,
            });
        }
        locked.note("")?;
        Ok(locked)
    }

    /// Makes it if need be and locks it for this process, however full the disk: enough for who wants to delete it.
    ///
    /// # Errors
    /// `Locked`, `Io`.
    pub(crate) fn lock_only(&self) -> Result<LockedFolder, DataError> {
        let io = |act, path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { act, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(&self.path)
            .map_err(io("create", &self.path))?;
        fs::read_dir(&self.path).map_err(io("read", &self.path))?;
        let path = self.path.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(SECRET_MODE)
            .open(&path)
            .map_err(io("write", &path))?;
        match FileExt::try_lock(&file) {
            Ok(()) => {}
            Err(fs4::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = Read::by_ref(&mut file).take(20).read_to_string(&mut pid);
                let pid = pid.lines().next().unwrap_or_default();
                let known = read.is_ok() && !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit());
                return Err(DataError::Locked {
                    path: self.path.clone(),
                    pid: known.then(|| pid.to_owned()),
                });
            }
            Err(fs4::TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
        }
        Ok(LockedFolder {
            folder: self.clone(),
            lock: file,
        })
    }

    /// The identity; none where no node was made.
    ///
    /// # Errors
    /// `Io`, `Newer`, `Damaged`.
    pub fn identity(&self) -> Result<Option<NodeFile>, DataError> {
        let path = self.path.join(NODE_FILE);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Err(DataError::Damaged {
                    path,
                    why: "it is not text".to_owned(),
                });
            }
            Err(source) => {
                return Err(DataError::Io {
                    act: "read",
                    path,
                    source,
                });
            }
        };
        NodeFile::from_text(&text).map(Some).map_err(|error| match error {
            ReadError::Newer(found) => DataError::Newer {
                path: self.path.clone(),
                found,
            },
            ReadError::Malformed(why) => DataError::Damaged { path, why },
        })
    }

    /// Where the node that runs on this folder is reached by programs of this machine; none while none runs.
    ///
    /// # Errors
    /// `Io`.
    pub fn running_at(&self) -> Result<Option<String>, DataError> {
        let path = self.path.join(LOCK_FILE);
        let io = |source| DataError::Io {
            act: "read",
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(source)),
        };
        // Whoever gets the lock, if only for a moment and shared, knows that nobody runs.
        if FileExt::try_lock_shared(&file).is_ok() {
            return Ok(None);
        }
        let mut text = String::new();
        file.take(200).read_to_string(&mut text).map_err(io)?;
        Ok(text
            .lines()
            .nth(1)
            .filter(|url| url.starts_with("http"))
            .map(str::to_owned))
    }

    /// The local administrator's credential; none where there is none yet.
    ///
    /// # Errors
    /// `Io`.
    pub fn admin_token(&self) -> Result<Option<String>, DataError> {
        let path = self.path.join(ADMIN_TOKEN_FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|token| !token.is_empty())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataError::Io {
                act: "read",
                path,
                source,
            }),
        }
    }
}

/// A data folder that no other process uses while this value lives.
#[derive(Debug)]
pub struct LockedFolder {
    folder: DataFolder,
    lock: File,
}

impl LockedFolder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.folder.path
    }

    /// The folder without its lock.
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    /// Tells programs of this machine where the node that holds the lock is reached.
    ///
    /// # Errors
    /// `Io`.
    pub fn note_address(&self, url: &str) -> Result<(), DataError> {
        self.note(url)
    }

    /// First line: the pid; second: where the node is reached.
    fn note(&self, url: &str) -> Result<(), DataError> {
        let text = format!("{}\n{url}\n", std::process::id());
        let written = self.lock.set_len(0).and_then(|()| {
            let mut file = &self.lock;
            file.rewind()?;
            file.write_all(text.as_bytes())?;
            file.sync_data()
        });
        written.map_err(|source| DataError::Io {
            act: "write",
            path: self.path().join(LOCK_FILE),
            source,
        })
    }

    /// The identity of the node that was made here.
    ///
    /// # Errors
    /// `NotAMember`; as [`DataFolder::identity`].
    pub fn member(&self) -> Result<NodeFile, DataError> {
        self.folder.identity()?.ok_or_else(|| DataError::NotAMember {
            path: self.path().to_owned(),
        })
    }

    /// Refuses a folder where a node was made.
    ///
    /// # Errors
    /// `AlreadyAMember`; as [`DataFolder::identity`].
    pub fn must_be_free(&self) -> Result<(), DataError> {
        match self.folder.identity()? {
            None => Ok(()),
            Some(file) => Err(DataError::AlreadyAMember {
                path: self.path().to_owned(),
                name: file.name.to_string(),
                cluster: file.cluster.to_string(),
            }),
        }
    }

    /// Writes the identity, whole or not at all.
    ///
    /// # Errors
    /// `Io`.
    pub fn save_identity(&self, file: &NodeFile) -> Result<(), DataError> {
        self.write(NODE_FILE, &file.to_text())
    }

    /// Makes the folder for what waits for its turn, for its owner only.
    ///
    /// # Errors
    /// `Io`.
    pub fn make_spool(&self) -> Result<(), DataError> {
        let path = self.path().join(SPOOL_FOLDER);
        let made = DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(&path);
        made.map_err(|source| DataError::Io {
            act: "create",
            path,
            source,
        })
    }

    /// Writes the local administrator's credential, readable by the owner only.
    ///
    /// # Errors
    /// `Io`.
    pub fn save_admin_token(&self, token: &str) -> Result<(), DataError> {
        self.write(ADMIN_TOKEN_FILE, &format!("{token}\n"))
    }

    fn write(&self, name: &str, text: &str) -> Result<(), DataError> {
        let path = self.path().join(name);
        write_secret(&path, text).map_err(|source| DataError::Io {
            act: "write",
            path,
            source,
        })
    }
}

/// Writes a file that only its owner reads, whole or not at all, durable when it returns.
pub(crate) fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    let temporary = path.with_extension("new");
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(SECRET_MODE)
        .open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn folder() -> (tempfile::TempDir, DataFolder) {
        let dir = tempfile::tempdir().expect("a folder");
        let data = DataFolder::new(dir.path().join("data"));
        (dir, data)
    }

    #[test]
    fn a_second_process_is_refused_with_the_pid_of_the_first() {
        let (_dir, data) = folder();
        let first = data.lock().expect("free");
        let error = data.lock().expect_err("in use");
        let pid = std::process::id().to_string();
        assert!(
            matches!(&error, DataError::Locked { pid: Some(found), .. } if *found == pid),
            "{error}"
        );
        assert!(error.advice().contains(&format!("kill {pid}")));
        first.note_address("http://127.0.0.1:1").expect("written");
        assert_eq!(
            data.running_at().expect("readable").as_deref(),
            Some("http://127.0.0.1:1")
        );
        drop(first);
        assert_eq!(data.running_at().expect("readable"), None);
        assert!(data.lock().is_ok());
    }

    #[test]
    fn a_folder_that_is_none_or_of_another_format_is_refused() {
        let (dir, data) = folder();
        let locked = data.lock().expect("free");
        assert!(matches!(locked.member(), Err(DataError::NotAMember { .. })));
        assert!(locked.must_be_free().is_ok());
        fs::write(data.path().join("node.toml"), "format = 7\n").expect("written");
        assert!(matches!(locked.member(), Err(DataError::Newer { found: 7, .. })));
        fs::write(data.path().join("node.toml"), [0xff, 0xfe]).expect("written");
        assert!(matches!(locked.member(), Err(DataError::Damaged { .. })));
        let file = dir.path().join("file");
        fs::write(&file, "x").expect("written");
        assert!(matches!(
            DataFolder::new(file).lock(),
            Err(DataError::Io { act: "create", .. })
        ));
    }

    #[test]
    fn secrets_are_for_their_owner() {
        let (_dir, data) = folder();
        let locked = data.lock().expect("free");
        assert_eq!(data.admin_token().expect("readable"), None);
        locked.save_admin_token("jat_x").expect("written");
        locked.save_admin_token("jat_y").expect("written again");
        assert_eq!(data.admin_token().expect("readable").as_deref(), Some("jat_y"));
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&data.path().join("admin.token")), 0o600);
        assert_eq!(mode(data.path()), 0o700);
    }

    #[test]
    fn a_full_disk_is_told_before_anything_is_begun() {
        let (_dir, data) = folder();
        let full = data.clone().with_least_free(u64::MAX);
        let error = full.lock().expect_err("no disk has as much");
        assert!(
            matches!(error, DataError::Full { least_bytes: u64::MAX, free_bytes, .. } if free_bytes > 0),
            "{error}"
        );
        assert!(
            error.to_string().contains("bytes free") && error.advice().starts_with("make room"),
            "{error}"
        );
        // Who wants to make room by deleting it may, and it was not left locked.
        assert!(full.lock_only().is_ok());
        assert!(data.lock().is_ok());
    }

    #[test]
    fn files_and_folders_in_one_anothers_place_are_told_as_such() {
        for (name, act) in [("node.toml", "read"), ("admin.token", "read"), ("lock", "write")] {
            let (_dir, data) = folder();
            fs::create_dir_all(data.path().join(name)).expect("made");
            let error = match name {
                "node.toml" => data.identity().map(|_| ()),
                "admin.token" => data.admin_token().map(|_| ()),
                _ => data.lock().map(|_| ()),
            };
            let error = error.expect_err("it is a folder");
            assert!(
                matches!(&error, DataError::Io { act: found, path, .. } if *found == act && path.ends_with(name)),
                "{error}"
            );
            assert!(
                error.advice().contains("a folder is where a file must be"),
                "{error}"
            );
        }
        let (_dir, data) = folder();
        let locked = data.lock().expect("free");
        fs::write(data.path().join("spool"), "x").expect("written");
        let error = locked.make_spool().expect_err("it is a file");
        assert!(
            error.advice().contains("a file is where a folder must be"),
            "{error}"
        );
    }

    #[test]
    fn what_this_user_may_not_read_is_told_as_such() {
        let (_dir, data) = folder();
        drop(data.lock().expect("free"));
        fs::write(data.path().join("node.toml"), "format = 1\n").expect("written");
        let forbid = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the owner may");
        };
        forbid(&data.path().join("node.toml"), 0o000);
        let found = data.identity();
        if rustix::process::geteuid().is_root() {
            // Root reads everything, and so finds what is in it.
            assert!(matches!(found, Err(DataError::Damaged { .. })));
            return;
        }
        let error = found.expect_err("it may not be read");
        assert!(error.advice().contains("run as the user who owns it"), "{error}");
        forbid(data.path(), 0o000);
        let error = data.lock().expect_err("it may not be read");
        forbid(data.path(), 0o700);
        assert!(error.advice().contains("run as the user who owns it"), "{error}");
    }

    /// One of each; a new variant does not compile until it is here.
    fn next(after: Option<&DataError>) -> Option<DataError> {
        let path = PathBuf::from("/data");
        let (name, cluster) = ("attic".to_owned(), "C".to_owned());
        Some(match after {
            None => DataError::Locked {
                path,
                pid: Some("7".to_owned()),
            },
            Some(DataError::Locked { pid: Some(_), .. }) => DataError::Locked { path, pid: None },
            Some(DataError::Locked { pid: None, .. }) => DataError::Io {
                act: "write",
                path,
                source: ErrorKind::PermissionDenied.into(),
            },
            Some(DataError::Io { .. }) => DataError::Full {
                path,
                free_bytes: 5,
                least_bytes: 6,
            },
            Some(DataError::Full { .. }) => DataError::Newer { path, found: 2 },
            Some(DataError::Newer { .. }) => DataError::Damaged {
                path,
                why: "x".to_owned(),
            },
            Some(DataError::Damaged { .. }) => DataError::NotAMember { path },
            Some(DataError::NotAMember { .. }) => DataError::AlreadyAMember { path, name, cluster },
            Some(DataError::AlreadyAMember { .. }) => DataError::OtherCluster {
                path,
                named: cluster.clone(),
                keys: cluster,
            },
            Some(DataError::OtherCluster { .. }) => DataError::NoKeys { path, name },
            Some(DataError::NoKeys { .. }) => DataError::Wiped { path, name },
            Some(DataError::Wiped { .. }) => return None,
        })
    }

    #[test]
    fn every_error_says_what_to_do() {
        let check = |error: &DataError| {
            let failure = error.failure("the node cannot start");
            assert!(
                failure.why.contains("/data") && failure.next.len() > 20,
                "{failure}"
            );
        };
        let (mut last, mut count) = (None, 0);
        while let Some(error) = next(last.as_ref()) {
            check(&error);
            (last, count) = (Some(error), count + 1);
        }
        assert_eq!(count, 11, "ten variants, one of them in two ways");
        for kind in [
            ErrorKind::ReadOnlyFilesystem,
            ErrorKind::StorageFull,
            ErrorKind::NotADirectory,
            ErrorKind::IsADirectory,
            ErrorKind::Other,
        ] {
            check(&DataError::Io {
                act: "write",
                path: PathBuf::from("/data"),
                source: kind.into(),
            });
        }
    }
}
