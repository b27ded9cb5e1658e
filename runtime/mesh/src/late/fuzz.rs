//! Hostile requests of nodes whose certificate has run out: anybody may send one.

use jarvis_fuzz::fuzz;
use rustls_pki_types::pem::PemObject;

use super::*;

const NODE: &str = include_str!("../../tests/identity/node.crt");
const NODE_REQUEST: &[u8] = include_bytes!("../../tests/identity/node.csr");

#[test]
fn fuzz_late_renewals() {
    let cert = CertificateDer::from_pem_slice(NODE.as_bytes()).expect("a certificate");
    assert!(same_key(&cert, NODE_REQUEST));
    fuzz!()
        .seed(request(&cert, NODE_REQUEST))
        .runs(3_000)
        .run(|bytes| {
            let (old, csr) = parse(bytes)?;
            assert_eq!(request(&old, csr), bytes, "nothing is lost between the two");
            let names = CertificateNames::parse(&old).is_ok();
            Some((names, same_key(&old, csr)))
        });
}
