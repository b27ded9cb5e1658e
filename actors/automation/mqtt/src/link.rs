//! One connection to the broker: reaching it, what is said over it, and what each side owes the other.
pub(crate) mod connect;
pub(crate) mod dial;
pub(crate) mod serve;
pub(crate) mod subscriptions;
pub(crate) mod tls;
pub(crate) mod wire;
