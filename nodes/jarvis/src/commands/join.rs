//! `join`: makes this machine a member. What can be found out here is found out before anyone is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jarvis_config::Settings;
use jarvis_host::{Clock, SystemClock, SystemEntropy};
use jarvis_mesh::identity::{ClusterCa, NodeIdentity, NodeKey, fingerprint_of};
use jarvis_mesh::join::{JoinTransportError, join_request};
use jarvis_mesh::store::TlsStore;
use jarvis_types::NodeName;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use super::config::settings;
use super::init::{hex, node_name, run_line, write_down};
use crate::cli::args::{JoinArgs, NodeArgs, RunArgs};
use crate::cli::output::Output;
use crate::data::{DataFolder, FORMAT_VERSION, KnownPeer, LockedFolder, NodeFile};
use crate::fail::{Failure, chain};
use crate::node::protocol::{Admission, BUILD, JoinAnswer, JoinRequest, LEVEL, open, role_text, seal};
use crate::places::{advertised, data_folder};
use crate::token::JoinToken;

/// How long to try to reach someone, and as long again for the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const WHAT: &str = "this machine did not join";

/// `jarvis join TOKEN`.
///
/// # Errors
/// Says which: expired, used, wrong cluster, unreachable, clock, name taken, wiped disk, and what to do.
pub async fn join(args: &JoinArgs, output: Output) -> Result<Option<RunArgs>, Failure> {
    let data = data_folder(args.data.data.as_deref());
    let loaded = settings(args.config.as_deref(), &data)?;
    let progress = output.progress("asking the cluster");
    let joined = join_cluster(&args.token, &data, &args.node, &loaded.settings).await;
    progress.done();
    let file = joined?;
    let answer = json!({"cluster_id": file.cluster, "node_id": file.node, "name": file.name, "role": file.role, "data": data});
    if !(args.run && output.is_json()) {
        output.answer(&answer, |_| {
            let shown = run_line(&data, args.data.data.as_deref());
            let start = if args.run {
                String::new()
            } else {
                format!("\nStart it:  {shown}")
            };
            format!(
                "{} is node {} of cluster {}.{start}",
                file.name, file.node, file.cluster
            )
        });
    }
    let run = RunArgs {
        data: args.data.clone(),
        config: args.config.clone(),
        supervised: false,
    };
    Ok(args.run.then_some(run))
}

/// Joins with a token and writes the identity down.
///
/// # Errors
/// As [`join`].
pub async fn join_cluster(
    token: &str,
    data: &Path,
    node: &NodeArgs,
    settings: &Settings,
) -> Result<NodeFile, Failure> {
    let token = read_token(token, SystemClock.now_ms())?;
    let name = node_name(WHAT, node.name.as_deref(), settings)?;
    let locked = DataFolder::new(data).lock().map_err(|e| e.failure(WHAT))?;
    locked.must_be_free().map_err(|e| e.failure(WHAT))?;
    let listen = node.listen.unwrap_or(settings.node.listen);
    let address = advertised(
        node.advertise.as_deref().or(settings.node.advertise.as_deref()),
        listen,
    );
    let key = NodeKey::generate().map_err(|e| Failure::from_error(WHAT, &e))?;
    let request = JoinRequest {
        cluster: token.cluster,
        secret: token.secret,
        name: name.clone(),
        signing_request: key.signing_request().map_err(|e| Failure::from_error(WHAT, &e))?,
        http_url: format!("http://{address}"),
        mesh_address: address,
        build: BUILD.to_owned(),
        level: LEVEL,
        clock_ms: SystemClock.now_ms(),
    };
    let admission = ask(&token, &request).await?;
    accept(&locked, &token, admission, key, name, node)
}

/// What the token alone tells.
fn read_token(text: &str, now_ms: u64) -> Result<JoinToken, Failure> {
    let token = JoinToken::from_text(text).map_err(|error| {
        Failure::new(WHAT, error)
            .next("copy the whole line that `jarvis invite` printed; it is one word without blanks")
    })?;
    if token.expires_at_ms <= now_ms {
        let ago = jarvis_config::format_duration(Duration::from_secs((now_ms - token.expires_at_ms) / 1_000));
        let why = format!("by this machine's clock the invitation expired {ago} ago");
        let next = "run `jarvis invite` on a member and use the token it prints; if that was just now, this machine's \
                    clock is wrong: timedatectl set-ntp true";
        return Err(Failure::new(WHAT, why).next(next));
    }
    Ok(token)
}

async fn ask(token: &JoinToken, request: &JoinRequest) -> Result<Admission, Failure> {
    let bytes = seal(request).map_err(|e| Failure::from_error(WHAT, &e))?;
    let answer = join_request(
        &token.addresses,
        token.ca_sha256,
        token.cluster,
        Bytes::from(bytes),
        REQUEST_TIMEOUT,
    )
    .await;
    let answer = answer.map_err(|error| {
        let next = match &error {
            JoinTransportError::Unreachable { .. } => {
                "see that a member runs, and that this machine reaches its port over UDP (a firewall?)"
            }
            JoinTransportError::WrongCluster { .. } => "run `jarvis invite` on a node of the cluster you mean",
            JoinTransportError::ClocksDiffer { .. } => {
                "set this machine's clock (timedatectl set-ntp true), then join with the same token"
            }
            JoinTransportError::NoAnswer { .. } => {
                "see `jarvis status` on a member: if this machine is listed there, `jarvis remove` it; then invite again"
            }
            _ => "try again in a moment",
        };
        Failure::new(WHAT, chain(&error)).next(next)
    })?;
    let garbled =
        |why: String| Failure::new(WHAT, why).next("install the same version of jarvis on both machines");
    match open(&answer).map_err(|error| garbled(format!("the answer was not understood: {error}")))? {
        JoinAnswer::Admitted(admission) => Ok(*admission),
        JoinAnswer::Refused(refusal) => {
            Err(Failure::new(WHAT, &refusal).next(refusal.advice(request.name.as_str())))
        }
    }
}

fn accept(
    locked: &LockedFolder,
    token: &JoinToken,
    admission: Admission,
    key: NodeKey,
    name: NodeName,
    node: &NodeArgs,
) -> Result<NodeFile, Failure> {
    let bad = |why: String| Failure::new(WHAT, why).next("run `jarvis invite` again, on another member");
    let ca = CertificateDer::from_pem_slice(admission.ca_certificate.as_bytes())
        .map_err(|e| bad(e.to_string()))?;
    if fingerprint_of(&ca) != token.ca_sha256 {
        return Err(bad(
            "the cluster's CA certificate is not the one of the invitation".to_owned(),
        ));
    }
    let certificate = CertificateDer::from(admission.certificate);
    let identity = NodeIdentity::new(ca, certificate, key).map_err(|e| bad(chain(&e)))?;
    let names = identity.names();
    if (names.cluster, names.node) != (token.cluster, admission.node) {
        return Err(bad("the certificate is of another node".to_owned()));
    }
    if let Some(ca_key) = &admission.ca_key {
        let ca = ClusterCa::from_pem(&admission.ca_certificate, ca_key).map_err(|e| bad(chain(&e)))?;
        TlsStore::new(locked.path())
            .save_ca(&ca)
            .map_err(|e| Failure::from_error(WHAT, &e))?;
    }
    let own = admission.node;
    let peers = admission.members.into_iter().filter(|(id, ..)| *id != own);
    let file = NodeFile {
        format: FORMAT_VERSION,
        cluster: token.cluster,
        node: own,
        name,
        role: role_text(admission.role).to_owned(),
        listen: node.listen,
        advertise: node.advertise.clone(),
        ca_sha256: hex(&token.ca_sha256),
        founder: false,
        handed_over: false,
        has_log: false,
        recovering: None,
        peers: peers
            .map(|(node, name, address)| KnownPeer { node, name, address })
            .collect(),
    };
    let entropy: Arc<SystemEntropy> = Arc::default();
    write_down(WHAT, locked, &identity, &file, &*entropy)?;
    Ok(file)
}

/// Whether someone has the port already: found out before the invitation is used up.
pub fn port_is_free(listen: SocketAddr) -> bool {
    std::net::TcpListener::bind(listen).is_ok() && std::net::UdpSocket::bind(listen).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_types::ClusterId;

    #[test]
    fn an_expired_token_is_told_before_anyone_is_asked() {
        let token = JoinToken {
            addresses: vec!["127.0.0.1:1".into()],
            ca_sha256: [0; 32],
            cluster: ClusterId(1),
            secret: [1; 32],
            expires_at_ms: 1_000_000,
        };
        let failure = read_token(&token.to_text(), 1_000_000 + 3_700_000).expect_err("expired");
        assert_eq!(
            failure.why,
            "by this machine's clock the invitation expired 1h1m40s ago"
        );
        assert!(failure.next.contains("clock is wrong"), "{failure}");
        assert_eq!(read_token(&token.to_text(), 5), Ok(token));
        let failure = read_token("nonsense!", 5).expect_err("not a token");
        assert_eq!(failure.why, "this is not a join token");
    }
}
