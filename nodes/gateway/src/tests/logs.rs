//! What an operator finds in the log: failures at INFO, under the request's id, and nothing of what went well.

use std::io::Write;
use std::sync::Mutex;

use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Everything that was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("not poisoned"));
        let text = String::from_utf8(bytes).expect("is text");
        text.lines().map(str::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn failures_are_logged_once_under_their_requests_id_and_the_rest_is_quiet() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let rig = rig().await;
    log.take();
    let (mut client, session) = rig.chat(ADA).await;
    client.say("m1", "x").await;
    client.is_said(1, "m1").await;
    let (path, bearer) = (
        format!("/api/v1/sessions/{session}/messages"),
        format!("Bearer {ADA}"),
    );
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-request-id", "from-outside"),
    ];
    let body = r#"{"id":"m2","text":"x"}"#;
    assert_eq!(rig.request("POST", &path, &headers, body).await.status, 200);
    rig.request("GET", "/api/v1/nothing", &headers, "")
        .await
        .is_problem(404, "not_found");
    assert_eq!(log.take(), [""; 0]);

    rig.set_unavailable(true);
    let body = r#"{"id":"m3","text":"x"}"#;
    rig.request("POST", &path, &headers, body)
        .await
        .is_problem(503, "unavailable");
    let lines = log.take();
    assert!(
        lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("request_id=from-outside"),
        "{lines:?}"
    );
    client.is_said(2, "m2").await;
    client.say("m3", "x").await;
    client.is_error("unavailable").await;
    let lines = log.take();
    assert!(
        lines.len() == 1 && lines[0].contains("INFO") && lines[0].contains("operation{request_id="),
        "{lines:?}"
    );
}
