//! How a client command finds a node: `--server`, or the node or cluster whose data is on this machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jarvis_client::{Api, ApiError};
use reqwest::Method;
use serde_json::Value;

use crate::cli::args::Target;
use crate::data::{DataError, DataFolder};
use crate::fail::Failure;
use crate::places::{UP_FOLDER, data_folder};
use crate::up::UpState;

/// Deadline of a call unless it says otherwise.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Nodes that may be asked, each with a credential that it takes.
#[derive(Debug)]
pub struct Nodes {
    apis: Vec<Api>,
    /// A credential that every node takes, where there is one.
    shared_token: Option<String>,
}

impl Nodes {
    /// The nodes of `target`.
    ///
    /// # Errors
    /// Where there is none, none runs, or its credential cannot be read.
    pub fn find(target: &Target) -> Result<Self, Failure> {
        match &target.server {
            Some(server) => {
                let api = Api::new(server, target.token.clone())
                    .map_err(|e| Failure::new("the node's address cannot be used", e).usage())?;
                Ok(Self {
                    apis: vec![api],
                    shared_token: target.token.clone(),
                })
            }
            None => Self::local(&data_folder(target.data.data.as_deref()), target.token.as_deref()),
        }
    }

    fn local(folder: &Path, token: Option<&str>) -> Result<Self, Failure> {
        let what = "no node of this machine was found";
        if let Some(state) = up_state(folder)? {
            let apis = state.nodes.iter().filter_map(|node| {
                let data = DataFolder::new(&node.data);
                let url = data.running_at().ok().flatten()?;
                let own = data.admin_token().ok().flatten();
                Api::new(&url, token.map(str::to_owned).or(own)).ok()
            });
            let shared_token = token.map(str::to_owned).or(state.token.clone());
            let nodes = Self {
                apis: apis.collect(),
                shared_token,
            };
            if nodes.apis.is_empty() {
                let why = format!("none of the nodes of {} runs", folder.display());
                return Err(Failure::new(what, why).next("start them: jarvis up"));
            }
            return Ok(nodes);
        }
        let data = DataFolder::new(folder);
        let identity = data.identity().map_err(|e| e.failure(what))?;
        let Some(identity) = identity else {
            let error = DataError::NotAMember {
                path: folder.to_owned(),
            };
            return Err(error.failure(what));
        };
        let Some(url) = data.running_at().map_err(|e| e.failure(what))? else {
            let why = format!("node {} does not run", identity.name);
            let next = format!("start it: jarvis run --data {}", folder.display());
            return Err(Failure::new("the node cannot be asked", why).next(next));
        };
        let own = data
            .admin_token()
            .map_err(|e| e.failure("the node's local credential cannot be read"))?;
        let api = Api::new(&url, token.map(str::to_owned).or(own))
            .map_err(|e| Failure::new("the node's address cannot be used", e))?;
        Ok(Self {
            apis: vec![api],
            shared_token: token.map(str::to_owned),
        })
    }

    /// The nodes' APIs, in the order in which they are asked.
    pub fn apis(&self) -> &[Api] {
        &self.apis
    }

    /// A credential that every node takes, where one is at hand.
    pub fn shared_token(&self) -> Option<&str> {
        self.shared_token.as_deref()
    }

    /// Reads a path.
    ///
    /// # Errors
    /// As [`Nodes::call`].
    pub async fn get(&self, what: &str, path: &str) -> Result<Value, Failure> {
        self.call(what, Method::GET, path, None, CALL_TIMEOUT).await
    }

    /// Asks the nodes in turn until one answers.
    ///
    /// # Errors
    /// `what` failed: nobody answered, or the answer was a refusal.
    pub async fn call(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let answer = self.call_or_refusal(what, method, path, body, timeout).await?;
        answer.map_err(|(failure, _)| failure)
    }

    /// As [`Nodes::call`]; a refusal comes with its document, for what that says besides.
    ///
    /// # Errors
    /// Nobody answered.
    pub async fn call_or_refusal(
        &self,
        what: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        timeout: Duration,
    ) -> Result<Result<Value, (Failure, Value)>, Failure> {
        let mut failed = Vec::new();
        for api in &self.apis {
            match api.call(method.clone(), path, body.clone(), timeout).await {
                Ok(document) => return Ok(Ok(document)),
                Err(error @ ApiError::Unreachable { .. }) => failed.push(error.to_string()),
                Err(error) => {
                    let failure = refused(what, &error);
                    let document = match error {
                        ApiError::Refused { document, .. } => *document,
                        _ => Value::Null,
                    };
                    return Ok(Err((failure, document)));
                }
            }
        }
        Err(Failure::new(what, failed.join("\n"))
            .next("see whether the node runs, and whether the address is right"))
    }
}

/// A refusal, with what to do about it.
pub fn refused(what: &str, error: &ApiError) -> Failure {
    let failure = Failure::new(what, error);
    match error.status() {
        Some(401) => {
            failure.next("give a valid token with --token; an administrator makes one: jarvis token create")
        }
        Some(403) => failure.next("this needs an administrator's token"),
        Some(429 | 503) => failure.next("try again in a moment"),
        _ => failure,
    }
}

/// The state of `jarvis up` in `folder` or below it; none where a single node lives there, or nothing does.
///
/// # Errors
/// Where the state is there but not readable.
pub fn up_state(folder: &Path) -> Result<Option<UpState>, Failure> {
    let places: [PathBuf; 2] = [folder.to_owned(), folder.join(UP_FOLDER)];
    if folder.join("node.toml").exists() {
        return Ok(None);
    }
    for place in places {
        match UpState::load(&place) {
            Ok(Some(state)) => return Ok(Some(state)),
            Ok(None) => {}
            Err(error) => {
                let path = UpState::path(&place);
                return Err(Failure::new(format!("{} cannot be read", path.display()), error)
                    .next("run as the user who started it; if it is damaged: jarvis up"));
            }
        }
    }
    Ok(None)
}
