//! A home: nodes of `init` and `join`, killed and started at will.

use std::path::PathBuf;

use jarvis_client::Api;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::common::{self, Running, eventually, free_port, jarvis, jarvis_with, stderr};

/// A node: where it is and, while it runs, its process.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) data: PathBuf,
    pub(crate) url: String,
    pub(crate) running: Option<Running>,
}

/// Nodes of one cluster, in the order in which they joined. They end with the test.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) members: Vec<Member>,
}

/// One JSON document of a command that succeeds.
#[track_caller]
pub(crate) fn document(args: &[&str]) -> Value {
    let output = jarvis(args);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("one document")
}

impl Home {
    /// The first node is a voter; these roles join it, and all are up.
    pub(crate) fn of(roles: &[&str]) -> Self {
        let mut home = Self {
            folder: tempfile::tempdir().expect("a folder"),
            members: Vec::new(),
        };
        let first = home.place("one");
        let args = ["init", "--name", "one", "--listen", &first.1, "--data", &first.0];
        let made = jarvis(&args);
        assert!(made.status.success(), "{}", stderr(&made));
        home.start(0);
        for (role, name) in roles.iter().zip(["two", "three", "four", "five"]) {
            home.join(0, role, name);
        }
        home
    }

    /// A further member, invited by another; waits until that one sees it up.
    pub(crate) fn join(&mut self, by: usize, role: &str, name: &str) -> usize {
        let token = self.invite(by, role);
        let (data, listen) = self.place(name);
        let joined = jarvis(&[
            "join", &token, "--name", name, "--listen", &listen, "--data", &data,
        ]);
        assert!(joined.status.success(), "{}", stderr(&joined));
        let index = self.members.len() - 1;
        self.start(index);
        self.until(by, "the new member is up", |status| {
            node(status, name).is_some_and(|node| node["state"] == "up")
        });
        index
    }

    /// The token of an invitation by a member.
    pub(crate) fn invite(&self, by: usize, role: &str) -> String {
        let invited = eventually("an invitation", || {
            let inviter = self.members[by].data.to_str().expect("text");
            let output = jarvis(&["invite", "--json", "--role", role, "--data", inviter]);
            output
                .status
                .success()
                .then(|| serde_json::from_slice::<Value>(&output.stdout).expect("one document"))
        });
        invited["token"].as_str().expect("a token").to_owned()
    }

    fn place(&mut self, name: &str) -> (String, String) {
        let data = self.folder.path().join(name);
        let listen = format!("127.0.0.1:{}", free_port());
        let text = data.to_str().expect("text").to_owned();
        self.members.push(Member {
            name: name.to_owned(),
            data,
            url: format!("http://{listen}"),
            running: None,
        });
        (text, listen)
    }

    /// Starts a node's process.
    pub(crate) fn start(&mut self, index: usize) {
        self.members[index].running = Some(Running::start(&self.members[index].data));
    }

    /// Kills a node's process where it stands.
    pub(crate) fn kill(&mut self, index: usize) {
        self.members[index].running = None;
    }

    /// Sends a signal to a node's process.
    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        let running = self.members[index].running.as_ref().expect("it runs");
        let pid = i32::try_from(running.pid()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process id"), signal).expect("it runs");
    }

    pub(crate) fn data(&self, index: usize) -> &str {
        self.members[index].data.to_str().expect("text")
    }

    /// The node's API, with its own credential.
    pub(crate) fn api(&self, index: usize) -> Api {
        Api::new(&self.members[index].url, Some(self.token(index))).expect("a URL")
    }

    /// The node's own credential.
    pub(crate) fn token(&self, index: usize) -> String {
        let token = std::fs::read_to_string(self.members[index].data.join("admin.token"));
        token.expect("readable").trim().to_owned()
    }

    /// `GET` of a path, with its status.
    pub(crate) fn get(&self, index: usize, path: &str) -> (u16, String) {
        let api = self.api(index);
        let timeout = std::time::Duration::from_secs(5);
        block_on(async move {
            let (status, body) = api
                .raw(Method::GET, path, None, timeout)
                .await
                .expect("it answers");
            (status.as_u16(), body)
        })
    }

    /// `POST` of a path, with its status.
    pub(crate) fn post(&self, index: usize, path: &str, body: Value) -> (u16, String) {
        let api = self.api(index);
        let timeout = std::time::Duration::from_secs(10);
        block_on(async move {
            let (status, body) = api
                .raw(Method::POST, path, Some(body), timeout)
                .await
                .expect("it answers");
            (status.as_u16(), body)
        })
    }

    /// What a node says of the cluster.
    pub(crate) fn status(&self, index: usize) -> Value {
        document(&["status", "--json", "--data", self.data(index)])
    }

    /// Waits until a node says so.
    #[track_caller]
    pub(crate) fn until(&self, index: usize, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || {
            let output = jarvis(&["status", "--json", "--data", self.data(index)]);
            let status: Value = serde_json::from_slice(&output.stdout).ok()?;
            wanted(&status).then_some(status)
        })
    }

    /// Says something and gives the session.
    pub(crate) fn chat(&self, index: usize, session: Option<&str>, text: &str) -> String {
        let mut args = vec!["chat", "--json", "--data", self.data(index)];
        if let Some(session) = session {
            args.extend(["--session", session]);
        }
        let output = jarvis_with(&args, &format!("{text}\n"));
        assert!(output.status.success(), "{}", stderr(&output));
        let said: Value = serde_json::from_slice(&output.stdout).expect("one document");
        said["session"].as_str().expect("a session").to_owned()
    }

    /// The texts of a session, as a node serves them.
    pub(crate) fn texts(&self, index: usize, session: &str) -> Vec<String> {
        let (status, body) = self.get(index, &format!("/api/v1/sessions/{session}/messages"));
        assert_eq!(status, 200, "{body}");
        let page: Value = serde_json::from_str(&body).expect("JSON");
        let messages = page["messages"].as_array().expect("messages");
        messages
            .iter()
            .map(|message| message["text"].as_str().expect("text").to_owned())
            .collect()
    }

    /// Tries to say something without a socket: the status and the body.
    pub(crate) fn say(&self, index: usize, session: &str, id: &str) -> (u16, String) {
        let path = format!("/api/v1/sessions/{session}/messages");
        self.post(index, &path, json!({"id": id, "text": format!("text of {id}")}))
    }
}

/// The row of a node by its name.
pub(crate) fn node<'s>(status: &'s Value, name: &str) -> Option<&'s Value> {
    status["nodes"]
        .as_array()?
        .iter()
        .find(|node| node["name"] == name)
}

/// Everything that `status` calls degraded, as one text.
pub(crate) fn degraded(status: &Value) -> String {
    let problems = status["degraded"].as_array().cloned().unwrap_or_default();
    let lines = problems.iter().map(|problem| {
        format!(
            "{}: {}\n",
            problem["what"].as_str().unwrap_or_default(),
            problem["do"].as_str().unwrap_or_default()
        )
    });
    lines.collect()
}

/// Runs it on a runtime of its own.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// What a command that fails says.
#[track_caller]
pub(crate) fn refused(args: &[&str]) -> (String, String) {
    let output = jarvis(args);
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    (common::stdout(&output), stderr(&output))
}
