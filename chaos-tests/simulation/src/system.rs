//! The system's entropy and clocks, replaced for the thread that runs a simulation.
//!
//! Hash maps, tokio's `select!`, `rand`, quinn and openraft ask `getrandom`; ring asks by `syscall`; the standard library's
//! clocks ask `clock_gettime`. All of them are answered from here on a thread that has called [`install`], and by the
//! system on all others. State is the thread's own: nothing of one run can reach another.
#![allow(unsafe_code, reason = "functions of the C library cannot be replaced without")]

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a monotonic clock shows when a simulation begins: later than any duration that is ever taken from it.
const MONOTONIC_START: Duration = Duration::from_secs(1_000_000);

thread_local! {
    static INSTALLED: Cell<bool> = const { Cell::new(false) };
    static ENTROPY: Cell<u64> = const { Cell::new(0) };
    static EPOCH_NS: Cell<u64> = const { Cell::new(0) };
    static ELAPSED_NS: Cell<u64> = const { Cell::new(0) };
}

/// From here on this thread's randomness comes from `seed`, and its clocks stand at `epoch` until [`set_elapsed`].
pub fn install(seed: u64, epoch: Duration) {
    ENTROPY.set(seed);
    EPOCH_NS.set(nanos(epoch));
    ELAPSED_NS.set(0);
    INSTALLED.set(true);
}

/// What this thread's clocks show: so much time since the simulation began.
pub fn set_elapsed(elapsed: Duration) {
    ELAPSED_NS.set(nanos(elapsed));
}

/// Gives this thread its own system back: for what happens after a run.
pub fn uninstall() {
    INSTALLED.set(false);
}

/// The time for which one thread has had a core, whoever asks.
#[derive(Debug, Clone, Copy)]
pub struct ThreadTime(libc::clockid_t);

impl ThreadTime {
    /// Of the thread that calls. Good for as long as it runs.
    pub fn here() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: the calling thread exists, and `clock` may be written to.
        let failed = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        (failed == 0).then_some(Self(clock))
    }

    /// How much it has had. To be asked from a thread with its own system; nothing once the thread has ended.
    pub fn spent(self) -> Option<Duration> {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` may be written to; a clock that is gone is an error.
        let failed = unsafe { clock_gettime(self.0, &mut time) };
        (failed == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn is_installed() -> bool {
    // A thread that is ending has no state any more, and asks the system.
    INSTALLED.try_with(Cell::get).unwrap_or(false)
}

/// SplitMix64 (Steele et al. 2014).
fn next_u64() -> u64 {
    let state = ENTROPY.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    ENTROPY.set(state);
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fill(buffer: &mut [u8]) {
    for chunk in buffer.chunks_mut(8) {
        chunk.copy_from_slice(&next_u64().to_le_bytes()[..chunk.len()]);
    }
}

/// The C library's own function of that name, looked up once.
fn original(name: &std::ffi::CStr, cache: &AtomicUsize) -> usize {
    let known = cache.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: `name` is a C string, and RTLD_NEXT is a handle that dlsym knows.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
    cache.store(found, Ordering::Relaxed);
    found
}

/// Replaces the C library's.
///
/// # Safety
/// As the original: `buffer` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, len: usize, flags: c_uint) -> isize {
    if is_installed() {
        // SAFETY: the caller promises `len` bytes of room.
        fill(unsafe { std::slice::from_raw_parts_mut(buffer.cast(), len) });
        return isize::try_from(len).unwrap_or(isize::MAX);
    }
    // SAFETY: the arguments are those of the system call.
    let read = unsafe {
        syscall(
            libc::SYS_getrandom,
            buffer as c_long,
            len as c_long,
            c_long::from(flags),
            0,
            0,
            0,
        )
    };
    read as isize
}

/// Replaces the C library's.
///
/// # Safety
/// As the original: `buffer` has room for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getentropy(buffer: *mut c_void, len: usize) -> c_int {
    // SAFETY: the caller promises `len` bytes of room.
    if unsafe { getrandom(buffer, len, 0) } == len as isize {
        0
    } else {
        -1
    }
}

/// Replaces the C library's, which takes up to six arguments behind the number: callers that give fewer leave the rest
/// undefined, and so does the kernel ignore them.
///
/// # Safety
/// As the original, for each system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
    if number == libc::SYS_getrandom && is_installed() {
        // SAFETY: the second and third argument of getrandom are a buffer and its length.
        return unsafe { getrandom(a as *mut c_void, b as usize, 0) } as c_long;
    }
    let original = original(c"syscall", &ORIGINAL);
    // SAFETY: `original` is the C library's `syscall`, whose first seven arguments are passed like these.
    let call: unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long =
        unsafe { std::mem::transmute(original) };
    // SAFETY: the caller's promise.
    unsafe { call(number, a, b, c, d, e, f) }
}

/// Replaces the C library's.
///
/// # Safety
/// As the original: `time` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    static ORIGINAL: AtomicUsize = AtomicUsize::new(0);
    if is_installed() {
        let base_ns = if clock == libc::CLOCK_REALTIME {
            EPOCH_NS.get()
        } else {
            nanos(MONOTONIC_START)
        };
        let now_ns = base_ns + ELAPSED_NS.get();
        let shown = libc::timespec {
            tv_sec: (now_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (now_ns % 1_000_000_000) as c_long,
        };
        // SAFETY: the caller promises that `time` may be written to.
        unsafe { time.write(shown) };
        return 0;
    }
    let original = original(c"clock_gettime", &ORIGINAL);
    // SAFETY: `original` is the C library's `clock_gettime`.
    let call: unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int =
        unsafe { std::mem::transmute(original) };
    // SAFETY: the caller's promise.
    unsafe { call(clock, time) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn everything() -> (Vec<u8>, Vec<u32>, u64) {
        let mut ring = [0u8; 16];
        jarvis_host::Entropy::fill(&jarvis_host::SystemEntropy::default(), &mut ring);
        let order = (0..40u32)
            .map(|n| (n, n))
            .collect::<HashMap<_, _>>()
            .into_keys()
            .collect();
        let mut buffer = [0u8; 8];
        // SAFETY: the buffer has eight bytes.
        unsafe { getrandom(buffer.as_mut_ptr().cast(), 8, 0) };
        (ring.to_vec(), order, u64::from_le_bytes(buffer))
    }

    fn seeded(seed: u64) -> (Vec<u8>, Vec<u32>, u64) {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                install(seed, Duration::from_secs(1));
                everything()
            });
            run.join().expect("it does not panic")
        })
    }

    #[test]
    fn a_thread_that_installed_it_has_a_world_of_its_own() {
        assert_eq!(
            seeded(1),
            seeded(1),
            "ring, hash maps and getrandom follow the seed"
        );
        assert_ne!(seeded(1), seeded(2));
        assert_ne!(everything().2, everything().2, "other threads have the system's");
    }

    #[test]
    fn a_threads_time_grows_with_its_work_whatever_its_clocks_show() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let enough = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                install(1, Duration::from_secs(1));
                sender.send(ThreadTime::here()).expect("somebody waits");
                while !enough.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
            let time = receiver.recv().expect("it is sent").expect("it has a clock");
            while time.spent().expect("it runs") < Duration::from_millis(20) {
                std::thread::yield_now();
            }
            enough.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "the clocks themselves are what is tested"
    )]
    fn clocks_stand_until_they_are_moved() {
        let at = std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                install(1, Duration::from_secs(1_800_000_000));
                let before = std::time::Instant::now();
                set_elapsed(Duration::from_millis(1_500));
                let wall = std::time::SystemTime::now();
                (before.elapsed(), wall.duration_since(std::time::UNIX_EPOCH))
            });
            run.join().expect("it does not panic")
        });
        assert_eq!(at.0, Duration::from_millis(1_500));
        assert_eq!(
            at.1.expect("after 1970"),
            Duration::from_millis(1_800_000_001_500)
        );
    }
}
