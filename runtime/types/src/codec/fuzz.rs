//! Hostile bytes for the codec itself: lengths that lie, leftovers, damaged seals.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jarvis_fuzz::fuzz;
use serde::{Deserialize, Serialize};

use super::*;

/// One of everything that messages are made of.
#[derive(Debug, Clone, PartialEq, Encode, Decode, Serialize, Deserialize)]
enum Message {
    Nothing,
    Bytes(Vec<u8>),
    Text { text: String, more: Option<Box<str>> },
    Rows(Vec<(u64, Vec<u8>, [u8; 32])>),
    Nested(Vec<Vec<Vec<String>>>),
    Table(BTreeMap<String, u128>),
    Numbers(u8, u16, i32, u64, bool, char),
}

fn messages() -> Vec<Message> {
    vec![
        Message::Nothing,
        Message::Bytes(vec![7; 300]),
        Message::Text {
            text: "salut 😀".into(),
            more: Some("more".into()),
        },
        Message::Rows(vec![(1, vec![1, 2], [3; 32]), (1 << 40, vec![], [0; 32])]),
        Message::Nested(vec![vec![vec!["a".into(); 2]; 2]; 2]),
        Message::Table(BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), u128::MAX)])),
        Message::Numbers(250, 251, -7, u64::MAX, true, 'é'),
    ]
}

/// What decoding, encoding and decoding again may hold at once: the limit of short inputs, and a little.
const MOST_BYTES: u64 = (DECODE_LIMIT_OF_SHORT_BYTES + 64 * 1024) as u64;

/// serde reserves up to a mebibyte for a list whose length is not known to be true, one within the other.
const MOST_BYTES_OF_SERDE: u64 = 4 * 1024 * 1024;

fn seeds() -> Vec<Vec<u8>> {
    messages()
        .iter()
        .map(|message| encode(1, message).expect("encodes"))
        .collect()
}

/// What is left of a message after it was read, written and read again must be the message.
fn holds<T: PartialEq + Debug>(
    bytes: &[u8],
    read: impl Fn(&[u8]) -> Result<T, CodecError>,
    write: impl Fn(&T) -> Result<Vec<u8>, CodecError>,
) -> Result<(), String> {
    let value = read(bytes).map_err(|error| error.to_string())?;
    let written = write(&value).expect("what was read can be written");
    assert!(
        written.len() <= bytes.len(),
        "what is written is as short as it gets"
    );
    assert_eq!(read(&written), Ok(value));
    Ok(())
}

#[test]
fn fuzz_messages() {
    fuzz!()
        .seeds(seeds())
        .memory(MOST_BYTES, 64)
        .run(|bytes| holds::<Message>(bytes, |b| decode(1, b), |m| encode(1, m)));
}

#[test]
fn fuzz_messages_of_serde() {
    let seeds = messages()
        .into_iter()
        .map(|m| encode_serde(1, &m).expect("encodes"));
    fuzz!()
        .seeds(seeds)
        .memory(MOST_BYTES_OF_SERDE, 64)
        .run(|bytes| holds::<Message>(bytes, |b| decode_serde(1, b), |m| encode_serde(1, m)));
}

#[test]
fn fuzz_seals() {
    // What is opened was sealed: a seal has four bytes that say so, and each of these executions has one chance in four
    // billion of meeting one by accident.
    fuzz!()
        .seeds(seeds().iter().map(|plain| seal(plain)))
        .run(|bytes| {
            open(bytes)
                .map(|plain| assert_eq!(seal(plain), bytes))
                .map_err(|error| std::mem::discriminant(&error))
        });
}

#[test]
fn fuzz_damage_to_a_seal() {
    // The first bytes say what to damage and how; a CRC-32 notices every burst of up to 32 bits.
    fuzz!()
        .seeds([[0, 0, 1], [3, 1, 0x80], [200, 0, 0xff]])
        .run(|bytes| {
            let [at, from, damage @ ..] = bytes else {
                return "short";
            };
            let sealed = seal(&seeds()[usize::from(*from) % seeds().len()]);
            let mut damaged = sealed.clone();
            let at = usize::from(*at) % sealed.len();
            for (byte, damage) in damaged[at..].iter_mut().zip(damage.iter().take(4)) {
                *byte ^= damage;
            }
            if damaged == sealed {
                return "unharmed";
            }
            assert!(
                matches!(open(&damaged), Err(CodecError::Checksum { .. })),
                "{at} {damage:?}"
            );
            "noticed"
        });
}

/// A positive control: without the limit that follows the input's length, the same inputs make the decoder hold far more
/// than the same target allows.
#[test]
fn hostile_lengths_are_found_where_nothing_bounds_them() {
    let without = |bytes: &[u8]| -> Result<(), String> {
        let body = bytes.get(1..).unwrap_or_default();
        // The bound of all inputs alike, whatever their length.
        let read = bincode::decode_from_slice::<Message, _>(
            body,
            bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>(),
        );
        read.map(drop).map_err(|error| error.to_string())
    };
    let finding = fuzz!()
        .seeds(seeds())
        .memory(MOST_BYTES, 64)
        .find(1, None, without)
        .expect_err("it is found");
    assert!(finding.why.contains("at once"), "{}", finding.why);
}
