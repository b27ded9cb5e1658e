//! What a witness takes stays small while the two others have much to do.

use anyhow::{Context, Result};
use jarvis_chaos::measure::Tool;
use jarvis_chaos::measure::memory::{self, Memory, Plan};

/// What a witness may have of its own after some thousands of messages: what is resident of its code, which depends on the
/// build, is left out.
const MOST_OWN_MB: f64 = 20.0;

/// By how much it may grow from one half of the load to the other.
const MOST_GROWTH_MB: f64 = 3.0;

#[tokio::test]
async fn a_witness_stays_small_under_load() -> Result<()> {
    let report = tempfile::tempdir()?;
    let tool = Tool::on_loopback(report.path())?;
    let plan = Plan {
        exchanges: 2_000,
        clients: 32,
        looks: 2,
        calm: false,
    };
    let report = Box::pin(memory::run(&tool, &plan)).await?;
    let witness = |look: usize| -> Result<&Memory> {
        let look = report.looks.get(look).context("it was looked")?;
        look.nodes.last().context("the witness comes last")
    };
    let (half, whole) = (witness(1)?, witness(2)?);
    assert_eq!(whole.node, "witness");
    assert!(whole.own_mb < MOST_OWN_MB, "{report:?}");
    assert!(whole.own_mb - half.own_mb < MOST_GROWTH_MB, "{report:?}");
    Ok(())
}
