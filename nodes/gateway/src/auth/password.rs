//! Passwords: argon2id, verified by few threads at a time, so that log-ins cannot starve the node.

use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use jarvis_host::Entropy;
use tokio::sync::Semaphore;

/// Shortest password.
pub const MIN_PASSWORD_CHARS: usize = 8;

/// Longest password, in bytes: hashing takes time by length.
pub const MAX_PASSWORD_BYTES: usize = 1_024;

/// Memory of one hash, in KiB: OWASP's recommendation for argon2id with two passes.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Verified in place of the hash of a user who is not there, so that both take the same time.
const DECOY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Most log-ins that wait for a thread; one more is told to come again.
const MAX_WAITING: usize = 64;

/// Why a password is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short.
    #[error("a password has at least {MIN_PASSWORD_CHARS} characters")]
    TooShort,
    /// Too long.
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    /// Too many are being verified.
    #[error("too many log-ins at once; try again")]
    Busy,
    /// The hash could not be made.
    #[error("internal: {0}")]
    Internal(String),
}

/// The argon2id hash of a password, in PHC form.
///
/// # Errors
/// [`PasswordError`], where it breaks the rule.
pub fn hash_password(password: &str, entropy: &dyn Entropy) -> Result<String, PasswordError> {
    check_rule(password)?;
    let mut salt = [0u8; 16];
    entropy.fill(&mut salt);
    let hash = hasher()?.hash_password_with_salt(password.as_bytes(), &salt);
    hash.map(|hash| hash.to_string())
        .map_err(|e| PasswordError::Internal(e.to_string()))
}

fn check_rule(password: &str) -> Result<(), PasswordError> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        Err(PasswordError::TooLong)
    } else {
        Ok(())
    }
}

fn hasher() -> Result<Argon2<'static>, PasswordError> {
    let params =
        Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|e| PasswordError::Internal(e.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn verify(password: &str, phc: &str) -> bool {
    // The parameters of the stored hash count, so that hashes made with others stay valid.
    hasher().is_ok_and(|hasher| hasher.verify_password(password.as_bytes(), phc).is_ok())
}

/// The threads that hash and verify.
pub(crate) struct Passwords {
    entropy: Arc<dyn Entropy>,
    inline: bool,
    workers: Semaphore,
    waiting: Semaphore,
}

impl Passwords {
    /// `workers` = 0: inline.
    pub(crate) fn new(workers: usize, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            entropy,
            inline: workers == 0,
            workers: Semaphore::new(workers.max(1)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// Whether it is the password of that hash. `None`: there is no such user or it has no password; takes as long.
    pub(crate) async fn verify(&self, password: String, phc: Option<String>) -> Result<bool, PasswordError> {
        if password.len() > MAX_PASSWORD_BYTES {
            return Ok(false);
        }
        let known = phc.is_some();
        let phc = phc.unwrap_or_else(|| DECOY.to_owned());
        Ok(self.run(move || verify(&password, &phc)).await? && known)
    }

    /// As [`hash_password`].
    pub(crate) async fn hash(&self, password: String) -> Result<String, PasswordError> {
        check_rule(&password)?;
        let entropy = Arc::clone(&self.entropy);
        self.run(move || hash_password(&password, &*entropy)).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.waiting.try_acquire().map_err(|_| PasswordError::Busy)?;
        let _worker = self.workers.acquire().await.map_err(|_| PasswordError::Busy)?;
        if self.inline {
            return Ok(work());
        }
        #[allow(
            clippy::disallowed_methods,
            reason = "hashing takes tens of milliseconds by design; bounded above"
        )]
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|e| PasswordError::Internal(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jarvis_host::SeededEntropy;

    #[test]
    fn hashes_are_argon2id_with_owasp_parameters() {
        let hash = hash_password("correct horse", &SeededEntropy::new(1)).expect("hashes");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify("correct horse", &hash));
        assert!(!verify("correct horsf", &hash));
        assert!(!verify("correct horse", "not a hash"));
    }

    #[test]
    fn passwords_have_a_rule() {
        let entropy = SeededEntropy::new(1);
        assert_eq!(hash_password("1234567", &entropy), Err(PasswordError::TooShort));
        assert_eq!(
            hash_password(&"x".repeat(1_025), &entropy),
            Err(PasswordError::TooLong)
        );
        assert!(
            hash_password("äöüäöüäö", &entropy).is_ok(),
            "characters count, not bytes"
        );
    }

    #[tokio::test]
    async fn a_user_who_is_not_there_has_no_password() {
        let passwords = Passwords::new(0, Arc::new(SeededEntropy::new(1)));
        assert!(
            argon2::PasswordHash::new(DECOY).is_ok(),
            "a malformed one would take no time"
        );
        assert_eq!(passwords.verify("12345678".to_owned(), None).await, Ok(false));
        let hash = passwords.hash("12345678".to_owned()).await.expect("hashes");
        assert_eq!(
            passwords.verify("12345678".to_owned(), Some(hash)).await,
            Ok(true)
        );
    }
}
