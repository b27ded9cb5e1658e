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
    assert!(text.starts_with("seed "), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn clean(seed: u64) -> String {
    let (ok, text) = simulate(seed, &[]);
    assert!(ok, "{text}  repeat it: make sim SEED={seed}");
    text
}

#[test]
fn the_same_seed_is_the_same_to_the_byte_and_another_is_not() {
    let first = clean(1);
    assert_eq!(first, clean(1), "the same seed gave another trace");
    let second = clean(2);
    assert_eq!(second, clean(2), "the same seed gave another trace");
    let hash = |text: &str| text.split_whitespace().nth(3).map(str::to_owned);
    assert_ne!(hash(&first), hash(&second));
}

#[test]
fn a_handful_is_clean() {
    for seed in 3..7 {
        clean(seed);
    }
}

#[test]
fn what_failed_once_does_not_fail_again() {
    let seeds = include_str!("../seeds.txt").lines();
    for line in seeds.filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let seed = line.split_whitespace().next().expect("lines begin with a seed");
        clean(seed.parse().expect("seeds are numbers"));
    }
}

#[test]
fn every_fault_that_is_put_back_is_found() {
    for bite in ALL {
        let (ok, text) = simulate(bite.found_by, &["--bite", bite.name]);
        assert!(!ok, "{} is not found by seed {}: {text}", bite.name, bite.found_by);
        assert!(text.contains(bite.law), "{} was found otherwise: {text}", bite.name);
    }
}
