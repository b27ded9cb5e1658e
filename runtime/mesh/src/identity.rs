//! Who is who: the cluster's CA, the nodes' certificates, and what a certificate says.
//!
//! A node certificate carries one URI that names its node, `jarvis://<cluster>/node/<id>`, and one that says when it was
//! issued, `jarvis-issued:<Unix ms>`. Nothing else in it is believed: its subject is for people who look at it with other
//! tools.
//!
//! It is valid from the CA's beginning on. Were it valid from its issue on, a node whose clock was ahead at that time would
//! be refused by all others, once its clock is right again, until that time has come.

use std::time::Duration;

use jarvis_host::{Clock, Entropy};
use jarvis_types::{ClusterId, NodeId, NodeName};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::time::ASN1Time;

/// How long a node certificate is good for unless the caller says otherwise.
pub const DEFAULT_NODE_TTL: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the CA is good for: longer than the hardware it is born on.
const CA_TTL: Duration = Duration::from_secs(20 * 365 * 24 * 3600);

/// A CA begins this long before it is made, so that clocks may differ a little.
pub const CLOCK_ALLOWANCE: Duration = Duration::from_secs(5 * 60);

/// Begins the URI that carries the time of issue. A signing request that names it without a time comes from a build that
/// reads it.
const ISSUED_URI: &str = "jarvis-issued:";

/// Most bytes a signing request may have; one with an ECDSA key has about 300.
const MAX_CSR_BYTES: usize = 4 * 1024;

/// Why an identity could not be made, read or used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The library that writes certificates refused.
    #[error("cannot make the certificate")]
    Make(#[source] rcgen::Error),
    /// A certificate, key or signing request does not parse.
    #[error("{what} is not readable: {why}")]
    Malformed {
        /// What was read, such as `ca.crt`.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The certificate names no node of a cluster.
    #[error("the certificate names no node of a Jarvis cluster")]
    NoNodeName,
    /// The certificate does not belong to the key.
    #[error("the certificate does not belong to the key: restore both from the same backup")]
    KeyMismatch(#[source] rustls::Error),
    /// The certificate is of another node or cluster than expected.
    #[error("the certificate is of node {found_node} in cluster {found_cluster}")]
    OtherNode {
        /// The cluster it names.
        found_cluster: ClusterId,
        /// The node it names.
        found_node: NodeId,
    },
}

fn malformed(what: &'static str, why: impl std::fmt::Display) -> IdentityError {
    IdentityError::Malformed {
        what,
        why: why.to_string(),
    }
}

/// SHA-256 of a certificate's DER bytes.
pub fn fingerprint_of(cert: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(cert.as_ref()).into()
}

/// What a node certificate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificateNames {
    /// The cluster it is good for.
    pub cluster: ClusterId,
    /// The node it is good for.
    pub node: NodeId,
    /// When it was issued, by the issuer's clock, in Unix milliseconds.
    pub issued_ms: u64,
    /// From when, in Unix milliseconds.
    pub not_before_ms: u64,
    /// Until when, in Unix milliseconds.
    pub not_after_ms: u64,
}

impl CertificateNames {
    /// Whether it is valid at a time in Unix milliseconds.
    pub fn is_valid_at(&self, now_ms: u64) -> bool {
        (self.not_before_ms..self.not_after_ms).contains(&now_ms)
    }

    /// Reads them. Says nothing about who signed the certificate.
    ///
    /// # Errors
    /// `Malformed` and `NoNodeName`.
    pub fn parse(cert: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let (_, parsed) =
            x509_parser::parse_x509_certificate(cert).map_err(|e| malformed("the node certificate", e))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|e| malformed("the node certificate", e))?
            .ok_or(IdentityError::NoNodeName)?;
        let uris = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let mut found = uris.clone().filter_map(parse_uri);
        let (Some((cluster, node)), None) = (found.next(), found.next()) else {
            return Err(IdentityError::NoNodeName);
        };
        let not_before_ms = unix_ms(parsed.validity().not_before);
        let issued_ms = uris
            .clone()
            .find_map(|uri| uri.strip_prefix(ISSUED_URI)?.parse().ok());
        Ok(Self {
            cluster,
            node,
            issued_ms: issued_ms.unwrap_or(not_before_ms + CLOCK_ALLOWANCE.as_millis() as u64),
            not_before_ms,
            not_after_ms: unix_ms(parsed.validity().not_after),
        })
    }
}

fn unix_ms(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1_000)
}

fn node_uri(cluster: ClusterId, node: NodeId) -> String {
    format!("jarvis://{cluster}/node/{node}")
}

fn parse_uri(uri: &str) -> Option<(ClusterId, NodeId)> {
    let (cluster, node) = uri.strip_prefix("jarvis://")?.split_once("/node/")?;
    // A number that would print differently (`+1`, `01`) is not the id it looks like.
    let id = node.parse::<u64>().ok().filter(|id| id.to_string() == node)?;
    Some((cluster.parse().ok()?, NodeId(id)))
}

fn set_validity(params: &mut CertificateParams, not_before: Duration, not_after: Duration) {
    // Certificates count whole seconds.
    let time =
        |since_epoch: Duration| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since_epoch.as_secs());
    params.not_before = time(not_before);
    params.not_after = time(not_after);
}

fn uri(text: String) -> Result<SanType, IdentityError> {
    Ia5String::try_from(text)
        .map(SanType::URI)
        .map_err(IdentityError::Make)
}

fn serial(entropy: &dyn Entropy) -> SerialNumber {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    // Positive and of full length in DER.
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// A node's key pair (ECDSA P-256).
pub struct NodeKey(KeyPair);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(secret)")
    }
}

impl NodeKey {
    /// A new one.
    ///
    /// # Errors
    /// `Make`.
    pub fn generate() -> Result<Self, IdentityError> {
        KeyPair::generate().map(Self).map_err(IdentityError::Make)
    }

    /// As PEM (PKCS #8).
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// From PEM (PKCS #8).
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_pem(pem: &str) -> Result<Self, IdentityError> {
        KeyPair::from_pem(pem)
            .map(Self)
            .map_err(|e| malformed("the private key", e))
    }

    /// A signing request for this key: it proves possession, the issuer decides the names.
    ///
    /// # Errors
    /// `Make`.
    pub fn signing_request(&self) -> Result<Vec<u8>, IdentityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![uri(ISSUED_URI.to_owned())?];
        let request = params.serialize_request(&self.0).map_err(IdentityError::Make)?;
        Ok(request.der().as_ref().to_vec())
    }

    pub(crate) fn pkcs8(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.0.serialized_der().to_vec())
    }

    fn copy(&self) -> Result<Self, IdentityError> {
        Self::from_pem(&self.to_pem())
    }
}

/// The cluster's CA with its key: whoever holds it decides who is a node.
pub struct ClusterCa {
    cert: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for ClusterCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterCa(secret)")
    }
}

impl ClusterCa {
    /// The CA of a new cluster.
    ///
    /// # Errors
    /// `Make`.
    pub fn create(
        cluster: ClusterId,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
    ) -> Result<Self, IdentityError> {
        let key = KeyPair::generate().map_err(IdentityError::Make)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("Jarvis cluster {cluster}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial(entropy));
        let now = Duration::from_millis(clock.now_ms());
        set_validity(&mut params, now.saturating_sub(CLOCK_ALLOWANCE), now + CA_TTL);
        let cert = params
            .self_signed(&key)
            .map_err(IdentityError::Make)?
            .der()
            .clone();
        Ok(Self {
            cert,
            issuer: Issuer::new(params, key),
        })
    }

    /// From PEM files.
    ///
    /// # Errors
    /// `Malformed`.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, IdentityError> {
        let cert = cert_from_pem("the CA certificate", cert_pem)?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| malformed("the CA's private key", e))?;
        let issuer = Issuer::from_ca_cert_der(&cert, key).map_err(|e| malformed("the CA certificate", e))?;
        Ok(Self { cert, issuer })
    }

    /// The certificate alone.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// The certificate as PEM.
    pub fn cert_pem(&self) -> String {
        cert_to_pem(&self.cert)
    }

    fn not_before(&self) -> Result<Duration, IdentityError> {
        let (_, parsed) = x509_parser::parse_x509_certificate(&self.cert)
            .map_err(|e| malformed("the CA certificate", e))?;
        Ok(Duration::from_millis(unix_ms(parsed.validity().not_before)))
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// SHA-256 of the certificate, which an invitation carries.
    pub fn fingerprint(&self) -> [u8; 32] {
        fingerprint_of(&self.cert)
    }

    /// Certifies the key of `csr` as `node` until `ttl` from the clock's time on. Names inside the request are ignored.
    ///
    /// A build that does not read the time of issue takes the beginning for it, and would renew a certificate that begins
    /// with the CA again and again: its certificates begin when they are issued.
    ///
    /// # Errors
    /// `Malformed` where the request does not parse or does not prove possession of its key; `Make`.
    #[allow(clippy::too_many_arguments, reason = "each is one field of the certificate")]
    pub fn issue(
        &self,
        cluster: ClusterId,
        node: NodeId,
        name: &NodeName,
        csr: &[u8],
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        ttl: Duration,
    ) -> Result<CertificateDer<'static>, IdentityError> {
        if csr.len() > MAX_CSR_BYTES {
            return Err(malformed(
                "the signing request",
                format!("{} bytes are too many", csr.len()),
            ));
        }
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr))
            .map_err(|e| malformed("the signing request", e))?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name.as_str());
        let now = Duration::from_millis(clock.now_ms());
        let mut not_before = now.saturating_sub(CLOCK_ALLOWANCE);
        params.subject_alt_names = vec![uri(node_uri(cluster, node))?];
        if request
            .params
            .subject_alt_names
            .contains(&uri(ISSUED_URI.to_owned())?)
        {
            let issued = format!("{ISSUED_URI}{}", now.as_millis());
            params.subject_alt_names.push(uri(issued)?);
            // The CA may itself have been made while a clock was ahead.
            not_before = not_before.min(self.not_before()?);
        }
        set_validity(&mut params, not_before, now.saturating_add(ttl));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial(entropy));
        let cert = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(IdentityError::Make)?;
        Ok(cert.der().clone())
    }
}

pub(crate) fn cert_from_pem(what: &'static str, pem: &str) -> Result<CertificateDer<'static>, IdentityError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| malformed(what, e))
}

pub(crate) fn cert_to_pem(cert: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let body = base64::engine::general_purpose::STANDARD.encode(cert.as_ref());
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("base 64 is ASCII"));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// All a node shows to its peers: its certificate, its key, and the CA it believes.
pub struct NodeIdentity {
    names: CertificateNames,
    ca: CertificateDer<'static>,
    cert: CertificateDer<'static>,
    key: NodeKey,
}

impl std::fmt::Debug for NodeIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeIdentity")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Clone for NodeIdentity {
    fn clone(&self) -> Self {
        Self {
            names: self.names,
            ca: self.ca.clone(),
            cert: self.cert.clone(),
            key: self.key.copy().expect("a key that was read once reads again"),
        }
    }
}

impl NodeIdentity {
    /// Puts the parts together and checks that they belong together.
    ///
    /// # Errors
    /// `Malformed`, `NoNodeName`, `KeyMismatch`.
    pub fn new(
        ca: CertificateDer<'static>,
        cert: CertificateDer<'static>,
        key: NodeKey,
    ) -> Result<Self, IdentityError> {
        let names = CertificateNames::parse(&cert)?;
        let identity = Self { names, ca, cert, key };
        identity.certified_key()?;
        Ok(identity)
    }

    /// A first node's identity, by its own CA.
    ///
    /// # Errors
    /// As [`ClusterCa::issue`].
    pub fn self_issued(
        ca: &ClusterCa,
        cluster: ClusterId,
        node: NodeId,
        name: &NodeName,
        clock: &dyn Clock,
        entropy: &dyn Entropy,
        ttl: Duration,
    ) -> Result<Self, IdentityError> {
        let key = NodeKey::generate()?;
        let cert = ca.issue(cluster, node, name, &key.signing_request()?, clock, entropy, ttl)?;
        Self::new(ca.certificate().clone(), cert, key)
    }

    /// The same key with a newer certificate.
    ///
    /// # Errors
    /// `OtherNode` where it names another node; else as [`NodeIdentity::new`].
    pub fn with_certificate(&self, cert: CertificateDer<'static>) -> Result<Self, IdentityError> {
        let renewed = Self::new(self.ca.clone(), cert, self.key.copy()?)?;
        let (old, new) = (self.names, renewed.names);
        if (old.cluster, old.node) != (new.cluster, new.node) {
            return Err(IdentityError::OtherNode {
                found_cluster: new.cluster,
                found_node: new.node,
            });
        }
        Ok(renewed)
    }

    /// What the certificate says.
    pub fn names(&self) -> CertificateNames {
        self.names
    }

    /// The CA's certificate.
    pub fn ca(&self) -> &CertificateDer<'static> {
        &self.ca
    }

    /// The node's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.cert
    }

    /// The node's key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Leaf and CA, as a joiner needs them who knows only the CA's hash.
    pub(crate) fn certified_key(&self) -> Result<rustls::sign::CertifiedKey, IdentityError> {
        rustls::sign::CertifiedKey::from_der(
            vec![self.cert.clone(), self.ca.clone()],
            self.key.pkcs8().into(),
            &rustls::crypto::ring::default_provider(),
        )
        .map_err(IdentityError::KeyMismatch)
    }

    /// A secret that stays the same as long as the key does.
    pub(crate) fn derive_secret(&self, purpose: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(self.key.pkcs8().secret_pkcs8_der());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_host::{ManualClock, SeededEntropy};

    const NOW_MS: u64 = 1_800_000_000_000;

    fn ca(cluster: ClusterId) -> (ClusterCa, ManualClock, SeededEntropy) {
        let (clock, entropy) = (ManualClock::new(NOW_MS), SeededEntropy::new(1));
        (
            ClusterCa::create(cluster, &clock, &entropy).unwrap(),
            clock,
            entropy,
        )
    }

    #[test]
    fn a_certificate_says_cluster_node_and_times() {
        let cluster = ClusterId(7);
        let (ca, clock, entropy) = ca(cluster);
        let name: NodeName = "attic".parse().unwrap();
        let ttl = Duration::from_secs(60);
        let identity =
            NodeIdentity::self_issued(&ca, cluster, NodeId(3), &name, &clock, &entropy, ttl).unwrap();
        assert_eq!(
            identity.names(),
            CertificateNames {
                cluster,
                node: NodeId(3),
                issued_ms: NOW_MS,
                not_before_ms: NOW_MS - CLOCK_ALLOWANCE.as_millis() as u64,
                not_after_ms: NOW_MS + 60_000,
            }
        );
        assert!(matches!(
            CertificateNames::parse(ca.certificate()),
            Err(IdentityError::NoNodeName)
        ));
    }

    #[test]
    fn a_certificate_begins_with_the_ca_unless_an_earlier_build_asks_for_it() {
        let day_ms = 24 * 3_600_000;
        let (ca, clock, entropy) = ca(ClusterId(7));
        let allowance_ms = CLOCK_ALLOWANCE.as_millis() as u64;
        let issue = |csr: &[u8]| {
            let (name, ttl) = ("attic".parse().unwrap(), Duration::from_secs(60));
            let cert = ca.issue(ClusterId(7), NodeId(3), &name, csr, &clock, &entropy, ttl);
            let names = CertificateNames::parse(&cert.unwrap()).unwrap();
            (names.issued_ms, names.not_before_ms)
        };
        let request = NodeKey::generate().unwrap().signing_request().unwrap();
        let key = KeyPair::generate().unwrap();
        let earlier = CertificateParams::default().serialize_request(&key).unwrap();
        clock.advance_ms(day_ms);
        let now_ms = NOW_MS + day_ms;
        assert_eq!(issue(&request), (now_ms, NOW_MS - allowance_ms));
        assert_eq!(issue(earlier.der()), (now_ms, now_ms - allowance_ms));
        // The CA was made while the clock was ahead.
        clock.advance_ms(0u64.wrapping_sub(2 * day_ms));
        let now_ms = NOW_MS - day_ms;
        assert_eq!(issue(&request), (now_ms, now_ms - allowance_ms));
    }

    #[test]
    fn a_ca_survives_its_files_and_keeps_its_fingerprint() {
        let cluster = ClusterId(7);
        let (ca, clock, entropy) = ca(cluster);
        let again = ClusterCa::from_pem(&ca.cert_pem(), &ca.key_pem()).unwrap();
        assert_eq!(again.fingerprint(), ca.fingerprint());
        let name: NodeName = "attic".parse().unwrap();
        let ttl = Duration::from_secs(60);
        let identity =
            NodeIdentity::self_issued(&again, cluster, NodeId(1), &name, &clock, &entropy, ttl).unwrap();
        assert_eq!(identity.ca(), ca.certificate());
    }

    #[test]
    fn only_exact_uris_name_a_node() {
        let cluster = ClusterId(7);
        assert_eq!(
            parse_uri(&node_uri(cluster, NodeId(12))),
            Some((cluster, NodeId(12)))
        );
        for bad in ["", "jarvis://", "https://x/node/1", "jarvis://x/node/1"] {
            assert_eq!(parse_uri(bad), None, "{bad}");
        }
        for node in ["+1", "01", "", "1/2", "-1"] {
            assert_eq!(
                parse_uri(&format!("jarvis://{cluster}/node/{node}")),
                None,
                "{node}"
            );
        }
    }

    #[test]
    fn hostile_signing_requests_are_refused() {
        let cluster = ClusterId(7);
        let (ca, clock, entropy) = ca(cluster);
        let name: NodeName = "attic".parse().unwrap();
        let issue = |csr: &[u8]| {
            ca.issue(
                cluster,
                NodeId(1),
                &name,
                csr,
                &clock,
                &entropy,
                Duration::from_secs(60),
            )
        };
        let good = NodeKey::generate().unwrap().signing_request().unwrap();
        assert!(issue(&good).is_ok());
        assert!(issue(&[]).is_err());
        assert!(issue(&vec![0x30; 100_000]).is_err());
        for cut in 0..good.len() {
            assert!(issue(&good[..cut]).is_err());
        }
        let mut forged = good.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert!(issue(&forged).is_err(), "the proof of possession is checked");
    }

    #[test]
    fn a_certificate_for_another_key_is_refused() {
        let cluster = ClusterId(7);
        let (ca, clock, entropy) = ca(cluster);
        let name: NodeName = "attic".parse().unwrap();
        let ttl = Duration::from_secs(60);
        let issue =
            |node| NodeIdentity::self_issued(&ca, cluster, node, &name, &clock, &entropy, ttl).unwrap();
        let (one, two) = (issue(NodeId(1)), issue(NodeId(2)));
        let stolen = two.certificate().clone();
        assert!(matches!(
            one.with_certificate(stolen),
            Err(IdentityError::KeyMismatch(_))
        ));
    }
}
