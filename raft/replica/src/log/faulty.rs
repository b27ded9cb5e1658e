//! A disk that is slow or full while a fault says so.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jarvis_host::Faults;

use super::disk::{LogDisk, LogHead, LogWrite};

/// A disk with faults, over one without. It blocks as a slow disk does: for a log whose writer has a thread of its own.
pub(crate) struct FaultyLog {
    disk: Arc<dyn LogDisk>,
    faults: Faults,
}

impl FaultyLog {
    pub(crate) fn new(disk: Arc<dyn LogDisk>, faults: Faults) -> Self {
        Self { disk, faults }
    }

    fn check_room(&self) -> io::Result<()> {
        if self.faults.any() && self.faults.disk_is_full() {
            let text = "the disk is full: free some space and start this node again (a drill has it so)";
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        Ok(())
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "it is the log's own thread that waits, as it waits for a disk"
    )]
    fn wait(&self) {
        if self.faults.any() {
            let delay = self.faults.sync_delay();
            if delay > Duration::ZERO {
                std::thread::sleep(delay);
            }
        }
    }
}

impl LogDisk for FaultyLog {
    fn head(&self) -> io::Result<LogHead> {
        self.disk.head()
    }

    fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Vec<u8>)>> {
        self.disk.read(from, to, max_bytes)
    }

    fn write(&self, writes: &[LogWrite], sync: bool) -> io::Result<()> {
        self.check_room()?;
        if sync {
            self.wait();
        }
        self.disk.write(writes, sync)
    }

    fn incarnation(&self) -> io::Result<u64> {
        self.disk.incarnation()
    }

    fn next_incarnation(&self, at_least: u64) -> io::Result<u64> {
        self.check_room()?;
        self.disk.next_incarnation(at_least)
    }

    fn close(&self) {
        self.disk.close();
    }
}

#[cfg(test)]
mod tests {
    use jarvis_host::Fault;
    use tokio::time::Instant;

    use super::super::MemoryLog;
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn vote() -> [LogWrite; 1] {
        [LogWrite::Vote(vec![1])]
    }

    #[test]
    fn a_full_disk_refuses_as_the_system_does_and_takes_writes_again() {
        let faults = Faults::new();
        let log = FaultyLog::new(Arc::new(MemoryLog::new()), faults.clone());
        log.write(&vote(), true).expect("there is room");
        let id = faults.set(Fault::FullDisk, LONG).expect("allowed");
        for error in [
            log.write(&vote(), true).expect_err("it is full"),
            log.next_incarnation(1).expect_err("it is full"),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        assert!(log.head().expect("it can be read").vote.is_some());
        faults.clear(id);
        log.write(&vote(), true).expect("there is room again");
    }

    #[test]
    fn only_syncs_are_slow() {
        let (faults, sync_delay) = (Faults::new(), Duration::from_millis(40));
        let log = FaultyLog::new(Arc::new(MemoryLog::new()), faults.clone());
        faults.set(Fault::SlowDisk { sync_delay }, LONG).expect("allowed");
        let began = Instant::now();
        log.write(&vote(), true).expect("written");
        assert!(began.elapsed() >= sync_delay);
        faults.clear_all();
        faults
            .set(Fault::SlowDisk { sync_delay: LONG / 2 }, LONG)
            .expect("allowed");
        log.write(&vote(), false)
            .expect("written, without waiting for half a minute");
    }
}
