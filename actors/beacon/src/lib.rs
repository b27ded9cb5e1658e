//! Beacons: the kind of entity that proves single ownership to a witness outside the cluster.
//!
//! ```text
//!  whoever drills ── act ──► Router ─► beacon's owner ── datagrams, while it may act ──► Recorder ─► judge
//! ```
//!
//! A beacon does nothing but flash: it sends datagrams to a recorder while its node may act on the world. Nothing in the
//! machine could refuse one, so what keeps two owners from flashing at once is the lease alone, as with a lamp. The
//! recorder sees every flash in the order in which they were sent and says whether two owners' flashes were mixed.
//!
//! - [`api`]: telling a beacon to flash.
//! - [`kind`]: the kind and its entity.
//! - [`recorder`]: takes flashes and judges them.
pub mod api;
pub mod kind;
pub mod recorder;

pub use api::{Acted, Beacons, Order, TellError};
pub use kind::{BeaconKind, Lamp, UdpLamp};
pub use recorder::{Flash, Mixed, Recorder, judge};
