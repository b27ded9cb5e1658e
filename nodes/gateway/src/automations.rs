//! What the gateway needs of automations, as one trait, so that its tests can do without a cluster.
//!
//! ```text
//!  http/automations, http/home, http/webhook ──► dyn AutomationBackend ──► Automations
//!                                                             └──────────► a fake in tests
//! ```

use std::time::Duration;

use async_trait::async_trait;
use jarvis_automation::api::{LoadReport, Shown, Summary};
use jarvis_automation::wire::{BridgeStatus, Reminder, StateOf, Told};
use jarvis_automation::{AutomationError, Automations};
use jarvis_devices::service::Target;
use jarvis_mqtt::DeadLetter;
use jarvis_rules::facts::Facts;
use jarvis_rules::run::{Run, RunId};
use jarvis_types::RequestId;
use serde_json::{Map, Value};

/// Entities meant by a call but not reached, each with the reason.
pub type PassedOver = Vec<(String, String)>;

/// Automations, states and the bridge, as one node sees them. Everything is as [`Automations`] has it.
#[async_trait]
pub trait AutomationBackend: Send + Sync + 'static {
    /// As [`Automations::list`].
    fn list(&self) -> Result<Vec<Summary>, AutomationError>;
    /// As [`Automations::show`].
    fn show(&self, id: &str) -> Result<Shown, AutomationError>;
    /// As [`Automations::traces`].
    fn traces(&self, id: &str) -> Result<Vec<Run>, AutomationError>;
    /// As [`Automations::load`]: names and texts of files.
    async fn load(
        &self,
        files: &[(String, String)],
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<LoadReport, AutomationError>;
    /// As [`Automations::remove`].
    async fn remove(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError>;
    /// As [`Automations::enable`].
    async fn enable(
        &self,
        id: &str,
        on: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError>;
    /// As [`Automations::trigger`]; with a run's id as [`Automations::trigger_as`].
    async fn trigger(
        &self,
        id: &str,
        run: Option<RunId>,
        variables: Map<String, Value>,
        skip_conditions: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<RunId, AutomationError>;
    /// All entities with their states, by id.
    fn states(&self) -> Result<Vec<StateOf>, AutomationError>;
    /// One entity with its state.
    fn state(&self, entity_id: &str) -> Result<Option<StateOf>, AutomationError>;
    /// As [`Automations::call`].
    async fn call(
        &self,
        id: String,
        service: &str,
        target: Target,
        data: Map<String, Value>,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<PassedOver, AutomationError>;
    /// As [`Automations::tell`].
    async fn tell(
        &self,
        told: Told,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError>;
    /// As [`Automations::knows_webhook`].
    fn knows_webhook(&self, id: &str) -> Result<bool, AutomationError>;
    /// As [`Automations::bridge`].
    async fn bridge(&self, deadline: Duration) -> Result<BridgeStatus, AutomationError>;
    /// As [`Automations::dead_letters`].
    fn dead_letters(&self) -> Result<Vec<DeadLetter>, AutomationError>;
    /// As [`Automations::replay`].
    async fn replay(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError>;
    /// As [`Automations::forget`].
    async fn forget(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError>;
    /// Reminders that wait, by id.
    fn reminders(&self) -> Result<Vec<Reminder>, AutomationError>;
    /// As [`Automations::cancel_reminder`].
    async fn cancel_reminder(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError>;
}

#[async_trait]
impl AutomationBackend for Automations {
    fn list(&self) -> Result<Vec<Summary>, AutomationError> {
        Self::list(self)
    }
    fn show(&self, id: &str) -> Result<Shown, AutomationError> {
        Self::show(self, id)
    }
    fn traces(&self, id: &str) -> Result<Vec<Run>, AutomationError> {
        Self::traces(self, id)
    }
    async fn load(
        &self,
        files: &[(String, String)],
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<LoadReport, AutomationError> {
        Box::pin(Self::load(self, files, request, deadline)).await
    }
    async fn remove(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        Self::remove(self, id, request, deadline).await
    }
    async fn enable(
        &self,
        id: &str,
        on: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        Self::enable(self, id, on, request, deadline).await
    }
    async fn trigger(
        &self,
        id: &str,
        run: Option<RunId>,
        variables: Map<String, Value>,
        skip_conditions: bool,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<RunId, AutomationError> {
        let Some(run) = run else {
            return Self::trigger(self, id, variables, skip_conditions, request, deadline).await;
        };
        self.trigger_as(id, run.clone(), variables, skip_conditions, request, deadline)
            .await?;
        Ok(run)
    }
    fn states(&self) -> Result<Vec<StateOf>, AutomationError> {
        let all = self.view()?.entities(None).into_iter();
        Ok(all
            .map(|(entity_id, state)| StateOf {
                entity_id,
                state: state.as_ref().clone(),
            })
            .collect())
    }
    fn state(&self, entity_id: &str) -> Result<Option<StateOf>, AutomationError> {
        Ok(self.view()?.entity(entity_id).map(|state| StateOf {
            entity_id: entity_id.to_owned(),
            state: state.as_ref().clone(),
        }))
    }
    async fn call(
        &self,
        id: String,
        service: &str,
        target: Target,
        data: Map<String, Value>,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<PassedOver, AutomationError> {
        Self::call(self, id, service, target, data, request, deadline).await
    }
    async fn tell(
        &self,
        told: Told,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        Self::tell(self, told, request, deadline).await
    }
    fn knows_webhook(&self, id: &str) -> Result<bool, AutomationError> {
        Self::knows_webhook(self, id)
    }
    async fn bridge(&self, deadline: Duration) -> Result<BridgeStatus, AutomationError> {
        Self::bridge(self, deadline).await
    }
    fn dead_letters(&self) -> Result<Vec<DeadLetter>, AutomationError> {
        Self::dead_letters(self)
    }
    async fn replay(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError> {
        Self::replay(self, letter, deadline).await
    }
    async fn forget(&self, letter: &str, deadline: Duration) -> Result<(), AutomationError> {
        Self::forget(self, letter, deadline).await
    }
    fn reminders(&self) -> Result<Vec<Reminder>, AutomationError> {
        Ok(self.seen()?.reminders.values().cloned().collect())
    }
    async fn cancel_reminder(
        &self,
        id: &str,
        request: Option<RequestId>,
        deadline: Duration,
    ) -> Result<(), AutomationError> {
        Self::cancel_reminder(self, id, request, deadline).await
    }
}
