//! Actions.

mod call;
mod control;

use super::limits;
use super::reader::{Fields, Read, Reader, nearest, shorten};
use crate::model::{Action, ActionKind};
use crate::yaml::Node;

/// What every action may have.
const COMMON: [&str; 3] = ["alias", "enabled", "continue_on_error"];

/// The keys that say what an action is.
const KEYS: [&str; 16] = [
    "action",
    "service",
    "delay",
    "wait_template",
    "wait_for_trigger",
    "choose",
    "if",
    "repeat",
    "parallel",
    "sequence",
    "variables",
    "stop",
    "event",
    "condition",
    "scene",
    "data",
];

impl Reader<'_> {
    /// A list of actions, or one.
    pub(super) fn actions(&mut self, node: &Node) -> Read<Vec<Action>> {
        self.each(node, limits::ACTIONS, "actions", Self::action)
    }

    /// One action, which may be a condition.
    fn action(&mut self, node: &Node) -> Read<Action> {
        self.actions += 1;
        self.nesting += 1;
        let read = if self.actions > limits::ACTIONS {
            let what = format!("the automation has more than {} actions", limits::ACTIONS);
            Err(self.wrong(node.position, what, "make several automations of it"))
        } else if self.nesting > limits::NESTING {
            let what = format!("this stands deeper in others than {}", limits::NESTING);
            Err(self.wrong(node.position, what, "make several automations of it"))
        } else {
            self.action_within(node)
        };
        self.nesting -= 1;
        read
    }

    fn action_within(&mut self, node: &Node) -> Read<Action> {
        if node.scalar().is_some_and(|scalar| !scalar.is_null()) {
            let condition = self.condition(node)?;
            return Ok(Action {
                alias: None,
                enabled: true,
                continue_on_error: false,
                position: node.position,
                kind: ActionKind::Condition(condition),
            });
        }
        let entries = self.entries(node, "an action")?;
        let has = |key: &str| entries.iter().any(|entry| entry.key == key);
        if has("condition") || has("and") || has("or") || has("not") {
            let condition = self.condition(node)?;
            return Ok(Action {
                alias: condition.alias.clone(),
                enabled: condition.enabled,
                continue_on_error: false,
                position: node.position,
                kind: ActionKind::Condition(condition),
            });
        }
        let (fields, kind) = if has("delay") {
            let fields = self.of_action(node, "a `delay`", &["delay"])?;
            let delay = fields.must(self, "delay", "\"00:00:30\"")?;
            (
                fields,
                ActionKind::Delay(self.below("delay", |reader| reader.span(delay))?),
            )
        } else if has("wait_template") {
            self.wait_template(node)?
        } else if has("wait_for_trigger") {
            self.wait_for_trigger(node)?
        } else if has("choose") {
            self.choose(node)?
        } else if has("if") {
            self.if_then(node)?
        } else if has("repeat") {
            self.repeat(node)?
        } else if has("parallel") {
            self.parallel(node)?
        } else if has("event") {
            self.event(node)?
        } else if has("stop") {
            self.stop(node)?
        } else if has("scene") {
            self.scene(node)?
        } else if has("action") || has("service") || has("service_template") || has("action_template") {
            self.call(node)?
        } else if has("sequence") {
            let fields = self.of_action(node, "a `sequence`", &["sequence"])?;
            let actions = fields.must(self, "sequence", "")?;
            let actions = self.below("sequence", |reader| reader.actions(actions))?;
            (fields, ActionKind::Sequence(actions))
        } else if has("variables") {
            let fields = self.of_action(node, "`variables`", &["variables"])?;
            let variables = fields.must(self, "variables", "")?;
            let variables = self.below("variables", |reader| reader.variables(variables))?;
            (fields, ActionKind::Variables(variables))
        } else {
            return Err(self.no_action(node));
        };
        Ok(Action {
            alias: fields.read(self, "alias", Self::alias)?,
            enabled: fields.read(self, "enabled", Self::truth)?.unwrap_or(true),
            continue_on_error: fields
                .read(self, "continue_on_error", Self::truth)?
                .unwrap_or(false),
            position: node.position,
            kind,
        })
    }

    fn no_action(&mut self, node: &Node) -> super::reader::Told {
        for (key, what, instead) in [
            (
                "device_id",
                "device actions are not supported",
                "write a call: `action: light.turn_on` with a `target`",
            ),
            (
                "set_conversation_response",
                "`set_conversation_response` is not supported",
                "write `action: jarvis.say` with a `message`",
            ),
            (
                "type",
                "device actions are not supported",
                "write a call: `action: light.turn_on`",
            ),
        ] {
            if let Some(found) = node.get(key) {
                return self.wrong(found.position, what, instead);
            }
        }
        let unknown = node
            .mapping()
            .unwrap_or_default()
            .iter()
            .find(|entry| !COMMON.contains(&entry.key.as_str()));
        match unknown {
            Some(entry) => {
                let what = format!("there is no action `{}`", shorten(&entry.key));
                self.wrong(entry.position, what, nearest(&entry.key, KEYS.into_iter()))
            }
            None => self.wrong(
                node.position,
                "nothing is to be done here",
                "write `action: light.turn_on`",
            ),
        }
    }

    fn of_action<'n>(&mut self, node: &'n Node, what: &str, own: &[&str]) -> Read<Fields<'n>> {
        let known: Vec<&str> = COMMON.iter().chain(own).copied().collect();
        self.fields(node, what, &known)
    }

    fn variable(&mut self, node: &Node) -> Read<String> {
        self.plain(node, "the name of a variable")
    }
}
