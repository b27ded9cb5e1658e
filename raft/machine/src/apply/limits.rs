//! Bounds of the replicated state. Each is checked by the machine, whatever the layers above let through, and changing
//! one changes what a log replays to: a new value needs a new cluster level.

use jarvis_types::limits::MAX_REPLY_CHARS;

/// Most members.
pub const MAX_NODES: usize = 64;
/// Most invitations that are neither used nor expired.
pub const MAX_OPEN_INVITES: usize = 64;
/// Most invitations that are kept, so that late guests can be told what became of theirs.
pub const MAX_INVITES: usize = 256;
/// How long an expired or used invitation is kept beyond its expiry, in milliseconds: a day.
pub const INVITE_KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Most partitions of a kind.
pub const MAX_PARTITIONS: u16 = 4_096;
/// Past moves that are kept of each partition.
pub const PLACEMENT_LOG_ROWS: u64 = 8;
/// Most moves that one note of their duration names: all partitions of several kinds.
pub const MAX_NOTED_MOVES: usize = 16_384;
/// Most users.
pub const MAX_USERS: usize = 1_000;
/// Shortest name of a user, in characters.
pub const MIN_USER_NAME_CHARS: usize = 3;
/// Longest password hash, in bytes: argon2id in PHC form takes about 100.
pub const MAX_PASSWORD_HASH_BYTES: usize = 512;
/// Most credentials of a user that have not expired.
pub const MAX_CREDENTIALS: usize = 200;
/// Longest label of a credential, in bytes.
pub const MAX_LABEL_BYTES: usize = 256;
/// Most sessions of a user.
pub const MAX_SESSIONS: u64 = 50_000;
/// Most messages of a session that wait for their reply.
pub const MAX_OPEN_TURNS: usize = 256;
/// Longest text of an entry, in characters; the gateway's limit for messages is lower.
pub const MAX_TEXT_CHARS: usize = MAX_REPLY_CHARS;
/// Longest title of a session, in characters.
pub const MAX_TITLE_CHARS: usize = 80;
/// Longest address, URL or version of a node, in bytes.
pub const MAX_NODE_TEXT_BYTES: usize = 256;
/// Most capabilities of a node.
pub const MAX_CAPABILITIES: usize = 32;
/// Greatest capacity of a node.
pub const MAX_CAPACITY: u32 = 1_000;
/// Longest name of an entity's row, in bytes.
pub const MAX_ROW_NAME_BYTES: usize = 256;
/// Largest value of an entity's row, in bytes.
pub const MAX_ROW_VALUE_BYTES: usize = 128 * 1024;
/// Most rows of an entity.
pub const MAX_ENTITY_ROWS: u32 = 65_536;
/// Most bytes of an entity's rows.
pub const MAX_ENTITY_BYTES: u64 = 64 * 1024 * 1024;
/// Most letters that wait for an entity: whoever sends it another is refused, and tries again.
pub const MAX_WAITING_LETTERS: u64 = 8_192;
/// Largest letter, in bytes.
pub const MAX_LETTER_BYTES: usize = 128 * 1024;
/// Remembered outcomes that one proposal forgets at most: more than one, so that a backlog shrinks.
pub const FORGOTTEN_PER_PROPOSAL: usize = 32;
/// Remembered outcomes that are forgotten with a removed node.
pub const FORGOTTEN_PER_REMOVAL: usize = 4_096;
