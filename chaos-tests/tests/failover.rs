//! Sessions go on with their next owner when owner and leader are killed: the laws, not the times.

use std::time::Duration;

use anyhow::{Context, Result};
use jarvis_chaos::measure::Tool;
use jarvis_chaos::measure::failover::{self, Plan, Victim};

#[tokio::test]
async fn every_session_goes_on_with_its_next_owner() -> Result<()> {
    let report = tempfile::tempdir()?;
    let tool = Tool::on_loopback(report.path())?;
    let plan = Plan {
        sessions: 60,
        probes: 8,
        rounds: 1,
        victims: vec![Victim::Owner, Victim::Leader],
        watch: Duration::from_secs(1),
    };
    let kinds = Box::pin(failover::run(&tool, "failover", &plan)).await?;
    for kind in &kinds {
        assert_eq!(kind.to_reply.count, 8, "{kind:?}");
        assert!(
            kind.to_reply.min_ms > 0.0,
            "an answer came before the fault: {kind:?}"
        );
    }
    let text = std::fs::read(report.path().join("failover.json")).context("a report is kept")?;
    let text: serde_json::Value = serde_json::from_slice(&text)?;
    assert_eq!(text["kinds"].as_array().map(Vec::len), Some(2));
    assert!(
        text["load"]["reply"]["count"].as_u64() > Some(0),
        "the load was no load"
    );
    Ok(())
}
