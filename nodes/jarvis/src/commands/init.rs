//! `init`: the first node of a new cluster. Nothing runs yet; all that is needed for it is written down.

use std::path::{Path, PathBuf};

use jarvis_config::Settings;
use jarvis_host::{Entropy, SystemClock, SystemEntropy, new_ulid, random_token};
use jarvis_mesh::identity::{ClusterCa, NodeIdentity};
use jarvis_mesh::store::TlsStore;
use jarvis_types::{ClusterId, NodeId, NodeName};
use serde_json::json;

use super::config::settings;
use crate::cli::args::{InitArgs, NodeArgs};
use crate::cli::output::Output;
use crate::data::{DataFolder, FORMAT_VERSION, LockedFolder, NodeFile};
use crate::fail::Failure;
use crate::places::{data_folder, machine_name};

/// Prefix of local administrators' credentials.
const ADMIN_TOKEN_PREFIX: &str = "jad";

/// `jarvis init`.
///
/// # Errors
/// Says what is in the way and what to do.
pub fn init(args: &InitArgs, output: Output) -> Result<(), Failure> {
    let data = data_folder(args.data.data.as_deref());
    let loaded = settings(args.config.as_deref(), &data)?;
    let file = make_first_node(&data, &args.node, &loaded.settings)?;
    let answer = json!({"cluster_id": file.cluster, "node_id": file.node, "name": file.name, "data": data});
    output.answer(&answer, |_| {
        let shown = run_line(&data, args.data.data.as_deref());
        format!(
            "{} is the first node of cluster {}.\nStart it:  {shown}",
            file.name, file.cluster
        )
    });
    Ok(())
}

/// The line that starts the node, as short as it can be.
pub(crate) fn run_line(data: &Path, given: Option<&Path>) -> String {
    match given {
        Some(_) => format!("jarvis run --data {}", data.display()),
        None => "jarvis run".to_owned(),
    }
}

/// Makes CA, certificate and identity of a cluster's first node.
///
/// # Errors
/// Where the folder is in use, not fit, or a node's already.
pub fn make_first_node(data: &Path, node: &NodeArgs, settings: &Settings) -> Result<NodeFile, Failure> {
    let what = "no cluster was made";
    let name = node_name(what, node.name.as_deref(), settings)?;
    let locked = DataFolder::new(data).lock().map_err(|e| e.failure(what))?;
    locked.must_be_free().map_err(|e| e.failure(what))?;
    let (clock, entropy) = (SystemClock, SystemEntropy::default());
    let cluster = ClusterId(new_ulid(&clock, &entropy));
    let ca = ClusterCa::create(cluster, &clock, &entropy).map_err(|e| Failure::from_error(what, &e))?;
    let ttl = settings.mesh.certificate_ttl;
    let identity = NodeIdentity::self_issued(&ca, cluster, NodeId(1), &name, &clock, &entropy, ttl)
        .map_err(|e| Failure::from_error(what, &e))?;
    let store = TlsStore::new(data);
    store.save_ca(&ca).map_err(|e| Failure::from_error(what, &e))?;
    let file = NodeFile {
        format: FORMAT_VERSION,
        cluster,
        node: NodeId(1),
        name,
        role: "voter".to_owned(),
        listen: node.listen,
        advertise: node.advertise.clone(),
        ca_sha256: hex(&ca.fingerprint()),
        founder: true,
        handed_over: false,
        has_log: false,
        recovering: None,
        peers: Vec::new(),
    };
    write_down(what, &locked, &identity, &file, &entropy)?;
    Ok(file)
}

/// Keys first, the identity last: without it the folder counts as free, and the step can be done again.
pub(crate) fn write_down(
    what: &str,
    locked: &LockedFolder,
    identity: &NodeIdentity,
    file: &NodeFile,
    entropy: &dyn Entropy,
) -> Result<(), Failure> {
    TlsStore::new(locked.path())
        .save_identity(identity)
        .map_err(|e| Failure::from_error(what, &e))?;
    locked.make_spool().map_err(|e| e.failure(what))?;
    let token = random_token(ADMIN_TOKEN_PREFIX, entropy);
    locked.save_admin_token(&token).map_err(|e| e.failure(what))?;
    locked.save_identity(file).map_err(|e| e.failure(what))
}

/// The name as given, configured, or the machine's.
pub(crate) fn node_name(what: &str, given: Option<&str>, settings: &Settings) -> Result<NodeName, Failure> {
    let text = given
        .map(str::to_owned)
        .or_else(|| settings.node.name.clone())
        .unwrap_or_else(machine_name);
    text.parse().map_err(|error| {
        Failure::new(what, error)
            .next("choose another with --name")
            .usage()
    })
}

/// Bytes as people write them.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where the data of the up-th node of a cluster on this machine is.
pub fn node_folder(up: &Path, index: usize) -> PathBuf {
    up.join(format!("node{}", index + 1))
}
