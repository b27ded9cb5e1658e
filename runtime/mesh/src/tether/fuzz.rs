//! Hostile offers of a tether, and hostile secrets that are shown where one is taken: anybody may show one.

use jarvis_fuzz::fuzz;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn fuzz_offers_of_tethers() {
    let secret = [0xab; SECRET_BYTES];
    let offer = codec::encode(VERSION, &Offer { secret, port: 8_007 }).expect("encodes");
    fuzz!()
        .seeds([
            offer,
            hex(&secret).into_bytes(),
            hex(&secret).to_uppercase().into_bytes(),
        ])
        .words(["é", "+f", "0x", "\u{ff11}"])
        .run(|bytes| {
            let offer = codec::decode::<Offer>(VERSION, bytes);
            if let Ok(offer) = &offer {
                let again = codec::encode(VERSION, offer).expect("what was read is written");
                assert_eq!(codec::decode::<Offer>(VERSION, &again).as_ref(), Ok(offer));
            }
            let shown = std::str::from_utf8(bytes).ok().and_then(from_hex);
            if let Some(secret) = &shown {
                assert_eq!(
                    hex(secret).as_bytes(),
                    bytes.to_ascii_lowercase(),
                    "a secret is written in one way"
                );
            }
            (offer.is_ok(), shown.map(|shown| same(&shown, &secret)))
        });
}
