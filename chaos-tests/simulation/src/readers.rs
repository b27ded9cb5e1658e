//! Reads what was said, linearizably, on every node, for as long as it runs.

use std::sync::Arc;
use std::time::Duration;

use jarvis_machine::rows::MessageBody;
use jarvis_replica::Replica;
use jarvis_types::{Seq, SessionId};

use crate::rng::Rng;
use crate::world::World;

/// How long a read is tried.
const READ_DEADLINE: Duration = Duration::from_secs(1);
/// Entries read at most: more than any run says.
const MAX_ENTRIES: usize = 10_000;

/// Reads now and then.
pub async fn read_on(world: Arc<World>, replica: Replica, machine: usize) {
    let rng = Rng::new(world.seed ^ (replica.node().0 << 8), &format!("reader {machine}"));
    loop {
        tokio::time::sleep(Duration::from_millis(rng.range(100, 900))).await;
        let number = rng.range(0, world.size.sessions as u64) as usize;
        let Some(session) = world.session(number) else {
            continue;
        };
        let Ok(session) = session.parse::<SessionId>() else {
            continue;
        };
        let read = world.oracle.read_begins(number, machine);
        let Ok(view) = replica.linearizable(READ_DEADLINE).await else {
            continue;
        };
        let messages = match view.query().messages(session, Seq(0), MAX_ENTRIES) {
            Ok(messages) => messages,
            Err(error) => {
                world.oracle.report("rows can be read", error.to_string());
                continue;
            }
        };
        let ids: Vec<String> = messages
            .into_iter()
            .filter_map(|(_, row)| match row.body {
                MessageBody::Said { id, .. } => Some(id.to_string()),
                MessageBody::Reply { .. } | MessageBody::Told { .. } => None,
            })
            .collect();
        world.oracle.read_ends(number, read, &ids);
    }
}
