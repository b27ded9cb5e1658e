//! The files of an identity: `DATA/tls/` with `ca.crt`, `ca.key` where this node holds it, `node.crt`, `node.key`.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::identity::{ClusterCa, IdentityError, NodeIdentity, NodeKey, cert_from_pem, cert_to_pem};

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// Where a node keeps its keys and certificates.
#[derive(Debug, Clone)]
pub struct TlsStore {
    folder: PathBuf,
}

/// Why the files could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TlsStoreError {
    /// The file system refused.
    #[error("cannot {act} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `create`.
        act: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// There is a file, but its content is not usable.
    #[error("{} is not usable", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: IdentityError,
    },
}

impl TlsStore {
    /// The store below `data`, which need not exist yet.
    pub fn new(data: &Path) -> Self {
        Self {
            folder: data.join("tls"),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the CA with its key.
    ///
    /// # Errors
    /// [`TlsStoreError::Io`].
    pub fn save_ca(&self, ca: &ClusterCa) -> Result<(), TlsStoreError> {
        // The key first: a certificate without its key looks like a node that never held it.
        self.write("ca.key", &ca.key_pem())?;
        self.write("ca.crt", &ca.cert_pem())
    }

    /// The CA, where this node holds its key.
    ///
    /// # Errors
    /// Where the files are there but not usable.
    pub fn load_ca(&self) -> Result<Option<ClusterCa>, TlsStoreError> {
        let (Some(cert), Some(key)) = (self.read("ca.crt")?, self.read("ca.key")?) else {
            return Ok(None);
        };
        ClusterCa::from_pem(&cert, &key)
            .map(Some)
            .map_err(|source| self.content("ca.key", source))
    }

    /// Writes a node's identity. Replacing a certificate under the same key is atomic.
    ///
    /// # Errors
    /// [`TlsStoreError::Io`].
    pub fn save_identity(&self, identity: &NodeIdentity) -> Result<(), TlsStoreError> {
        let key = identity.key().to_pem();
        if self.read("node.key")?.as_deref() != Some(&key) {
            self.write("node.key", &key)?;
        }
        self.write("ca.crt", &cert_to_pem(identity.ca()))?;
        self.write("node.crt", &cert_to_pem(identity.certificate()))
    }

    /// A node's identity; none where it has not been written yet.
    ///
    /// # Errors
    /// Where the files are there but not usable.
    pub fn load_identity(&self) -> Result<Option<NodeIdentity>, TlsStoreError> {
        let (Some(ca), Some(cert), Some(key)) = (
            self.read("ca.crt")?,
            self.read("node.crt")?,
            self.read("node.key")?,
        ) else {
            return Ok(None);
        };
        let ca = cert_from_pem("ca.crt", &ca).map_err(|source| self.content("ca.crt", source))?;
        let cert = cert_from_pem("node.crt", &cert).map_err(|source| self.content("node.crt", source))?;
        let key = NodeKey::from_pem(&key).map_err(|source| self.content("node.key", source))?;
        NodeIdentity::new(ca, cert, key)
            .map(Some)
            .map_err(|source| self.content("node.crt", source))
    }

    fn content(&self, name: &str, source: IdentityError) -> TlsStoreError {
        TlsStoreError::Content {
            path: self.folder.join(name),
            source,
        }
    }

    fn read(&self, name: &str) -> Result<Option<String>, TlsStoreError> {
        let path = self.folder.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TlsStoreError::Io {
                act: "read",
                path,
                source,
            }),
        }
    }

    fn write(&self, name: &str, text: &str) -> Result<(), TlsStoreError> {
        let folder = &self.folder;
        let io = |act, path: &Path| {
            let path = path.to_owned();
            move |source| TlsStoreError::Io { act, path, source }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(FOLDER_MODE)
            .create(folder)
            .map_err(io("create", folder))?;
        // A folder that was there before may be open to others.
        fs::set_permissions(folder, fs::Permissions::from_mode(FOLDER_MODE))
            .map_err(io("protect", folder))?;
        let (path, temporary) = (folder.join(name), folder.join(format!("{name}.new")));
        let written = (|| {
            match fs::remove_file(&temporary) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(FILE_MODE)
                .open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(folder)?.sync_all()
        })();
        written.map_err(io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_host::{ManualClock, SeededEntropy};
    use jarvis_types::{ClusterId, NodeId};
    use std::time::Duration;

    #[test]
    fn an_identity_survives_its_files_which_only_the_owner_reads() {
        let data = tempfile::tempdir().unwrap();
        let store = TlsStore::new(data.path());
        assert!(store.load_ca().unwrap().is_none() && store.load_identity().unwrap().is_none());

        let (clock, entropy) = (ManualClock::new(1_800_000_000_000), SeededEntropy::new(1));
        let cluster = ClusterId(7);
        let ca = ClusterCa::create(cluster, &clock, &entropy).unwrap();
        let name = "attic".parse().unwrap();
        let ttl = Duration::from_secs(60);
        let identity =
            NodeIdentity::self_issued(&ca, cluster, NodeId(1), &name, &clock, &entropy, ttl).unwrap();
        store.save_ca(&ca).unwrap();
        store.save_identity(&identity).unwrap();
        assert_eq!(store.load_ca().unwrap().unwrap().fingerprint(), ca.fingerprint());
        assert_eq!(store.load_identity().unwrap().unwrap().names(), identity.names());

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.folder()), FOLDER_MODE);
        for file in ["ca.crt", "ca.key", "node.crt", "node.key"] {
            assert_eq!(mode(&store.folder().join(file)), FILE_MODE, "{file}");
        }
        assert_eq!(
            fs::read_dir(store.folder()).unwrap().count(),
            4,
            "no temporary file is left"
        );

        fs::write(store.folder().join("node.crt"), "torn").unwrap();
        let error = store.load_identity().unwrap_err();
        assert!(error.to_string().contains("node.crt"), "{error}");
    }
}
