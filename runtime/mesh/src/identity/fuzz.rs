//! Hostile certificates, keys and signing requests, as files and as bytes of a peer. The identity they start from is made
//! for these tests alone.

use jarvis_fuzz::fuzz;
use jarvis_host::{ManualClock, SeededEntropy};

use super::*;

const CA: &str = include_str!("../../tests/identity/ca.crt");
const CA_KEY: &str = include_str!("../../tests/identity/ca.key");
const NODE: &str = include_str!("../../tests/identity/node.crt");
const NODE_KEY: &str = include_str!("../../tests/identity/node.key");
const NODE_REQUEST: &[u8] = include_bytes!("../../tests/identity/node.csr");

fn names() -> CertificateNames {
    let cert = cert_from_pem("node.crt", NODE).expect("a certificate");
    CertificateNames::parse(&cert).expect("names a node")
}

#[test]
fn fuzz_pem_files() {
    fuzz!()
        .text()
        .seeds([CA, CA_KEY, NODE, NODE_KEY])
        .seed([NODE, CA, NODE_KEY].concat())
        .words([
            "-----BEGIN CERTIFICATE-----\n",
            "-----END PRIVATE KEY-----",
            "-----",
            "=",
            "MII",
        ])
        .runs(3_000)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let cert = cert_from_pem("a file", text);
            if let Ok(cert) = &cert {
                let again = cert_from_pem("a file", &cert_to_pem(cert)).expect("what is written is read");
                assert_eq!(&again, cert);
                let _names = CertificateNames::parse(cert);
            }
            let key = NodeKey::from_pem(text);
            if let Ok(key) = &key {
                assert!(
                    NodeKey::from_pem(&key.to_pem()).is_ok(),
                    "what is written is read"
                );
            }
            let whole = ClusterCa::from_pem(text, CA_KEY).is_ok();
            let keyed = ClusterCa::from_pem(CA, text).is_ok();
            (cert.is_ok(), key.is_ok(), whole, keyed)
        });
}

#[test]
fn fuzz_certificates() {
    let known = names();
    let cert = cert_from_pem("node.crt", NODE).expect("a certificate");
    let ca = cert_from_pem("ca.crt", CA).expect("a certificate");
    let uri = node_uri(known.cluster, known.node);
    fuzz!()
        .seeds([cert.as_ref(), ca.as_ref()])
        .words([
            uri.as_bytes(),
            b"jarvis://",
            b"/node/",
            b"18446744073709551616",
            b"+1",
        ])
        .runs(3_000)
        .run(|bytes| {
            let names = CertificateNames::parse(&CertificateDer::from(bytes)).map_err(|e| e.to_string())?;
            let uri = node_uri(names.cluster, names.node);
            assert_eq!(parse_uri(&uri), Some((names.cluster, names.node)));
            // Of a certificate whose names were changed nothing is believed that its issuer did not sign.
            let signed =
                crate::tls::was_signed_by(&ca, &CertificateDer::from(bytes), names.not_after_ms).is_ok();
            assert!(!signed || names == known, "{names:?}");
            Ok::<_, String>(signed)
        });
}

#[test]
fn fuzz_node_uris() {
    fuzz!()
        .text()
        .seeds([
            node_uri(ClusterId(7), NodeId(3)),
            node_uri(ClusterId(u128::MAX), NodeId(u64::MAX)),
        ])
        .words(["jarvis://", "/node/", "+", "0", "18446744073709551616"])
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            let (cluster, node) = parse_uri(text)?;
            assert!(
                text.ends_with(&format!("/node/{node}")),
                "a number is written in one way"
            );
            assert_eq!(parse_uri(&node_uri(cluster, node)), Some((cluster, node)));
            Some(())
        });
}

#[test]
fn fuzz_signing_requests() {
    let ca = ClusterCa::from_pem(CA, CA_KEY).expect("a CA");
    let name: NodeName = "attic".parse().expect("a name");
    let (clock, entropy) = (ManualClock::new(1_800_000_000_000), SeededEntropy::new(1));
    fuzz!().seed(NODE_REQUEST).runs(500).run(|bytes| {
        let cluster = ClusterId(9);
        let issued = ca.issue(
            cluster,
            NodeId(4),
            &name,
            bytes,
            &clock,
            &entropy,
            Duration::from_secs(60),
        );
        let cert = issued.map_err(|e| e.to_string())?;
        let names = CertificateNames::parse(&cert).expect("what is issued names its node");
        assert_eq!(
            (names.cluster, names.node),
            (cluster, NodeId(4)),
            "whatever the request asks for"
        );
        crate::tls::was_signed_by(ca.certificate(), &cert, names.not_after_ms).expect("its own");
        Ok::<_, String>(())
    });
}

#[test]
fn the_identity_of_these_tests_is_sound() {
    let identity = NodeIdentity::new(
        cert_from_pem("ca.crt", CA).expect("a certificate"),
        cert_from_pem("node.crt", NODE).expect("a certificate"),
        NodeKey::from_pem(NODE_KEY).expect("a key"),
    );
    assert_eq!(identity.expect("they belong together").names(), names());
}
