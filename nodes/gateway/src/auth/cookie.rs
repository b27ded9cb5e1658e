//! The login cookie: out of reach of scripts, sent to this host only.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};

/// Its name. Cookies know hosts, not ports: the nodes of `jarvis up` share it, and its credential is replicated.
const NAME: &str = "jarvis_login";

/// The login cookie's secret, if the request carries one.
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok());
    cookies.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == NAME && !value.is_empty()).then_some(value)
    })
}

/// The header that sets it.
pub(crate) fn set(secret: &str, ttl: Duration) -> HeaderValue {
    value(secret, ttl.as_secs())
}

/// The header that takes it away.
pub(crate) fn clear() -> HeaderValue {
    value("", 0)
}

fn value(secret: &str, max_age_s: u64) -> HeaderValue {
    let text = format!("{NAME}={secret}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict");
    HeaderValue::from_str(&text).expect("tokens are letters, digits and underscores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(read(&headers), None);
        headers.append(
            header::COOKIE,
            HeaderValue::from_static("a=b; jarvis_login=jcs_1 ;c=d"),
        );
        assert_eq!(read(&headers), Some("jcs_1"));
        let set = set("jcs_1", Duration::from_secs(60));
        assert_eq!(
            set,
            "jarvis_login=jcs_1; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"
        );
    }
}
