//! The one place that knows bincode.
//!
//! Everything on wire or disk is written as a version byte and a body; what is stored or crosses a process is sealed as
//! well, with a CRC-32 of both in front, because any codec takes half of all damaged inputs for good:
//!
//! ```text
//! sealed:  crc32 (4, little endian) | version (1) | body
//! plain:                              version (1) | body
//! ```
//!
//! Decoding always has a size limit: without one, hostile lengths make a decoder ask for petabytes. A short input has a
//! smaller one, so that a handful of bytes cannot claim what only a large message may.

#![allow(clippy::disallowed_methods, reason = "the one place that may")]

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{Decode, Encode};

/// Upper bound on what a decoder may allocate, in bytes.
pub const DECODE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// The same for an input of at most [`SHORT_BYTES`].
pub const DECODE_LIMIT_OF_SHORT_BYTES: usize = 1024 * 1024;

/// Up to this length an input is short: it cannot honestly become more than 256 times as large, since no type that stands
/// in lists takes more than 256 bytes in memory for each byte of its encoding.
pub const SHORT_BYTES: usize = DECODE_LIMIT_OF_SHORT_BYTES / 256;

const SHORT_CONFIG: Configuration<LittleEndian, Varint, Limit<DECODE_LIMIT_OF_SHORT_BYTES>> =
    bincode::config::standard().with_limit::<DECODE_LIMIT_OF_SHORT_BYTES>();

const CONFIG: Configuration<LittleEndian, Varint, Limit<DECODE_LIMIT_BYTES>> =
    bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>();

const CRC_BYTES: usize = 4;

/// Why bytes from outside were not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than any message has.
    #[error("{len} bytes are too few for a message")]
    TooShort {
        /// How many there were.
        len: usize,
    },
    /// The checksum does not match: the bytes were damaged.
    #[error("checksum mismatch: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// What stands in front of the bytes.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// A version that this build does not know; a newer one wrote it.
    #[error("version {found} is newer than the {known} this build knows")]
    Version {
        /// The version byte found.
        found: u8,
        /// The newest version that can be read.
        known: u8,
    },
    /// The body does not decode as what it should be.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Bytes are left over behind the value.
    #[error("{0} bytes too many")]
    Trailing(usize),
    /// The value is larger than the limit.
    #[error("does not encode: {0}")]
    Encode(String),
}

/// A value as version byte and body.
///
/// # Errors
/// [`CodecError::Encode`] where the value exceeds [`DECODE_LIMIT_BYTES`].
pub fn encode<T: Encode>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![version];
    bincode::encode_into_std_write(value, &mut out, CONFIG).map_err(|e| CodecError::Encode(e.to_string()))?;
    Ok(out)
}

/// The value of version byte and body, and the version it was written in.
///
/// # Errors
/// Any [`CodecError`] but `Checksum`: the version is above `known`, the body is malformed, or bytes are left over.
pub fn decode<T: Decode<()>>(known: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let body = check_version(known, bytes)?;
    let decoded = if body.len() <= SHORT_BYTES {
        bincode::decode_from_slice(body, SHORT_CONFIG)
    } else {
        bincode::decode_from_slice(body, CONFIG)
    };
    let (value, read) = decoded.map_err(|e| CodecError::Malformed(e.to_string()))?;
    all_read(value, read, body.len())
}

/// Like [`encode`], for types of other crates that only speak serde.
///
/// # Errors
/// [`CodecError::Encode`].
pub fn encode_serde<T: serde::Serialize>(version: u8, value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = vec![version];
    bincode::serde::encode_into_std_write(value, &mut out, CONFIG)
        .map_err(|e| CodecError::Encode(e.to_string()))?;
    Ok(out)
}

/// Like [`decode`], for types of other crates that only speak serde.
///
/// # Errors
/// As [`decode`].
pub fn decode_serde<T: serde::de::DeserializeOwned>(known: u8, bytes: &[u8]) -> Result<T, CodecError> {
    let body = check_version(known, bytes)?;
    let decoded = if body.len() <= SHORT_BYTES {
        bincode::serde::decode_from_slice(body, SHORT_CONFIG)
    } else {
        bincode::serde::decode_from_slice(body, CONFIG)
    };
    let (value, read) = decoded.map_err(|e| CodecError::Malformed(e.to_string()))?;
    all_read(value, read, body.len())
}

/// Puts a checksum before what [`encode`] or [`encode_serde`] wrote.
pub fn seal(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(CRC_BYTES + plain.len());
    out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
    out.extend_from_slice(plain);
    out
}

/// What [`seal`] sealed, if nothing damaged it.
///
/// # Errors
/// [`CodecError::TooShort`] and [`CodecError::Checksum`].
pub fn open(sealed: &[u8]) -> Result<&[u8], CodecError> {
    let (crc, plain) = sealed
        .split_first_chunk::<CRC_BYTES>()
        .ok_or(CodecError::TooShort { len: sealed.len() })?;
    let (stored, computed) = (u32::from_le_bytes(*crc), crc32fast::hash(plain));
    if stored == computed {
        Ok(plain)
    } else {
        Err(CodecError::Checksum { stored, computed })
    }
}

fn check_version(known: u8, bytes: &[u8]) -> Result<&[u8], CodecError> {
    let (&found, body) = bytes.split_first().ok_or(CodecError::TooShort { len: 0 })?;
    if found > known {
        Err(CodecError::Version { found, known })
    } else {
        Ok(body)
    }
}

fn all_read<T>(value: T, read: usize, len: usize) -> Result<T, CodecError> {
    if read == len {
        Ok(value)
    } else {
        Err(CodecError::Trailing(len - read))
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let plain = encode(1, &(7u64, "salut".to_owned(), Some(300u32))).expect("encodes");
        assert_eq!(plain, [1, 7, 5, b's', b'a', b'l', b'u', b't', 1, 251, 44, 1]);
        assert_eq!(
            decode::<(u64, String, Option<u32>)>(1, &plain),
            Ok((7, "salut".to_owned(), Some(300)))
        );
    }

    #[test]
    fn newer_versions_and_leftovers_are_refused() {
        assert_eq!(
            decode::<u8>(1, &[2, 0]),
            Err(CodecError::Version { found: 2, known: 1 })
        );
        assert_eq!(decode::<u8>(1, &[1, 0, 0]), Err(CodecError::Trailing(1)));
        assert_eq!(decode::<u8>(1, &[]), Err(CodecError::TooShort { len: 0 }));
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<(String, Vec<Vec<u8>>, Option<u64>)>(1, &bytes);
            let _ = open(&bytes);
        }

        #[test]
        fn a_flipped_bit_is_noticed(body in proptest::collection::vec(any::<u8>(), 1..100), bit in 0usize..800) {
            let mut sealed = seal(&body);
            let at = bit % (sealed.len() * 8);
            sealed[at / 8] ^= 1 << (at % 8);
            prop_assert!(open(&sealed).is_err());
        }
    }
}
