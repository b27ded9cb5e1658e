//! Damaged files of a data folder: who the node is, and what `jarvis up` keeps.

use jarvis_fuzz::fuzz;

use super::*;
use crate::up::UpState;

/// As builds of this format have written it; later fields have defaults.
const FILE: &str = "format = 1\ncluster = \"00000000000000000000000007\"\nnode = 1\nname = \"attic\"\nrole = \"voter\"\n\
                    listen = \"0.0.0.0:8007\"\nadvertise = \"nas.local:8007\"\nca_sha256 = \"00\"\nfounder = true\n\
                    handed_over = false\nhas_log = true\n\n[[peer]]\nnode = 2\nname = \"b\"\naddress = \"10.0.0.2:8007\"\n";

#[test]
fn fuzz_identity_files() {
    let whole = NodeFile::from_text(FILE).expect("it is whole").to_text();
    fuzz!()
        .text()
        .seed(FILE)
        .seed(whole)
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
