//! How a finding is made small: parts are left out and bytes made plain for as long as it still fails.

/// Most executions that it may cost.
const TRIES: usize = 20_000;

/// A small input at which `fails` still holds, as it does at `input`.
pub fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut tries = 0;
    let mut try_out = |candidate: &[u8]| {
        tries += 1;
        tries <= TRIES && fails(candidate)
    };
    loop {
        let before = best.clone();
        let mut part = best.len();
        while part > 0 {
            let mut at = 0;
            while at < best.len() {
                let mut candidate = best.clone();
                candidate.drain(at..(at + part).min(best.len()));
                if try_out(&candidate) {
                    best = candidate;
                } else {
                    at += part;
                }
            }
            part /= 2;
        }
        for at in 0..best.len() {
            for plain in [0, b'0', b'a'] {
                let mut candidate = best.clone();
                candidate[at] = plain;
                if candidate != best && best[at] > plain && try_out(&candidate) {
                    best = candidate;
                    break;
                }
            }
        }
        if best == before {
            return best;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shrink;

    #[test]
    fn what_does_not_matter_goes() {
        let input: Vec<u8> = (0..=255).cycle().take(3_000).collect();
        assert_eq!(shrink(&input, |bytes| bytes.contains(&b'Z')), b"Z");
        assert_eq!(shrink(&input, |bytes| bytes.len() >= 5), [0; 5]);
        assert_eq!(shrink(b"x", |bytes| !bytes.is_empty()), [0]);
    }

    #[test]
    fn it_ends_where_nothing_is_smaller() {
        assert_eq!(shrink(b"abc", |bytes| bytes == b"abc"), b"abc");
    }
}
