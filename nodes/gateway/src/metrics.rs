//! The gateway's metrics. The names without `jarvis_` are those that operators already chart.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

/// Says what each metric means. Repeating it changes nothing.
pub(crate) fn describe() {
    describe_gauge!("ws_active_connections", "Chat sockets open on this node.");
    describe_counter!("ws_connections_total", "Chat sockets opened since the start.");
    describe_counter!("chat_requests_total", "Messages said, by what became of them.");
    describe_counter!(
        "rate_limit_hits_total",
        "Requests refused by a rate limit, by limit."
    );
    describe_histogram!(
        "service_response_seconds",
        Unit::Seconds,
        "HTTP answers, by path template and status."
    );
    describe_gauge!(
        "service_health_status",
        "1 while this node is ready to serve, else 0."
    );
    describe_gauge!("jarvis_gateway_connections", "TCP connections open on this node.");
    describe_counter!(
        "jarvis_gateway_connections_refused_total",
        "TCP connections refused: too many were open."
    );
}

/// Counts a message.
pub(crate) fn chat_request(outcome: &'static str) {
    counter!("chat_requests_total", "outcome" => outcome).increment(1);
}

/// Counts a refusal.
pub(crate) fn rate_limit_hit(limit: &'static str) {
    counter!("rate_limit_hits_total", "limit" => limit).increment(1);
}

/// Times an answer.
pub(crate) fn response(path_template: &str, status: u16, took: Duration) {
    let labels = [
        ("path_template", path_template.to_owned()),
        ("status", status.to_string()),
    ];
    histogram!("service_response_seconds", &labels).record(took.as_secs_f64());
}

/// Shows whether the node is ready.
pub(crate) fn health(ready: bool) {
    gauge!("service_health_status").set(if ready { 1.0 } else { 0.0 });
}

/// Counts one more while it lives.
pub(crate) struct Gauged(&'static str);

impl Gauged {
    /// A chat socket.
    pub(crate) fn socket() -> Self {
        counter!("ws_connections_total").increment(1);
        Self::new("ws_active_connections")
    }

    /// A TCP connection.
    pub(crate) fn connection() -> Self {
        Self::new("jarvis_gateway_connections")
    }

    fn new(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// Counts a connection that was not taken.
pub(crate) fn connection_refused() {
    counter!("jarvis_gateway_connections_refused_total").increment(1);
}
