//! Bounds that more than one crate must agree on: each with its unit and its reason.

/// Largest text of one chat message, in characters, unless the configuration says otherwise.
pub const DEFAULT_MESSAGE_CHARS: usize = 4_096;

/// Largest reply a responder may write, in characters; the rest is cut off and said to be.
pub const MAX_REPLY_CHARS: usize = 65_536;

/// Largest client message id, in bytes: a UUID needs 36, a ULID 26.
pub const MAX_CLIENT_ID_BYTES: usize = 64;

/// Largest WebSocket frame a client may send, in bytes: 4,096 characters of four bytes, JSON-escaped, with room.
pub const MAX_CHAT_FRAME_BYTES: usize = 64 * 1024;

/// Largest command one proposal may carry, in bytes: the log is for decisions, not for files.
pub const MAX_COMMAND_BYTES: usize = 512 * 1024;

/// Largest message between two nodes on a framed lane, in bytes: one append of many commands.
pub const MAX_MESH_FRAME_BYTES: usize = 8 * 1024 * 1024;

/// Most transcript entries one HTTP call returns.
pub const MAX_PAGE_MESSAGES: usize = 500;

/// Longest key of an entity, in bytes.
pub const MAX_ENTITY_KEY_BYTES: usize = 128;

/// Longest name of a node or user, in characters.
pub const MAX_NAME_CHARS: usize = 63;

/// Partitions of the session kind: divides evenly over two to six nodes, and never changes once a cluster exists.
pub const SESSION_PARTITIONS: u16 = 60;

/// Partitions of the beacon kind: a few on every node of a small cluster.
pub const BEACON_PARTITIONS: u16 = 8;

/// Partitions of the bridge kind: the broker keeps one session for the whole cluster.
pub const BRIDGE_PARTITIONS: u16 = 1;

/// Partitions of the automation kind.
pub const AUTOMATION_PARTITIONS: u16 = 36;
