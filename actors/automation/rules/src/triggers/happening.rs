//! What happens in a home that may trigger something.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::facts::EntityState;
use crate::run::Context;

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// A message came.
    Mqtt {
        /// Its topic.
        topic: String,
        /// As it came. What is not UTF-8 triggers nothing, as in Home Assistant.
        payload: Vec<u8>,
        /// Its quality of service.
        qos: u8,
        /// Whether the broker had kept it.
        retain: bool,
    },
    /// An entity's state or attributes changed. The facts know the new ones already.
    State {
        /// Which.
        entity: String,
        /// Before; none: it is new.
        old: Option<Arc<EntityState>>,
        /// Now; none: it is gone.
        new: Option<Arc<EntityState>>,
    },
    /// An event was sent.
    Event {
        /// Its type.
        event_type: String,
        /// What goes with it.
        data: Map<String, Value>,
        /// When it was sent, Unix milliseconds.
        at_ms: i64,
        /// What led to it.
        context: Context,
    },
    /// An HTTP request came for a webhook.
    Webhook {
        /// Its secret name.
        id: String,
        /// Upper case.
        method: String,
        /// From this machine or a private network.
        local: bool,
        /// The body, if it was JSON.
        json: Option<Value>,
        /// The body, if it was a form.
        data: Map<String, Value>,
        /// The query.
        query: Map<String, Value>,
    },
    /// Automations are loaded and states known, for the first time since the whole cluster was up.
    Start,
    /// The last node goes in order.
    Shutdown,
    /// A node no longer answers.
    NodeDown {
        /// Its name.
        node: String,
    },
    /// A node answers again.
    NodeUp {
        /// Its name.
        node: String,
    },
    /// A drill has ended.
    Drill {
        /// Its name.
        name: String,
        /// Whether all held that should.
        passed: bool,
    },
    /// A chat session asks for something.
    Intent {
        /// What.
        name: String,
        /// What was understood of it.
        slots: Map<String, Value>,
        /// Who asks.
        session: String,
    },
}
