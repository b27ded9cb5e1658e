//! Damaged files of a data folder: who the node is, and what `jarvis up` keeps.

use jarvis_fuzz::fuzz;

use super::*;
use crate::up::UpState;

fn file() -> NodeFile {
    NodeFile {
        format: FORMAT_VERSION,
        cluster: ClusterId(7),
        node: NodeId(1),
        name: "attic".parse().expect("a name"),
        role: "voter".into(),
        listen: Some(([0, 0, 0, 0], 8007).into()),
        advertise: Some("nas.local:8007".into()),
        ca_sha256: "00".repeat(32),
        founder: true,
        handed_over: false,
        has_log: true,
        recovering: None,
        peers: vec![KnownPeer {
            node: NodeId(2),
            name: "b".parse().expect("a name"),
            address: "10.0.0.2:8007".into(),
        }],
    }
}

#[test]
fn fuzz_identity_files() {
    fuzz!()
        .text()
        .seed(file().to_text())
        .words([
            "format = ",
            "[[peer]]\n",
            "node = ",
            "18446744073709551615",
            "-1",
            "\"\"\"",
            "= true\n",
            "{}",
            "[]",
        ])
        .memory(1024 * 1024, 1_024)
        .runs(2_000)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            match NodeFile::from_text(text) {
                Ok(file) => {
                    assert!(file.format <= FORMAT_VERSION);
                    assert_eq!(NodeFile::from_text(&file.to_text()), Ok(file));
                    "read"
                }
                Err(ReadError::Newer(version)) => {
                    assert!(version > FORMAT_VERSION);
                    "newer"
                }
                Err(ReadError::Malformed(_)) => "malformed",
            }
        });
}

#[test]
fn fuzz_states_of_up() {
    fuzz!()
        .text()
        .seed(
            r#"{"ready":true,"url":"http://127.0.0.1:8007","token":"jat_1","nodes":[{"name":"a","id":1,"pid":42,
            "url":"http://127.0.0.1:8007","data":"/tmp/a"},{"name":"b","id":2,"pid":null,"url":"","data":""}]}"#,
        )
        .run(|bytes| {
            let state: UpState = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
            let again = serde_json::to_string(&state).expect("what was read is written");
            assert_eq!(serde_json::from_str::<UpState>(&again).ok(), Some(state));
            Ok::<_, String>(())
        });
}
