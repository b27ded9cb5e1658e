//! TLS on the mesh: 1.3 only, ring only, both sides verified against the cluster's CA and nothing else, nothing resumed.
//!
//! A resumed session would outlive the certificate it was begun with, so servers send no tickets and clients keep none.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use jarvis_host::Clock;
use jarvis_types::ClusterId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::identity::{CertificateNames, IdentityError, NodeIdentity, fingerprint_of};

/// What peers speak.
pub(crate) const ALPN_MESH: &[u8] = b"jarvis-mesh/1";

/// What someone speaks who wants to become a peer.
pub(crate) const ALPN_JOIN: &[u8] = b"jarvis-join/1";

/// What a member speaks whose certificate is not valid now.
pub(crate) const ALPN_RENEW: &[u8] = b"jarvis-renew/1";

/// The name dialled; certificates are not checked against it, since the node id in them is what counts.
pub(crate) const SERVER_NAME: &str = "node.jarvis.internal";

/// The handed-in clock, as rustls and quinn ask for it.
pub(crate) struct WallTime(pub(crate) Arc<dyn Clock>);

impl std::fmt::Debug for WallTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WallTime")
    }
}

impl rustls::time_provider::TimeProvider for WallTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.now_ms())))
    }
}

impl quinn::TimeSource for WallTime {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.0.now_ms())
    }
}

/// The identity in use, replaced at renewal.
pub(crate) struct IdentityCell(ArcSwap<(NodeIdentity, Arc<CertifiedKey>)>);

impl IdentityCell {
    pub(crate) fn new(identity: NodeIdentity) -> Result<Self, IdentityError> {
        let key = Arc::new(identity.certified_key()?);
        Ok(Self(ArcSwap::from_pointee((identity, key))))
    }

    pub(crate) fn set(&self, identity: NodeIdentity) -> Result<(), IdentityError> {
        let key = Arc::new(identity.certified_key()?);
        self.0.store(Arc::new((identity, key)));
        Ok(())
    }

    pub(crate) fn identity(&self) -> NodeIdentity {
        self.0.load().0.clone()
    }

    pub(crate) fn names(&self) -> CertificateNames {
        self.0.load().0.names()
    }

    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.load().1)
    }
}

impl std::fmt::Debug for IdentityCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdentityCell")
    }
}

impl rustls::server::ResolvesServerCert for IdentityCell {
    fn resolve(&self, _: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}

impl rustls::client::ResolvesClientCert for IdentityCell {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Why TLS could not be set up: a fault of this build or of the CA certificate, never of a peer.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The CA certificate cannot be a root.
    #[error("the cluster's CA certificate cannot be used as a root")]
    Root(#[source] rustls::Error),
    /// The verifier of peers could not be built.
    #[error("cannot set up the check of peers' certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
    /// TLS 1.3 with QUIC's cipher suites is not there.
    #[error("cannot set up TLS 1.3: {0}")]
    Protocol(String),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn root(ca: &CertificateDer<'static>) -> Result<Arc<RootCertStore>, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).map_err(TlsSetupError::Root)?;
    Ok(Arc::new(roots))
}

/// What answers peers and joiners on one endpoint. A joiner has no certificate yet, so TLS lets anyone through who has
/// none or a good one; what a peer must have is enforced by its ALPN right after the handshake.
pub(crate) fn server(
    identity: &Arc<IdentityCell>,
    ca: &CertificateDer<'static>,
    clock: &Arc<dyn Clock>,
) -> Result<quinn::crypto::rustls::QuicServerConfig, TlsSetupError> {
    let clients: Arc<dyn ClientCertVerifier> =
        WebPkiClientVerifier::builder_with_provider(root(ca)?, provider())
            .allow_unauthenticated()
            .build()
            .map_err(TlsSetupError::Verifier)?;
    let mut config =
        rustls::ServerConfig::builder_with_details(provider(), Arc::new(WallTime(Arc::clone(clock))))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| TlsSetupError::Protocol(e.to_string()))?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::clone(identity) as Arc<dyn rustls::server::ResolvesServerCert>);
    config.alpn_protocols = vec![ALPN_MESH.to_vec(), ALPN_JOIN.to_vec(), ALPN_RENEW.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.max_early_data_size = 0;
    quinn::crypto::rustls::QuicServerConfig::try_from(config)
        .map_err(|e| TlsSetupError::Protocol(e.to_string()))
}

/// What dials peers.
pub(crate) fn mesh_client(
    identity: &Arc<IdentityCell>,
    ca: &CertificateDer<'static>,
    clock: &Arc<dyn Clock>,
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsSetupError> {
    let verifier = Arc::new(NodeVerifier {
        roots: root(ca)?,
        provider: provider(),
    });
    let config = client_builder(clock)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::clone(identity) as Arc<dyn rustls::client::ResolvesClientCert>);
    finish_client(config, ALPN_MESH)
}

/// What dials a cluster without showing a certificate, knowing the hash of its CA certificate.
pub(crate) fn join_client(
    verifier: Arc<JoinVerifier>,
    clock: &Arc<dyn Clock>,
    alpn: &[u8],
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsSetupError> {
    let config = client_builder(clock)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    finish_client(config, alpn)
}

fn client_builder(
    clock: &Arc<dyn Clock>,
) -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, TlsSetupError> {
    rustls::ClientConfig::builder_with_details(provider(), Arc::new(WallTime(Arc::clone(clock))))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| TlsSetupError::Protocol(e.to_string()))
}

fn finish_client(
    mut config: rustls::ClientConfig,
    alpn: &[u8],
) -> Result<quinn::crypto::rustls::QuicClientConfig, TlsSetupError> {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    quinn::crypto::rustls::QuicClientConfig::try_from(config)
        .map_err(|e| TlsSetupError::Protocol(e.to_string()))
}

/// Believes a server whose certificate is signed by the CA and names a node.
#[derive(Debug)]
struct NodeVerifier {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

fn verify_chain(
    provider: &CryptoProvider,
    roots: &RootCertStore,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), rustls::Error> {
    let parsed = rustls::server::ParsedCertificate::try_from(leaf)?;
    verify_server_cert_signed_by_trust_anchor(
        &parsed,
        roots,
        intermediates,
        now,
        provider.signature_verification_algorithms.all,
    )
}

/// Whether `ca` signed `leaf` and it is good right before its end, whether that has passed or is to come.
pub(crate) fn was_signed_by(
    ca: &CertificateDer<'static>,
    leaf: &CertificateDer<'_>,
    not_after_ms: u64,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone())?;
    let then = UnixTime::since_unix_epoch(Duration::from_millis(not_after_ms.saturating_sub(1_000)));
    verify_chain(&provider(), &roots, leaf, &[], then)
}

fn refuse_tls12() -> rustls::Error {
    rustls::PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig.into()
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify_chain(&self.provider, &self.roots, leaf, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// What a joiner found wrong with the certificates shown to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JoinDoubt {
    /// None of them is the CA of the invitation, or the node's is not signed by it, or names another cluster.
    OtherCluster,
    /// By this machine's clock the node's certificate begins this much later.
    ClockBehind(Duration),
    /// By this machine's clock the node's certificate ended this long ago.
    ClockAhead(Duration),
}

/// Believes a server whose certificate is signed by the CA with a given hash.
#[derive(Debug)]
pub(crate) struct JoinVerifier {
    fingerprint: [u8; 32],
    cluster: ClusterId,
    provider: Arc<CryptoProvider>,
    /// Kept here because a QUIC connection error carries only text.
    doubt: Mutex<Option<JoinDoubt>>,
}

impl JoinVerifier {
    pub(crate) fn new(fingerprint: [u8; 32], cluster: ClusterId) -> Self {
        Self {
            fingerprint,
            cluster,
            provider: provider(),
            doubt: Mutex::new(None),
        }
    }

    pub(crate) fn doubt(&self) -> Option<JoinDoubt> {
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn check(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), (rustls::Error, JoinDoubt)> {
        let unknown = || (CertificateError::UnknownIssuer.into(), JoinDoubt::OtherCluster);
        let ca = intermediates
            .iter()
            .find(|c| fingerprint_of(c) == self.fingerprint)
            .ok_or_else(unknown)?;
        let mut roots = RootCertStore::empty();
        roots
            .add(ca.clone().into_owned())
            .map_err(|e| (e, JoinDoubt::OtherCluster))?;
        let names = CertificateNames::parse(leaf).map_err(|_| unknown())?;
        if names.cluster != self.cluster {
            return Err(unknown());
        }
        verify_chain(&self.provider, &roots, leaf, &[], now).map_err(|error| {
            let now_ms = now.as_secs().saturating_mul(1_000);
            let doubt = match &error {
                rustls::Error::InvalidCertificate(
                    CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
                ) => {
                    JoinDoubt::ClockBehind(Duration::from_millis(names.not_before_ms.saturating_sub(now_ms)))
                }
                rustls::Error::InvalidCertificate(
                    CertificateError::Expired | CertificateError::ExpiredContext { .. },
                ) => JoinDoubt::ClockAhead(Duration::from_millis(now_ms.saturating_sub(names.not_after_ms))),
                _ => JoinDoubt::OtherCluster,
            };
            (error, doubt)
        })
    }
}

impl ServerCertVerifier for JoinVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.check(leaf, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err((error, doubt)) => {
                *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = Some(doubt);
                Err(error)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(refuse_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
