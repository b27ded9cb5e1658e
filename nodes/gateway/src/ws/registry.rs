//! The sockets of this gateway, so that they can be told something: to drain, to close, to check their credential.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jarvis_types::UserId;
use tokio::sync::Notify;

/// The gateway is going away: tell the client where to go.
pub(crate) const DRAIN: u8 = 1;
/// The user's credentials changed: check this socket's.
pub(crate) const RECHECK: u8 = 2;
/// The grace time is over.
pub(crate) const CLOSE: u8 = 4;

/// Tells one socket's task something.
#[derive(Default)]
pub(crate) struct Control {
    flags: AtomicU8,
    /// 0: nobody yet.
    user: AtomicU64,
    wake: Notify,
}

impl Control {
    /// Waits for news and takes it.
    pub(crate) async fn news(&self) -> u8 {
        loop {
            let flags = self.flags.swap(0, Ordering::AcqRel);
            if flags != 0 {
                return flags;
            }
            self.wake.notified().await;
        }
    }

    /// Notes whose socket it has become.
    pub(crate) fn belongs_to(&self, user: UserId) {
        self.user.store(user.0, Ordering::Release);
    }

    fn tell(&self, flag: u8) {
        self.flags.fetch_or(flag, Ordering::AcqRel);
        self.wake.notify_one();
    }
}

/// All sockets of a gateway.
#[derive(Default)]
pub(crate) struct Registry {
    next: AtomicU64,
    sockets: Mutex<HashMap<u64, Arc<Control>>>,
    /// What a socket is told that enters; changed under the lock of `sockets`, so that none slips between.
    standing: AtomicU8,
    emptied: Notify,
}

impl Registry {
    /// A new socket, gone when the entry is dropped.
    pub(crate) fn enter(self: &Arc<Self>) -> Entry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let control = Arc::new(Control::default());
        let mut sockets = self.lock();
        sockets.insert(id, Arc::clone(&control));
        match self.standing.load(Ordering::Acquire) {
            0 => {}
            standing => control.tell(standing),
        }
        drop(sockets);
        Entry {
            id,
            control,
            registry: Arc::clone(self),
        }
    }

    /// Tells all.
    pub(crate) fn tell_all(&self, flag: u8) {
        self.lock().values().for_each(|control| control.tell(flag));
    }

    /// Tells all, and each that enters from now on.
    pub(crate) fn tell_all_from_now_on(&self, flags: u8) {
        let sockets = self.lock();
        self.standing.fetch_or(flags, Ordering::AcqRel);
        sockets.values().for_each(|control| control.tell(flags));
    }

    /// Whoever enters from now on may stay.
    pub(crate) fn stay(&self) {
        let _sockets = self.lock();
        self.standing.store(0, Ordering::Release);
    }

    /// Whether this gateway is going away: who enters is told so.
    pub(crate) fn is_draining(&self) -> bool {
        self.standing.load(Ordering::Acquire) != 0
    }

    /// Tells a user's.
    pub(crate) fn tell_user(&self, user: UserId, flag: u8) {
        let sockets = self.lock();
        sockets
            .values()
            .filter(|c| c.user.load(Ordering::Acquire) == user.0)
            .for_each(|c| c.tell(flag));
    }

    /// Completes when there is none.
    pub(crate) async fn empty(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.lock().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Control>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One socket's place in the registry.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) control: Arc<Control>,
    registry: Arc<Registry>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut sockets = self.registry.lock();
        sockets.remove(&self.id);
        if sockets.is_empty() {
            // Makes room for the next ten thousand only when they come.
            sockets.shrink_to_fit();
            self.registry.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_that_enters_while_the_gateway_drains_is_told_so() {
        let registry = Arc::new(Registry::default());
        let early = registry.enter();
        registry.tell_all_from_now_on(DRAIN);
        let late = registry.enter();
        assert!(registry.is_draining());
        assert_eq!(early.control.news().await, DRAIN);
        assert_eq!(late.control.news().await, DRAIN);
        registry.stay();
        assert!(!registry.is_draining());
        let stays = registry.enter();
        registry.tell_all(CLOSE);
        assert_eq!(stays.control.news().await, CLOSE);
    }

    #[tokio::test]
    async fn news_reach_whom_they_are_for_and_none_is_lost() {
        let registry = Arc::new(Registry::default());
        let (a, b) = (registry.enter(), registry.enter());
        a.control.belongs_to(UserId(7));
        registry.tell_user(UserId(7), RECHECK);
        registry.tell_all(DRAIN);
        assert_eq!(a.control.news().await, RECHECK | DRAIN);
        assert_eq!(b.control.news().await, DRAIN);
        drop((a, b));
        registry.empty().await;
        assert_eq!(registry.len(), 0);
    }
}
