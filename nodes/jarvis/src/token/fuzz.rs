//! Hostile join tokens: people paste anything.

use jarvis_fuzz::fuzz;

use super::*;

fn token() -> JoinToken {
    JoinToken {
        addresses: vec![
            "192.168.1.10:8007".into(),
            "[fe80::1]:8007".into(),
            "pi.local:8007".into(),
        ],
        ca_sha256: [7; 32],
        cluster: ClusterId(u128::MAX),
        secret: [9; 32],
        expires_at_ms: 1_800_000_000_000,
    }
}

fn outcome(text: &str) -> Result<usize, TokenError> {
    let token = JoinToken::from_text(text)?;
    assert!((1..=MAX_ADDRESSES).contains(&token.addresses.len()));
    assert_eq!(JoinToken::from_text(&token.to_text()).as_ref(), Ok(&token));
    assert!(!format!("{token:?}").contains("9, 9"), "the secret is not shown");
    Ok(token.addresses.len().min(3))
}

/// Any text; what is taken for this token is this token.
#[test]
fn fuzz_tokens_as_text() {
    let good = token();
    fuzz!()
        .text()
        .seed(good.to_text())
        .seed(format!("  jarvis join {}\n", good.to_text()))
        .words([" ", "\n", "\u{a0}", "=", "+", "/"])
        .memory(64 * 1024, 16)
        .run(|bytes| {
            let text = std::str::from_utf8(bytes).expect("only text is handed in");
            if let Ok(read) = JoinToken::from_text(text) {
                assert_eq!(read, good, "a damaged token is not taken for another one");
            }
            outcome(text)
        });
}

/// The bytes within, with a right checksum.
#[test]
fn fuzz_tokens_as_bytes() {
    let plain = codec::encode(VERSION, &token()).expect("encodes");
    fuzz!()
        .seed(plain)
        .memory(codec::DECODE_LIMIT_OF_SHORT_BYTES as u64 + 64 * 1024, 64)
        .run(|bytes| {
            let sealed = [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
            outcome(&URL_SAFE_NO_PAD.encode(sealed))
        });
}
