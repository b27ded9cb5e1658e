//! A drill on a cluster of real processes, with its verdict and its report.

mod common;

use common::{Up, free_port, jarvis, stderr};
use serde_json::Value;

#[test]
fn a_drill_kills_a_gateway_and_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let up = Up::start(&folder.path().join("up"), free_port(), 3);
    let (dir, reports) = (up.data.to_str().expect("text"), folder.path().join("reports"));
    let refused = jarvis(&["drill", "kill-gateway", "--data", dir]);
    assert_eq!(
        refused.status.code(),
        Some(2),
        "nobody confirmed it: {}",
        stderr(&refused)
    );

    let report = reports.to_str().expect("text");
    let line = [
        "drill",
        "kill-gateway",
        "--rounds",
        "1",
        "--sessions",
        "3",
        "--yes",
        "--json",
    ];
    let output = jarvis(&[&line[..], &["--data", dir, "--report", report]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let verdict: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&verdict["verdict"], &verdict["rounds"][0]["round"]),
        (&"passed".into(), &1.into())
    );
    assert!(
        verdict["gaps_ms"]["p50"].as_f64().is_some_and(|gap| gap > 0.0),
        "{verdict}"
    );
    for law in ["lost", "repeated", "unanswered", "seq_gaps"] {
        assert_eq!(verdict[law], 0, "{law}");
    }
    assert_eq!(verdict["transcripts_equal"], true);

    let mut files: Vec<_> = std::fs::read_dir(&reports)
        .expect("written")
        .map(|entry| entry.expect("listed").path())
        .collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    let html = std::fs::read_to_string(&files[0]).expect("readable");
    assert!(
        html.contains("<svg") && html.contains("passed") && !html.contains("src="),
        "{html}"
    );
    let json: Value = serde_json::from_slice(&std::fs::read(&files[1]).expect("readable")).expect("JSON");
    assert_eq!(json, verdict);
}
