//! The control plane: one agent a node, which says who it is and takes what operators tell a node.
//!
//! The real one, [`ClusterControl`], is ractor_cluster over a raw stream of the control lane. ractor's registries are shared
//! by a whole process, so tests and simulations with many nodes in one use [`DirectControl`], which asks by plain calls.

mod cluster;
mod direct;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bincode::{Decode, Encode};
use jarvis_types::codec::{self, CodecError};
use jarvis_types::{NodeId, NodeName};

use crate::api::{CallError, Service};

pub use cluster::{ClusterControl, ControlStartError};
pub use direct::DirectControl;

/// The raw stream that carries ractor_cluster.
pub(crate) const CLUSTER_SERVICE: Service = Service(0x0102);

/// Requests and notices as plain calls and casts.
pub(crate) const DIRECT_SERVICE: Service = Service(0x0103);

/// Version of requests, replies and notices.
const VERSION: u8 = 1;

/// Longest log filter, in bytes.
const MAX_FILTER_BYTES: usize = 1_024;

/// What an agent can be asked. The order of the variants is a promise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentRequest {
    /// Who it is.
    WhoAreYou,
    /// To log by this filter from here on.
    SetLogLevel(String),
}

/// What it answers. The order of the variants is a promise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentReply {
    /// Who it is.
    Iam(AgentInfo),
    /// It is done.
    Done,
    /// It is not done, and why.
    Refused(String),
}

/// Who an agent is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct AgentInfo {
    /// Its node.
    pub node: NodeId,
    /// Its node's name.
    pub name: NodeName,
    /// The version of Jarvis it runs.
    pub version: String,
}

/// What all agents are told. The order of the variants is a promise.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum AgentNotice {
    /// The node that tells it begins or ends to drain.
    Draining(bool),
    /// Whatever is read from files should be read again.
    Reload,
}

/// What a node does when its agent is asked or told something. Both return at once.
pub trait AgentDuties: Send + Sync + 'static {
    /// Logs by `filter` from here on.
    ///
    /// # Errors
    /// What is wrong with the filter.
    fn set_log_level(&self, filter: &str) -> Result<(), String>;

    /// Takes a notice of another node.
    fn notice(&self, from: NodeId, notice: AgentNotice);
}

/// Why an agent did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Its node is not connected, or its agent is not there yet.
    #[error("the agent of node {0} is not there")]
    Absent(NodeId),
    /// It did not answer in time.
    #[error("the agent of node {0} did not answer in time")]
    Timeout(NodeId),
    /// What came back is not an answer.
    #[error("the agent of node {node} answered nonsense")]
    Malformed {
        /// The node.
        node: NodeId,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// The call failed.
    #[error("the agent of node {node} could not be asked")]
    Call {
        /// The node.
        node: NodeId,
        /// Why.
        #[source]
        source: CallError,
    },
}

/// Speaks with the other nodes' agents.
#[async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// Asks the agent of `node`.
    async fn ask(
        &self,
        node: NodeId,
        request: AgentRequest,
        timeout: Duration,
    ) -> Result<AgentReply, ControlError>;

    /// Tells all other agents that are there.
    fn tell_all(&self, notice: AgentNotice);

    /// The nodes whose agents are there, this one not among them.
    fn present(&self) -> Vec<NodeId>;
}

/// What an agent needs to answer.
#[derive(Clone)]
struct Agent {
    info: AgentInfo,
    duties: Arc<dyn AgentDuties>,
}

impl Agent {
    /// Answers bytes with bytes, whatever they are.
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let reply = match codec::decode::<AgentRequest>(VERSION, request) {
            Ok(AgentRequest::WhoAreYou) => AgentReply::Iam(self.info.clone()),
            Ok(AgentRequest::SetLogLevel(filter)) if filter.len() > MAX_FILTER_BYTES => {
                AgentReply::Refused(format!("a filter has at most {MAX_FILTER_BYTES} bytes"))
            }
            Ok(AgentRequest::SetLogLevel(filter)) => match self.duties.set_log_level(&filter) {
                Ok(()) => AgentReply::Done,
                Err(why) => AgentReply::Refused(why),
            },
            Err(error) => AgentReply::Refused(error.to_string()),
        };
        encode(&reply)
    }

    fn told(&self, notice: &[u8]) {
        match codec::decode::<(NodeId, AgentNotice)>(VERSION, notice) {
            Ok((from, notice)) => self.duties.notice(from, notice),
            Err(error) => tracing::warn!(%error, "a notice of another node is not readable"),
        }
    }
}

fn encode<T: Encode>(value: &T) -> Vec<u8> {
    codec::encode(VERSION, value).expect("requests, replies and notices are far below the codec's limit")
}

fn decode_reply(node: NodeId, bytes: &[u8]) -> Result<AgentReply, ControlError> {
    codec::decode(VERSION, bytes).map_err(|source| ControlError::Malformed { node, source })
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    struct NoDuties;

    impl AgentDuties for NoDuties {
        fn set_log_level(&self, filter: &str) -> Result<(), String> {
            if filter == "loud" {
                Err("no".to_owned())
            } else {
                Ok(())
            }
        }

        fn notice(&self, _: NodeId, _: AgentNotice) {
            panic!("hostile bytes are not a notice");
        }
    }

    #[test]
    fn agents_answer_whatever_comes() {
        let info = AgentInfo {
            node: NodeId(3),
            name: "attic".parse().unwrap(),
            version: "1".to_owned(),
        };
        let agent = Agent {
            info: info.clone(),
            duties: Arc::new(NoDuties),
        };
        let ask = |bytes: &[u8]| decode_reply(NodeId(3), &agent.answer(bytes)).unwrap();
        assert_eq!(ask(&encode(&AgentRequest::WhoAreYou)), AgentReply::Iam(info));
        assert_eq!(
            ask(&encode(&AgentRequest::SetLogLevel("info".to_owned()))),
            AgentReply::Done
        );
        for filter in ["loud".to_owned(), "x".repeat(MAX_FILTER_BYTES + 1)] {
            assert!(matches!(
                ask(&encode(&AgentRequest::SetLogLevel(filter))),
                AgentReply::Refused(_)
            ));
        }
        for hostile in [&[][..], &[9], &[1, 200], &[1, 1, 0xff, 0xff, 0xff]] {
            assert!(matches!(ask(hostile), AgentReply::Refused(_)), "{hostile:?}");
            agent.told(hostile);
        }
    }

    #[test]
    fn golden_bytes() {
        assert_eq!(encode(&AgentRequest::WhoAreYou), [1, 0]);
        assert_eq!(
            encode(&AgentRequest::SetLogLevel("a".to_owned())),
            [1, 1, 1, b'a']
        );
        assert_eq!(encode(&AgentReply::Done), [1, 1]);
        assert_eq!(encode(&(NodeId(7), AgentNotice::Draining(true))), [1, 7, 0, 1]);
        assert_eq!(encode(&(NodeId(7), AgentNotice::Reload)), [1, 7, 1]);
    }
}
