//! The clock of everything that people see: the cluster's, once the replica runs; this machine's own until then.

use std::sync::{Arc, OnceLock};

use jarvis_host::Clock;

/// A clock that what is made before the replica can hold.
pub(super) struct AgreedClock {
    own: Arc<dyn Clock>,
    agreed: OnceLock<Arc<dyn Clock>>,
}

impl AgreedClock {
    /// This machine's own, for the time being.
    pub(super) fn new(own: Arc<dyn Clock>) -> Arc<Self> {
        let agreed = OnceLock::new();
        Arc::new(Self { own, agreed })
    }

    /// The cluster's, from here on.
    pub(super) fn agree(&self, agreed: Arc<dyn Clock>) {
        // Once, when the replica has started.
        let _ = self.agreed.set(agreed);
    }
}

impl Clock for AgreedClock {
    fn now_ms(&self) -> u64 {
        self.agreed.get().unwrap_or(&self.own).now_ms()
    }
}
