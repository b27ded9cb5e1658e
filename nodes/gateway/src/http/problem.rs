//! What is refused, as RFC 9457 problem details.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jarvis_automation::AutomationError;
use jarvis_machine::reply::Refusal;
use jarvis_replica::api::ProposeError;
use jarvis_session::api::SessionError;
use serde_json::{Map, Value, json};
use tracing::error;

use crate::api::AdminError;
use crate::auth::AuthError;
use crate::auth::password::PasswordError;
use crate::backend::BackendError;

/// When trying again makes sense after a failed commit.
pub(crate) const RETRY_AFTER_MS: u64 = 500;

/// A refusal on its way out. The request's id is written in by [`super::layers`].
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// For programs; the same words as the chat socket's where the meaning is the same.
    pub(crate) code: &'static str,
    /// For a person: what failed and what to do.
    pub(crate) detail: String,
    pub(crate) retry_after_ms: Option<u64>,
    /// What programs are told besides, by name.
    pub(crate) more: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            retry_after_ms: None,
            more: Map::new(),
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", what.to_string())
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_ms: u64) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).after(retry_after_ms)
    }

    pub(crate) fn rate_limited(detail: impl Into<String>, retry_after: std::time::Duration) -> Self {
        let retry_after_ms = retry_after.as_millis() as u64 + 1;
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).after(retry_after_ms)
    }

    /// A fault of ours: the log gets `inside`, the caller does not.
    pub(crate) fn internal(inside: impl std::fmt::Display) -> Self {
        error!(error = %inside, "request failed by a fault of this node");
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "this node failed; its log has the cause under the request's id",
        )
    }

    /// Tells programs more: the fields of a document.
    pub(crate) fn with(mut self, document: Value) -> Self {
        if let Value::Object(fields) = document {
            self.more.extend(fields);
        }
        self
    }

    fn after(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The finished answer.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
        });
        for (name, value) in &self.more {
            body[name] = value.clone();
        }
        if let Some(ms) = self.retry_after_ms {
            body["retry_after_ms"] = ms.into();
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000).max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"jarvis\""),
            );
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AuthError> for Problem {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Missing | AuthError::Unknown | AuthError::Expired => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", error.to_string())
            }
            AuthError::Unavailable => Self::unavailable(error.to_string(), RETRY_AFTER_MS),
            AuthError::Store(inside) => Self::internal(inside),
        }
    }
}

impl From<BackendError> for Problem {
    fn from(error: BackendError) -> Self {
        Self::internal(error)
    }
}

impl From<SessionError> for Problem {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::NotFound => Self::not_found("you have no session of this id"),
            SessionError::Unavailable { retry_after_ms } | SessionError::Overloaded { retry_after_ms } => {
                Self::unavailable(error.to_string(), retry_after_ms)
            }
            SessionError::TooLong(detail) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", detail),
            SessionError::Invalid(detail) => Self::bad_request(detail),
            SessionError::LimitReached(_) => Self::conflict(limit_advice(&error)),
            SessionError::Internal(inside) => Self::internal(inside),
        }
    }
}

/// What a user who has as many sessions as there may be is told.
pub(crate) fn limit_advice(error: &SessionError) -> String {
    format!("{error}; go on in one of those, or have an administrator make another user")
}

impl From<PasswordError> for Problem {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::TooShort | PasswordError::TooLong => Self::bad_request(error.to_string()),
            PasswordError::Busy => Self::unavailable(error.to_string(), 1_000),
            PasswordError::Internal(inside) => Self::internal(inside),
        }
    }
}

impl From<ProposeError> for Problem {
    fn from(error: ProposeError) -> Self {
        match error {
            ProposeError::Unavailable { .. } | ProposeError::Overloaded | ProposeError::Stopping => {
                Self::unavailable(
                    "the cluster cannot commit at the moment; try again",
                    RETRY_AFTER_MS,
                )
            }
            ProposeError::TooLarge { .. } => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_long", error.to_string())
            }
            ProposeError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match &refusal {
            Refusal::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", refusal.to_string()),
            Refusal::NameTaken(_) | Refusal::NotDrained { .. } => Self::conflict(refusal.to_string()),
            Refusal::Invalid(_) => Self::bad_request(refusal.to_string()),
            Refusal::LimitReached(_) => Self::conflict(format!(
                "{refusal}; remove what is no longer needed and try again"
            )),
            _ => Self::internal(refusal),
        }
    }
}

impl From<AutomationError> for Problem {
    fn from(error: AutomationError) -> Self {
        match error {
            AutomationError::NotFound(what) => Self::not_found(what),
            AutomationError::Invalid(detail) => Self::bad_request(detail),
            AutomationError::Unavailable { retry_after_ms, .. } => {
                Self::unavailable(error.to_string(), retry_after_ms)
            }
            AutomationError::Internal(inside) => Self::internal(inside),
        }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", error.to_string()),
            AdminError::Conflict(detail) => Self::conflict(detail),
            AdminError::Invalid(detail) => Self::bad_request(detail),
            AdminError::Unavailable { retry_after_ms } => {
                Self::unavailable(error.to_string(), retry_after_ms)
            }
            AdminError::Internal(inside) => Self::internal(inside),
        }
    }
}
