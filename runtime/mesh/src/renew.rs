//! Renewal: a node asks for its next certificate at about half the life of the present one, without a restart.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jarvis_host::{Clock, Entropy};
use jarvis_types::NodeName;
use rustls_pki_types::CertificateDer;
use tokio::sync::Semaphore;

use crate::api::{Call, CallError, Lane, Mesh, PeerState, Service};
use crate::close::CloseCode;
use crate::identity::{CertificateNames, ClusterCa, IdentityError, NodeIdentity};
use crate::join::human;
use crate::late;
use crate::mesh::MeshInner;
use crate::store::TlsStoreError;

/// Asks a holder of the CA's key for a certificate; the body is the signing request, the answer the certificate, both DER.
pub const RENEW_SERVICE: Service = Service(0x0101);

/// Certificates issued at a time.
const MAX_ISSUING: usize = 8;

/// How long one peer may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// The task looks at the clock this many times in a certificate's life, but within the two bounds below.
const LOOKS: u32 = 50;
const SHORTEST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// First and longest pause after a failed attempt.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Why there is no new certificate yet.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The certificate could not be made, or is not what was asked for.
    #[error("the certificate is not usable")]
    Identity(#[from] IdentityError),
    /// No peer that holds the CA's key answered.
    #[error("no peer issued one: {0}")]
    NobodyIssues(String),
    /// By this node's clock the certificate issued is valid only later.
    #[error(
        "the certificate issued is valid only in {}: set the clocks of this machine and of the issuer right",
        human(*begins_in)
    )]
    NotYetValid {
        /// How much later.
        begins_in: Duration,
    },
    /// By this node's clock the certificate issued has run out.
    #[error(
        "the certificate issued ran out {} ago: set the clocks of this machine and of the issuer right",
        human(*ended_ago)
    )]
    RanOut {
        /// How long ago.
        ended_ago: Duration,
    },
    /// The present certificate is good for longer than the one issued.
    #[error(
        "the certificate issued ends {} before the present one, which stays in use: set the issuer's clock right, unless \
         its `certificate_ttl` was shortened",
        human(*by)
    )]
    EndsEarlier {
        /// By how much.
        by: Duration,
    },
    /// It could not be written down.
    #[error("the certificate could not be stored")]
    Store(#[from] TlsStoreError),
}

/// Where new certificates come from.
#[async_trait]
pub trait Renewer: Send + Sync + 'static {
    /// A certificate for this node and the key of `csr`.
    async fn renew(&self, csr: Vec<u8>) -> Result<CertificateDer<'static>, RenewError>;
}

/// Issues them itself, where this node holds the CA's key.
pub struct SelfIssue {
    /// The CA.
    pub ca: Arc<ClusterCa>,
    /// Whom to issue for.
    pub identity: NodeIdentity,
    /// Its name.
    pub name: NodeName,
    /// How long they are good for.
    pub ttl: Duration,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

#[async_trait]
impl Renewer for SelfIssue {
    async fn renew(&self, csr: Vec<u8>) -> Result<CertificateDer<'static>, RenewError> {
        let names = self.identity.names();
        let (clock, entropy) = (&*self.clock, &*self.entropy);
        Ok(self.ca.issue(
            names.cluster,
            names.node,
            &self.name,
            &csr,
            clock,
            entropy,
            self.ttl,
        )?)
    }
}

/// Asks the connected peers, one after the other; and with a certificate that is not valid now, all members.
pub struct AskPeers(Weak<MeshInner>);

impl AskPeers {
    /// Asks the peers of `mesh`.
    pub fn new(mesh: &Mesh) -> Self {
        Self(Arc::downgrade(&mesh.inner))
    }
}

#[async_trait]
impl Renewer for AskPeers {
    async fn renew(&self, csr: Vec<u8>) -> Result<CertificateDer<'static>, RenewError> {
        let Some(inner) = self.0.upgrade() else {
            return Err(RenewError::NobodyIssues("the mesh has stopped".to_owned()));
        };
        let mesh = Mesh { inner };
        let peers = mesh.peers().borrow().clone();
        let mut failures = Vec::new();
        // The clock of one issuer may be wrong: the next is asked then.
        let accepted = |cert| {
            check(&mesh, &cert)
                .map(|()| cert)
                .map_err(|error| error.to_string())
        };
        for peer in peers.iter().filter(|peer| peer.state == PeerState::Up) {
            let body = Bytes::from(csr.clone());
            match mesh
                .call(
                    peer.member.node,
                    Lane::Control,
                    RENEW_SERVICE,
                    0,
                    body,
                    ASK_TIMEOUT,
                )
                .await
            {
                Ok(cert) => match accepted(CertificateDer::from(cert.to_vec())) {
                    Ok(cert) => return Ok(cert),
                    Err(why) => failures.push(format!("node {}: {why}", peer.member.node)),
                },
                Err(CallError::Stopping) => break,
                Err(error) => failures.push(error.to_string()),
            }
        }
        // Peers refuse a certificate that is not valid now, but whoever holds the CA's key may still know this node by it.
        if !mesh.identity().names().is_valid_at(mesh.inner.clock.now_ms()) {
            for peer in peers.iter() {
                let asked = late::ask(&mesh.inner, &peer.member.address, &csr).await;
                match asked.and_then(accepted) {
                    Ok(cert) => return Ok(cert),
                    Err(why) => {
                        if why == CloseCode::Removed.reason() {
                            mesh.inner.refused_by(peer.member.node, CloseCode::Removed);
                        }
                        failures.push(format!("{}: {why}", peer.member.address));
                    }
                }
            }
        }
        let why = if failures.is_empty() {
            "no peer is connected".to_owned()
        } else {
            failures.join(", ")
        };
        Err(RenewError::NobodyIssues(why))
    }
}

/// Issues certificates for peers that ask, also for members whose own is not valid now. A peer gets one for itself and for
/// nobody else.
pub fn serve_renewals(mesh: &Mesh, ca: Arc<ClusterCa>, ttl: Duration) {
    mesh.inner.set_issuer(Arc::clone(&ca), ttl);
    let (weak, places) = (Arc::downgrade(&mesh.inner), Arc::new(Semaphore::new(MAX_ISSUING)));
    let handler = move |call: Call| {
        let Some(inner) = weak.upgrade() else { return };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            return call.answer.refuse("too many renewals at a time");
        };
        let (ca, tasks) = (Arc::clone(&ca), inner.tasks.clone());
        tasks.spawn_until_cancelled(async move {
            let _place = place;
            let Some(name) = inner.member_name(call.from) else {
                return call.answer.refuse(inner.unknown(call.from).reason());
            };
            let (clock, entropy) = (&*inner.clock, &*inner.entropy);
            match ca.issue(inner.cluster, call.from, &name, &call.body, clock, entropy, ttl) {
                Ok(cert) => {
                    tracing::info!(peer = %call.from, "issued a new certificate");
                    call.answer.send(Bytes::copy_from_slice(&cert));
                }
                Err(error) => call.answer.refuse(error.to_string()),
            }
        });
    };
    mesh.serve(RENEW_SERVICE, Arc::new(handler));
}

/// Writes a renewed identity down before it is used.
pub type SaveIdentity = Arc<dyn Fn(&NodeIdentity) -> Result<(), TlsStoreError> + Send + Sync>;

/// Keeps the certificate of `mesh` young, in a task of the mesh's own. One that is not valid yet is renewed at once, as one
/// that has run out: it was made while a clock was ahead. `save` is a small synced write.
pub fn keep_renewed(mesh: &Mesh, renewer: Arc<dyn Renewer>, save: SaveIdentity) {
    let inner = Arc::clone(&mesh.inner);
    mesh.inner.tasks.spawn_until_cancelled(async move {
        let mesh = Mesh { inner };
        let mut pause = RETRY_MIN;
        loop {
            let (names, now_ms) = (mesh.identity().names(), mesh.inner.clock.now_ms());
            let life = Duration::from_millis(names.not_after_ms.saturating_sub(names.issued_ms));
            let left = Duration::from_millis(names.not_after_ms.saturating_sub(now_ms));
            if names.is_valid_at(now_ms) && left > life / 2 {
                pause = RETRY_MIN;
                tokio::time::sleep((life / LOOKS).clamp(SHORTEST_LOOK, LONGEST_LOOK)).await;
                continue;
            }
            if let Err(error) = renew_once(&mesh, &*renewer, &save).await {
                report(&error, &names, now_ms);
            }
            // Also after a success: by this node's clock the new certificate may be no younger.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX).min((life / LOOKS).max(RETRY_MIN));
        }
    });
}

async fn renew_once(mesh: &Mesh, renewer: &dyn Renewer, save: &SaveIdentity) -> Result<(), RenewError> {
    let present = mesh.identity();
    let cert = renewer.renew(present.key().signing_request()?).await?;
    check(mesh, &cert)?;
    let renewed = present.with_certificate(cert)?;
    save(&renewed)?;
    mesh.set_identity(renewed)?;
    tracing::info!(
        until_ms = mesh.identity().names().not_after_ms,
        "the node's certificate was renewed"
    );
    Ok(())
}

/// Whether a new certificate is better than the present one. With one that is not valid now this node would be shut out.
fn check(mesh: &Mesh, cert: &CertificateDer<'_>) -> Result<(), RenewError> {
    let (new, present) = (CertificateNames::parse(cert)?, mesh.identity().names());
    let now_ms = mesh.inner.clock.now_ms();
    let ms = Duration::from_millis;
    if now_ms < new.not_before_ms {
        let begins_in = ms(new.not_before_ms - now_ms);
        return Err(RenewError::NotYetValid { begins_in });
    }
    if new.not_after_ms <= now_ms {
        let ended_ago = ms(now_ms - new.not_after_ms);
        return Err(RenewError::RanOut { ended_ago });
    }
    if present.is_valid_at(now_ms) && new.not_after_ms < present.not_after_ms {
        let by = ms(present.not_after_ms - new.not_after_ms);
        return Err(RenewError::EndsEarlier { by });
    }
    Ok(())
}

fn report(error: &RenewError, present: &CertificateNames, now_ms: u64) {
    let left = Duration::from_millis(present.not_after_ms.saturating_sub(now_ms));
    let life = Duration::from_millis(present.not_after_ms.saturating_sub(present.issued_ms));
    let hours_left = left.as_secs() / 3_600;
    let source = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    if left.is_zero() {
        tracing::error!(
            %error, source,
            "the node's certificate has expired and could not be renewed: peers refuse this node. Start the node that \
             holds the CA's key, or have this one join again"
        );
    } else if now_ms < present.not_before_ms {
        let hours_early = (present.not_before_ms - now_ms) / 3_600_000;
        tracing::error!(
            %error, source, hours_early,
            "the node's certificate is not valid yet and could not be renewed: peers refuse this node. Set this machine's \
             clock right; if it is, start the node that holds the CA's key"
        );
    } else if left < life / 5 {
        tracing::warn!(
            %error, source, hours_left,
            "the node's certificate could not be renewed: start the node that holds the CA's key before it expires"
        );
    } else {
        tracing::info!(%error, source, hours_left, "the node's certificate could not be renewed yet; trying again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestBed;
    use jarvis_host::ManualClock;
    use jarvis_types::NodeId;

    const NOW_MS: u64 = 1_800_000_000_000;
    const HOUR_MS: u64 = 3_600_000;
    const HOUR: Duration = Duration::from_millis(HOUR_MS);

    #[tokio::test]
    async fn a_certificate_that_is_not_better_than_the_present_one_is_not_taken() {
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let bed = TestBed::with_clock(Arc::clone(&clock) as Arc<dyn Clock>);
        let mesh = bed.mesh_of(bed.identity(NodeId(1), 4 * HOUR), "127.0.0.1:0");
        let issued = |ttl| bed.identity(NodeId(1), ttl).certificate().clone();
        let (short, long) = (issued(HOUR), issued(5 * HOUR));
        let refusal = |cert| check(&mesh, cert).unwrap_err().to_string();
        assert!(check(&mesh, &long).is_ok());
        let why = refusal(&short);
        assert!(why.contains("ends 3 h before the present one"), "{why}");
        clock.advance_ms(5 * HOUR_MS - 1);
        assert!(check(&mesh, &long).is_ok(), "the present one has run out");
        let why = refusal(&short);
        assert!(why.contains("ran out 3 h ago"), "{why}");
        let later = bed.earlier_identity(NodeId(1), HOUR);
        clock.advance_ms(0u64.wrapping_sub(4 * HOUR_MS));
        let why = refusal(later.certificate());
        assert!(why.contains("valid only in 3 h"), "{why}");
    }
}
