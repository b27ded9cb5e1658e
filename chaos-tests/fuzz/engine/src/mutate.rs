//! How a valid input is spoilt: a few small changes at a time, so that most of it still passes the first checks.

use crate::random::Random;

/// Bytes at which parsers decide: ends of ranges, the codec's length markers, quotes, brackets and line ends.
const BYTES: &[u8] = &[
    0, 1, 2, 0x7f, 0x80, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0xfa, b'"', b'\\', b'{', b'[', b'(', b'\n', b'\r',
    b' ',
];

/// Numbers at which arithmetic goes wrong.
const NUMBERS: &[u64] = &[
    0,
    1,
    0x7f,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x1_0000,
    0x00ff_ffff,
    0x0100_0000,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_ffff,
];

/// Pieces of text that trip up what reads text.
const TEXTS: &[&str] = &[
    "",
    "é",
    "ﬀ",
    "İ",
    "ß",
    "\u{301}",
    "\u{202e}",
    "\u{0}",
    "😀",
    "👨‍👩‍👧",
    "٣",
    "１",
    "½",
    "²",
    "−",
    "×",
    "÷",
    "\u{a0}",
    "\u{2028}",
    "'",
    "\"",
    "\"\"\"",
    "\\u0000",
    "\\ud800",
    "%00",
    "((((((((",
    "[[[[[[[[",
    "{{{{{{{{",
    "--",
    "9999999999999999999999",
    "1e999",
    "-0",
    "0.1",
    "1/0",
    "^^",
    "NaN",
    "null",
    "\r\n\r\n",
    "data:",
    "\u{feff}",
];

/// Spoils `input` by one to eight changes; `others` give pieces to mix in and `words` what the format is known to react to.
pub fn spoil(
    random: &mut Random,
    input: &mut Vec<u8>,
    others: &[Vec<u8>],
    words: &[Vec<u8>],
    text: bool,
    longest: usize,
) {
    let most = 1 << random.below(4);
    let changes = 1 + random.below(most);
    for _ in 0..changes {
        once(random, input, others, words, text);
        input.truncate(longest);
    }
}

fn once(random: &mut Random, input: &mut Vec<u8>, others: &[Vec<u8>], words: &[Vec<u8>], text: bool) {
    let len = input.len();
    match random.below(16) {
        0 if len > 0 => input[random.below(len)] ^= 1 << random.below(8),
        1 if len > 0 => input[random.below(len)] = *random.pick(BYTES),
        2 if len > 0 => {
            let by = 1 + random.below(35) as u8;
            let at = &mut input[random.below(len)];
            *at = if random.one_in(2) {
                at.wrapping_add(by)
            } else {
                at.wrapping_sub(by)
            };
        }
        3 if len > 0 => input.truncate(random.below(len)),
        4 => {
            let piece: Vec<u8> = (0..=random.below(8)).map(|_| random.number() as u8).collect();
            insert(random, input, &piece);
        }
        5 => drop(input.drain(range(random, len))),
        6 => {
            let piece = input[range(random, len)].to_vec();
            insert(random, input, &piece);
        }
        7 => {
            let piece = input[range(random, len)].to_vec();
            overwrite(random, input, &piece);
        }
        8 => {
            let piece = number(random);
            overwrite(random, input, &piece);
        }
        9 => {
            let piece = number(random);
            insert(random, input, &piece);
        }
        10 => {
            let piece = hostile_length(random);
            overwrite(random, input, &piece);
        }
        11 if !others.is_empty() => {
            let other = random.pick(others);
            let piece = other[range(random, other.len())].to_vec();
            if random.one_in(2) {
                insert(random, input, &piece)
            } else {
                overwrite(random, input, &piece)
            }
        }
        12 if !others.is_empty() => {
            // The beginning of one and the end of another.
            let other = random.pick(others);
            let (keep, from) = (random.below(len + 1), random.below(other.len() + 1));
            input.truncate(keep);
            input.extend_from_slice(&other[from..]);
        }
        13 => {
            let piece = input[range(random, len.min(64))].to_vec();
            let times = 1 << random.below(11);
            let piece = piece.repeat(times.min(1 + 65_536 / piece.len().max(1)));
            insert(random, input, &piece);
        }
        _ if !words.is_empty() && random.one_in(2) => {
            let piece = random.pick(words).clone();
            insert(random, input, &piece);
        }
        _ if text => {
            let piece = random.pick(TEXTS).as_bytes();
            insert(random, input, piece);
        }
        _ => {
            let piece = hostile_length(random);
            insert(random, input, &piece);
        }
    }
}

/// Part of `len` bytes, more often a short one.
fn range(random: &mut Random, len: usize) -> std::ops::Range<usize> {
    let from = random.below(len + 1);
    let most = if random.one_in(3) { len } else { 16 };
    from..(from + random.below(most + 1)).min(len)
}

fn insert(random: &mut Random, input: &mut Vec<u8>, piece: &[u8]) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, piece.iter().copied());
}

fn overwrite(random: &mut Random, input: &mut Vec<u8>, piece: &[u8]) {
    let at = random.below(input.len() + 1);
    let end = (at + piece.len()).min(input.len());
    input.splice(at..end, piece.iter().copied());
}

/// A number of one to eight bytes in either order, at one of the edges or a step beside it.
fn number(random: &mut Random) -> Vec<u8> {
    let value = random
        .pick(NUMBERS)
        .wrapping_add(random.below(3) as u64)
        .wrapping_sub(1);
    let width = 1 << random.below(4);
    let mut bytes = value.to_le_bytes()[..width].to_vec();
    if random.one_in(3) {
        bytes.reverse();
    }
    bytes
}

/// A length far beyond what follows it, as the codec writes lengths.
fn hostile_length(random: &mut Random) -> Vec<u8> {
    let length = 1u64 << (8 + random.below(56));
    let length = length.wrapping_add(random.below(3) as u64).wrapping_sub(1);
    match random.below(3) {
        0 => [&[251], &(length as u16).to_le_bytes()[..]].concat(),
        1 => [&[252], &(length as u32).to_le_bytes()[..]].concat(),
        _ => [&[253], &length.to_le_bytes()[..]].concat(),
    }
}
