//! Hostile joiners, and hostile answers to a joiner.

use jarvis_fuzz::fuzz;
use jarvis_types::codec::DECODE_LIMIT_OF_SHORT_BYTES;

use super::*;

fn holds<T: Encode + Decode<()> + PartialEq>(bytes: &[u8]) -> Result<(), String> {
    let message: T = open(bytes).map_err(|error| error.to_string())?;
    let again: T = open(&seal(&message).expect("what was read is written")).expect("and read");
    assert!(again == message);
    Ok(())
}

#[test]
fn fuzz_join_messages() {
    let name: NodeName = "attic".parse().expect("a name");
    let request = JoinRequest {
        cluster: ClusterId(7),
        secret: [9; 32],
        name: name.clone(),
        signing_request: vec![0x30; 200],
        mesh_address: "10.0.0.2:8007".into(),
        http_url: "http://10.0.0.2:8007".into(),
        build: BUILD.into(),
        level: 2,
        clock_ms: 1_800_000_000_000,
    };
    let admission = Admission {
        node: NodeId(2),
        role: NodeRole::Voter,
        certificate: vec![0x30; 300],
        ca_certificate: "-----BEGIN CERTIFICATE-----".into(),
        ca_key: Some("-----BEGIN PRIVATE KEY-----".into()),
        members: vec![(
            NodeId(1),
            "cellar".parse().expect("a name"),
            "10.0.0.1:8007".into(),
        )],
    };
    let refused = JoinRefusal::NameTaken {
        name,
        node: NodeId(3),
        address: "10.0.0.3:8007".into(),
    };
    fuzz!()
        .seed(seal(&request).expect("encodes"))
        .seed(seal(&JoinAnswer::Admitted(Box::new(admission))).expect("encodes"))
        .seed(seal(&JoinAnswer::Refused(refused)).expect("encodes"))
        .seed(seal(&JoinAnswer::Refused(JoinRefusal::TooManyAttempts { wait_s: 17 })).expect("encodes"))
        .memory((DECODE_LIMIT_OF_SHORT_BYTES + 64 * 1024) as u64, 64)
        .run(|bytes| {
            if let Ok(JoinAnswer::Refused(refusal)) = open(bytes) {
                assert!(
                    !refusal.advice("attic").is_empty() && refusal.to_string().len() <= bytes.len() + 500
                );
            }
            (holds::<JoinRequest>(bytes), holds::<JoinAnswer>(bytes))
        });
}
