//! The names of this crate's metrics.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Entities that run on this node, by kind.
pub const ACTIVE: &str = "jarvis_entity_active";
/// Restarts after a crash, by kind.
pub const RESTARTS: &str = "jarvis_entity_restarts_total";
/// Entities set aside, by kind.
pub const QUARANTINED: &str = "jarvis_entity_quarantined";
/// Deepest mailbox when last looked at, by kind.
pub const MAILBOX: &str = "jarvis_entity_mailbox_depth_messages";
/// Time from asking an entity to its answer.
pub const ASK_SECONDS: &str = "jarvis_entity_ask_seconds";
/// Partitions this node owns, by kind.
pub const OWNED: &str = "jarvis_entity_owned_partitions";
/// Partitions moved by this node's plans, by reason.
pub const MOVES: &str = "jarvis_placement_moves_total";

/// Times that this node asked for its lease of acting, by what it was told.
pub const RENEWALS: &str = "jarvis_lease_renewals_total";

/// Describes all of them; again does no harm.
pub fn describe() {
    describe_gauge!(ACTIVE, Unit::Count, "entities that run on this node");
    describe_counter!(RESTARTS, Unit::Count, "entities restarted after a crash");
    describe_gauge!(
        QUARANTINED,
        Unit::Count,
        "entities set aside because they kept crashing"
    );
    describe_gauge!(MAILBOX, Unit::Count, "deepest mailbox when last looked at");
    describe_histogram!(
        ASK_SECONDS,
        Unit::Seconds,
        "time from asking an entity to its answer"
    );
    describe_counter!(
        RENEWALS,
        Unit::Count,
        "times this node asked for its lease of acting on the world"
    );
    describe_gauge!(OWNED, Unit::Count, "partitions this node owns");
    describe_counter!(
        MOVES,
        Unit::Count,
        "partitions moved by this node's placement plans"
    );
}
