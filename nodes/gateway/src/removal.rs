//! What is said of a node that is out of the cluster for good, wherever somebody may look: log, status, health, command line.

/// What has happened.
pub(crate) const REMOVED: &str =
    "this node was removed from the cluster: the members refuse it, and it will never serve again";

/// What to do about it.
pub const REJOIN_ADVICE: &str = "to use this machine again: stop the node, move its data folder aside (keep it until nothing \
                                 is missed), run `jarvis invite` on a member, and `jarvis join TOKEN` here";
