//! What a bare client of the chat socket reads and decides, without any of the product's own code: the same for clusters of
//! real processes and for simulated ones.
//!
//! ```text
//!  socket ──frame──► News ──► Exchange ──► say it (again), listen, leave the socket
//! ```
//!
//! - [`entry`]: an entry of a transcript. [`news`]: what a frame says. [`exchange`]: one message until its reply.
//! - [`rules`]: automations that both kinds of clusters load.
pub mod entry;
pub mod exchange;
pub mod news;
pub mod rules;

pub use entry::{Entry, entry_of};
pub use exchange::{Came, Exchange, Step};
pub use news::{News, Refusal};
