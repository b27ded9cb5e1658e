//! Seeds that must be clean, seeds that must not differ from themselves, and seeds that must find a fault that was put back.
//! Each runs in a process of its own.

use std::process::Command;

use jarvis_simulation::bites::ALL;

/// What `jarvis-sim` printed, and whether the seed was clean.
fn simulate(seed: u64, more: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_jarvis-sim"))
        .args(["--seed", &seed.to_string()])
        .args(more)
        .output()
        .expect("the simulation starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("seed "),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (output.status.success(), text)
}

fn clean(seed: u64) -> String {
    let (ok, text) = simulate(seed, &[]);
    assert!(ok, "{text}");
    text
}

#[test]
fn the_same_seed_is_the_same_to_the_byte() {
    let first = clean(1);
    assert_eq!(first, clean(1), "the same seed gave another trace");
}

#[test]
fn the_trace_and_the_log_change_nothing_and_another_seed_does() {
    let seed = clean(2);
    let (_, watched) = simulate(2, &["--trace", "--log", "info"]);
    assert_eq!(seed, watched, "looking on changed what happened");
    let hash = |text: &str| text.split_whitespace().nth(3).map(str::to_owned);
    assert_ne!(hash(&seed), hash(&clean(3)));
}

#[test]
fn a_handful_is_clean() {
    (4..7).for_each(|seed| drop(clean(seed)));
}

#[test]
fn what_failed_once_does_not_fail_again() {
    let seeds = include_str!("../seeds.txt").lines();
    for line in seeds.filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let seed = line.split_whitespace().next().expect("lines begin with a seed");
        clean(seed.parse().expect("seeds are numbers"));
    }
}

/// Seeds that are tried from the one listed on: what a seed does changes with everything that nodes do.
const TRIES: u64 = 4;

fn found(name: &str) {
    let bite = ALL.iter().find(|bite| bite.name == name).expect("it is listed");
    let mut seeds = bite.found_by..bite.found_by + TRIES;
    assert!(
        seeds.any(|seed| !simulate(seed, &["--bite", bite.name]).0),
        "{} is not found by seed {} nor by those after it: list another",
        bite.name,
        bite.found_by
    );
}

/// A test for each fault that is put back, so that they run beside one another.
macro_rules! bites {
    ($($test:ident $name:literal,)*) => {
        $(#[test] fn $test() { found($name); })*

        #[test]
        fn every_fault_has_its_test() {
            let tested = [$($name),*];
            assert!(ALL.iter().map(|bite| bite.name).eq(tested));
        }
    };
}

bites! {
    a_vote_that_is_not_synced_is_found "vote-not-synced",
    entries_that_are_not_synced_are_found "append-not-synced",
    a_truncation_too_far_is_found "truncate-too-far",
    applying_before_commit_is_found "apply-before-commit",
    an_epoch_that_is_not_checked_is_found "epoch-not-checked",
    a_message_id_that_is_not_checked_is_found "message-id-not-checked",
    a_lost_open_turn_is_found "open-turn-lost",
    forgotten_proposals_are_found "dedupe-not-in-snapshot",
    a_stale_read_is_found "stale-read",
    a_lease_not_waited_out_is_found "lease-not-waited-out",
    a_lease_not_asked_is_found "lease-not-asked",
    a_lost_intent_is_found "intent-lost",
    a_forgotten_timer_is_found "timer-forgotten",
    what_is_told_twice_is_found "told-id-not-checked",
    a_disk_that_was_put_back_is_found "log-mark-not-asked",
    a_clock_that_is_believed_is_found "own-clock-believed",
}
