//! Positive controls: parsers with one defect each, of the kinds that the product's must not have. Each must be found from
//! fixed seeds, and the same parser without the defect must pass.

use jarvis_fuzz::{Finding, Target};

/// How many executions a defect may take to be found, of each seed.
const RUNS: usize = 20_000;

/// `length (4, little endian) | kind (1) | body`, and a sum of everything before as the last byte.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32).to_le_bytes().to_vec();
    out.push(kind);
    out.extend_from_slice(body);
    out.push(0);
    seal(&mut out);
    out
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(7, |sum: u8, byte| sum.rotate_left(3) ^ byte)
}

/// Makes the sum right, and now and then the length.
fn seal(bytes: &mut [u8]) {
    let body = bytes.len().saturating_sub(6) as u32;
    if let Some((length, [_kind, .., last])) = bytes.split_first_chunk_mut::<4>()
        && *last % 2 == 0
    {
        *length = body.to_le_bytes();
    }
    if let Some((last, rest)) = bytes.split_last_mut() {
        *last = sum(rest);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Defect {
    None,
    LengthNotChecked,
    AllocatesWhatIsClaimed,
    KindNotChecked,
    LeftoversTaken,
    SumNotChecked,
    CountsInOneByte,
}

fn parse(bytes: &[u8], defect: Defect) -> Result<(u8, Vec<u8>), &'static str> {
    let (given, rest) = bytes.split_last().ok_or("empty")?;
    if defect != Defect::SumNotChecked && *given != sum(rest) {
        return Err("sum");
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or("no length")?;
    let length = u32::from_le_bytes(*length) as usize;
    let (kind, body) = rest.split_first().ok_or("no kind")?;
    if defect == Defect::AllocatesWhatIsClaimed {
        // Capped, so that the control does not take the machine's memory.
        std::hint::black_box(Vec::<u8>::with_capacity(length.min(1 << 24)));
    }
    if defect == Defect::LengthNotChecked {
        return Ok((*kind, body[..length].to_vec()));
    }
    if length > body.len() || (defect != Defect::LeftoversTaken && length < body.len()) {
        return Err("length");
    }
    if defect == Defect::CountsInOneByte {
        let mut counted = 0u8;
        body.iter().for_each(|_| counted += 1);
    }
    match kind {
        1 | 2 => Ok((*kind, body[..length].to_vec())),
        _ if defect == Defect::KindNotChecked => unreachable!("kinds are 1 or 2"),
        _ => Err("kind"),
    }
}

fn look(name: Target, defect: Defect, seed: u64) -> Result<(), Box<Finding>> {
    let target = name
        .seed(frame(1, b"hello"))
        .seed(frame(2, b""))
        .runs(RUNS)
        .mend(|bytes| seal(bytes));
    let run = move |bytes: &[u8]| {
        parse(bytes, defect).map(|(kind, body)| {
            assert_eq!(
                frame(kind, &body),
                bytes,
                "it was read as something else than what was written"
            );
            kind
        })
    };
    find(&target, seed, run)
}

fn find<R: std::fmt::Debug>(
    target: &Target,
    seed: u64,
    run: impl Fn(&[u8]) -> R,
) -> Result<(), Box<Finding>> {
    target.find(seed, None, run).map(drop)
}

#[test]
fn every_defect_is_found_from_every_seed() {
    use Defect::{
        AllocatesWhatIsClaimed, CountsInOneByte, KindNotChecked, LeftoversTaken, LengthNotChecked,
        SumNotChecked,
    };
    let all = [
        LengthNotChecked,
        AllocatesWhatIsClaimed,
        KindNotChecked,
        LeftoversTaken,
        SumNotChecked,
        CountsInOneByte,
    ];
    for (which, defect) in all.into_iter().enumerate() {
        for seed in 0..3 {
            let finding = look(jarvis_fuzz::fuzz!(), defect, seed)
                .expect_err(&format!("defect {which} is found from seed {seed}"));
            println!(
                "defect {which}, seed {seed}: {} after {}",
                finding.why, finding.executions
            );
        }
    }
}

#[test]
fn a_parser_without_a_defect_passes() {
    for seed in 0..3 {
        look(jarvis_fuzz::fuzz!(), Defect::None, seed).expect("nothing to find");
    }
}

#[test]
fn a_finding_is_made_small() {
    let found = look(jarvis_fuzz::fuzz!(), Defect::AllocatesWhatIsClaimed, 1).expect_err("it is found");
    assert!(found.input.len() <= 8, "{:?}", found.input);
}

#[test]
fn the_same_seed_finds_the_same() {
    let once = || look(jarvis_fuzz::fuzz!(), Defect::CountsInOneByte, 5).expect_err("it is found");
    let (one, other) = (once(), once());
    assert_eq!((&one.input, one.executions), (&other.input, other.executions));
}

#[test]
fn text_stays_text() {
    jarvis_fuzz::fuzz!()
        .seed("déjà vu 😀")
        .text()
        .run(|bytes| std::str::from_utf8(bytes).expect("only UTF-8 is handed in").len() % 2);
}

#[test]
#[should_panic(expected = "to repeat: JARVIS_FUZZ_SEED=")]
fn a_finding_says_how_to_repeat_it() {
    jarvis_fuzz::fuzz!()
        .seed([1, 2, 3])
        .run(|bytes| assert!(bytes.len() < 4));
}
