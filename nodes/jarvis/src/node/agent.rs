//! This node's agent in the control plane: says who it is, takes log filters and notices.

use std::sync::Arc;

use jarvis_mesh::api::Mesh;
use jarvis_mesh::control::{
    AgentDuties, AgentNotice, ClusterControl, ControlPlane, ControlStartError, DirectControl,
};
use jarvis_types::NodeId;

use super::protocol::BUILD;
use super::{NodeConfig, ProcessWide};

/// Starts the agent: by ractor_cluster in a process that is one node, by plain calls where many share one.
pub(super) async fn start(
    mesh: &Mesh,
    config: &NodeConfig,
    process: Option<ProcessWide>,
) -> Result<Arc<dyn ControlPlane>, ControlStartError> {
    let (name, version) = (config.name.clone(), BUILD.to_owned());
    let alone = process.is_some();
    let duties = Arc::new(Duties { process });
    if !alone {
        return Ok(Arc::new(DirectControl::start(mesh, name, version, duties)));
    }
    mesh.probe_silent_peers();
    let control = ClusterControl::start(mesh, name, version, duties).await?;
    Ok(Arc::new(control))
}

struct Duties {
    process: Option<ProcessWide>,
}

impl AgentDuties for Duties {
    fn set_log_level(&self, filter: &str) -> Result<(), String> {
        let process = self
            .process
            .as_ref()
            .ok_or("this node shares its process, and so its log, with others")?;
        process
            .logs
            .set_filter(filter)
            .map_err(|error| error.to_string())?;
        tracing::info!(filter, "the log filter was changed");
        Ok(())
    }

    fn notice(&self, from: NodeId, notice: AgentNotice) {
        match notice {
            AgentNotice::Draining(draining) => {
                tracing::info!(node = %from, draining, "a node tells of its drain")
            }
            AgentNotice::Reload => {
                tracing::info!(node = %from, "told to read files again; there are none that change")
            }
        }
    }
}
