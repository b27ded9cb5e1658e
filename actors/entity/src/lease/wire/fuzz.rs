//! Hostile renewals and answers to them.

use jarvis_fuzz::fuzz;

use super::*;

#[test]
fn fuzz_lease_messages() {
    let asked = Asked {
        applied: 700,
        life: u64::MAX,
        lets_go: true,
    };
    let granted = Decision::Granted {
        length: Duration::from_micros(800_000),
        past: 9,
    };
    fuzz!()
        .seed(asked.encode().expect("small"))
        .seeds([granted, Decision::Behind { need: 4 }, Decision::Wait].map(|d| d.encode().expect("small")))
        .run(|bytes| {
            let asked = Asked::decode(bytes);
            if let Ok(asked) = asked {
                assert_eq!(
                    Asked::decode(&asked.encode().expect("what was read is written")),
                    Ok(asked)
                );
            }
            let decision = Decision::decode(bytes);
            if let Ok(decision) = decision {
                assert_eq!(
                    Decision::decode(&decision.encode().expect("what was read is written")),
                    Ok(decision)
                );
            }
            (
                asked.is_ok(),
                decision
                    .map(|d| std::mem::discriminant(&d))
                    .map_err(|e| e.to_string()),
            )
        });
}
