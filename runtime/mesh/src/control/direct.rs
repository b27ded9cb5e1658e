//! The control plane by plain calls on the control lane.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jarvis_types::{NodeId, NodeName};

use super::{
    Agent, AgentDuties, AgentInfo, AgentNotice, AgentReply, AgentRequest, ControlError, ControlPlane,
    DIRECT_SERVICE, decode_reply, encode,
};
use crate::api::{Call, CallError, Lane, Mesh, PeerState};

/// A control plane without ractor: for many nodes in one process.
pub struct DirectControl {
    mesh: Mesh,
}

/// Marks a cast in front of a notice, so that a call cannot be taken for one.
const REQUEST: u8 = 0;
const NOTICE: u8 = 1;

impl DirectControl {
    /// Answers for this node, and speaks with the others.
    pub fn start(mesh: &Mesh, name: NodeName, version: String, duties: Arc<dyn AgentDuties>) -> Self {
        let agent = Agent {
            info: AgentInfo {
                node: mesh.node(),
                name,
                version,
            },
            duties,
        };
        let handler = move |call: Call| match call.body.split_first() {
            Some((&REQUEST, request)) => {
                let reply = agent.answer(request);
                call.answer.send(reply.into());
            }
            Some((&NOTICE, notice)) => agent.told(notice),
            _ => call.answer.refuse("not a request"),
        };
        mesh.serve(DIRECT_SERVICE, Arc::new(handler));
        Self { mesh: mesh.clone() }
    }
}

fn marked(mark: u8, mut rest: Vec<u8>) -> Bytes {
    rest.insert(0, mark);
    rest.into()
}

#[async_trait]
impl ControlPlane for DirectControl {
    async fn ask(
        &self,
        node: NodeId,
        request: AgentRequest,
        timeout: Duration,
    ) -> Result<AgentReply, ControlError> {
        let body = marked(REQUEST, encode(&request));
        match self
            .mesh
            .call(node, Lane::Control, DIRECT_SERVICE, 0, body, timeout)
            .await
        {
            Ok(reply) => decode_reply(node, &reply),
            Err(CallError::NotConnected(_)) => Err(ControlError::Absent(node)),
            Err(CallError::Timeout { .. }) => Err(ControlError::Timeout(node)),
            Err(source) => Err(ControlError::Call { node, source }),
        }
    }

    fn tell_all(&self, notice: AgentNotice) {
        let body = marked(NOTICE, encode(&(self.mesh.node(), notice)));
        for node in self.present() {
            if let Err(error) = self
                .mesh
                .cast(node, Lane::Control, DIRECT_SERVICE, 0, body.clone())
            {
                tracing::debug!(peer = %node, %error, "a notice was not sent");
            }
        }
    }

    fn present(&self) -> Vec<NodeId> {
        let peers = self.mesh.peers();
        let peers = peers.borrow();
        peers
            .iter()
            .filter(|p| p.state == PeerState::Up)
            .map(|p| p.member.node)
            .collect()
    }
}
