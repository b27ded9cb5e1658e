//! The join token: one word that carries where to go, whom to believe, and the secret that opens the door.
//!
//! ```text
//!  base64url( version 1 | body | CRC-32 of both )       body: bincode of TokenBody
//! ```

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bincode::{Decode, Encode};
use jarvis_types::ClusterId;
use jarvis_types::codec;

const VERSION: u8 = 1;
/// Longest token that is looked at, in characters: sixteen addresses with long names fit.
const MAX_TOKEN_CHARS: usize = 4_096;
/// Most addresses in a token.
pub const MAX_ADDRESSES: usize = 16;
/// Longest address, in bytes.
const MAX_ADDRESS_BYTES: usize = 260;

/// What an invitation carries.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct JoinToken {
    /// Members' addresses, `host:port`, to be tried in turn.
    pub addresses: Vec<String>,
    /// SHA-256 of the cluster's CA certificate: whom to believe.
    pub ca_sha256: [u8; 32],
    /// Which cluster.
    pub cluster: ClusterId,
    /// Proves that one was invited; its SHA-256 stands in the replicated state.
    pub secret: [u8; 32],
    /// Unix milliseconds.
    pub expires_at_ms: u64,
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("cluster", &self.cluster)
            .field("addresses", &self.addresses)
            .finish()
    }
}

/// Why a text is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Something is missing or changed.
    #[error("the token is not complete: some of it was lost or changed when it was copied")]
    Damaged,
    /// A newer build wrote it.
    #[error("the token was made by a newer version of jarvis")]
    Newer,
    /// Not a token at all.
    #[error("this is not a join token")]
    NotAToken,
}

impl JoinToken {
    /// As one word.
    pub fn to_text(&self) -> String {
        // Bounded fields of plain types: there is nothing that could fail to encode.
        let mut bytes = codec::encode(VERSION, self).unwrap_or_default();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a word; blanks and line ends that came in when it was copied do not matter.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn from_text(text: &str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_CHARS {
            return Err(TokenError::NotAToken);
        }
        let word: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let bytes = URL_SAFE_NO_PAD.decode(&word).map_err(|_| TokenError::NotAToken)?;
        let split = bytes.len().checked_sub(4).ok_or(TokenError::NotAToken)?;
        let (body, crc) = bytes.split_at(split);
        if crc32fast::hash(body).to_le_bytes() != crc {
            return Err(TokenError::Damaged);
        }
        let token: Self = codec::decode(VERSION, body).map_err(|error| match error {
            codec::CodecError::Version { .. } => TokenError::Newer,
            _ => TokenError::NotAToken,
        })?;
        let addresses_fit = !token.addresses.is_empty()
            && token.addresses.len() <= MAX_ADDRESSES
            && token
                .addresses
                .iter()
                .all(|a| a.len() <= MAX_ADDRESS_BYTES && a.contains(':'));
        if addresses_fit {
            Ok(token)
        } else {
            Err(TokenError::NotAToken)
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        JoinToken {
            addresses: vec!["192.168.1.10:8007".into(), "pi.local:8007".into()],
            ca_sha256: [7; 32],
            cluster: ClusterId(0x0123_4567_89ab_cdef),
            secret: [9; 32],
            expires_at_ms: 1_800_000_000_000,
        }
    }

    #[test]
    fn a_token_is_one_word_and_reads_again() {
        let text = token().to_text();
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
            "{text}"
        );
        assert!(text.len() < 220, "{}", text.len());
        assert_eq!(JoinToken::from_text(&text), Ok(token()));
        let wrapped = format!("  {}\n{} ", &text[..40], &text[40..]);
        assert_eq!(JoinToken::from_text(&wrapped), Ok(token()));
    }

    #[test]
    fn one_changed_or_missing_character_is_noticed() {
        let text = token().to_text();
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(JoinToken::from_text(&changed).is_err(), "{place}");
            assert!(JoinToken::from_text(&text[..place]).is_err(), "{place}");
        }
    }

    #[test]
    fn tokens_of_a_later_version_or_without_an_address_say_so() {
        let sealed = |mut bytes: Vec<u8>| {
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
            URL_SAFE_NO_PAD.encode(bytes)
        };
        let newer = sealed(codec::encode(9, &token()).expect("encodes"));
        assert_eq!(JoinToken::from_text(&newer), Err(TokenError::Newer));
        let nowhere = JoinToken {
            addresses: Vec::new(),
            ..token()
        };
        assert_eq!(
            JoinToken::from_text(&nowhere.to_text()),
            Err(TokenError::NotAToken)
        );
        assert_eq!(JoinToken::from_text("hello there"), Err(TokenError::NotAToken));
    }

    proptest! {
        #[test]
        fn hostile_text_never_panics(text in "\\PC{0,600}") {
            let _ = JoinToken::from_text(&text);
        }

        #[test]
        fn hostile_bytes_with_a_right_checksum_never_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = body;
            bytes.insert(0, VERSION);
            bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
            let _ = JoinToken::from_text(&URL_SAFE_NO_PAD.encode(bytes));
        }
    }
}
