//! A ready-made login: the first user gets a password at the first start, and every start has a token that works.

use std::time::Duration;

use jarvis_client::{Api, ApiError};
use jarvis_host::{SystemEntropy, random_token};
use reqwest::Method;
use serde_json::{Value, json};

use crate::commands::cluster::{list, segment};
use crate::fail::Failure;
use crate::node::FIRST_USER;

/// How long a token is good; a new one is made when it has expired or was revoked.
const TOKEN_TTL_S: u64 = 365 * 24 * 3_600;
/// Letters of a password: 16 of 32 letters are 80 bits.
const PASSWORD_CHARS: usize = 16;
/// Hashing a password takes its time on a small board.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A cluster that is just being put together may have no leader for a moment.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
const RETRIES: usize = 200;

/// How to get in.
pub(super) struct Login {
    /// A bearer token of the first user's.
    pub(super) token: String,
    /// The first user's password, where it was made just now.
    pub(super) password: Option<String>,
}

/// Gives the token of an earlier start if it still works, else a new one; a password where there is none.
pub(super) async fn login(api: &Api, known: Option<&str>) -> Result<Login, Failure> {
    let what = "no login was made";
    let token = match known {
        Some(token) if works(api, token).await => token.to_owned(),
        _ => {
            let body = json!({"label": "jarvis up", "ttl_s": TOKEN_TTL_S, "user": FIRST_USER});
            let made = call(api, Method::POST, "/api/v1/tokens", Some(body)).await;
            let made = made.map_err(|error| Failure::from_error(what, &error))?;
            made.get("token")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        }
    };
    let users = call(api, Method::GET, "/api/v1/users", None).await;
    let users = users.map_err(|error| Failure::from_error(what, &error))?;
    let first = list(&users, "users")
        .iter()
        .find(|user| user["name"] == FIRST_USER);
    if first.is_none_or(|user| user["password"] == true) {
        return Ok(Login {
            token,
            password: None,
        });
    }
    let random = random_token("", &SystemEntropy::default());
    let password: String = random.chars().skip(1).take(PASSWORD_CHARS).collect();
    let path = format!("/api/v1/users/{}/password", segment(FIRST_USER));
    let set = call(api, Method::PUT, &path, Some(json!({"password": password}))).await;
    set.map_err(|error| Failure::from_error(what, &error))?;
    Ok(Login {
        token,
        password: Some(password),
    })
}

async fn works(api: &Api, token: &str) -> bool {
    let Ok(api) = Api::new(api.base(), Some(token.to_owned())) else {
        return false;
    };
    matches!(call(&api, Method::GET, "/api/v1/me", None).await, Ok(me) if me["user"] == FIRST_USER)
}

/// A call that outlives a change of leader.
async fn call(api: &Api, method: Method, path: &str, body: Option<Value>) -> Result<Value, ApiError> {
    for _ in 0..RETRIES {
        match api.call(method.clone(), path, body.clone(), CALL_TIMEOUT).await {
            Err(ApiError::Refused { status: 503, .. }) => tokio::time::sleep(RETRY_PAUSE).await,
            result => return result,
        }
    }
    api.call(method, path, body, CALL_TIMEOUT).await
}
