//! Templates: rendered again when something that they read has changed.

use std::sync::Arc;

use serde_json::Value;

use super::holds::Beginning;
use super::states::Changed;
use super::{Look, RuleId, Watch, insert, remove};
use crate::model::TriggerKind;
use crate::template::{Depends, truthy};
use crate::triggers::Change;

impl Watch {
    /// What a template comes to at the beginning, which fires nothing.
    pub(super) fn first_truth(&mut self, id: RuleId, look: &Look<'_>) {
        if let Some(Ok(truth)) = self.evaluate(id, look)
            && let Some(rule) = self.rules.get_mut(&id)
        {
            rule.truth = truth;
        }
    }

    /// Renders a trigger's template and remembers what it read. None: it is of another kind.
    fn evaluate(&mut self, id: RuleId, look: &Look<'_>) -> Option<Result<bool, String>> {
        let rule = self.rules.get(&id)?;
        let TriggerKind::Template { template, .. } = &rule.trigger.kind else {
            return None;
        };
        let rendered = look
            .templates
            .render(&template.0, Arc::clone(look.facts), &rule.variables);
        match rendered {
            Ok(rendered) => {
                self.reread(id, rendered.depends);
                if self.minute.is_none() {
                    self.minute = Some(super::clocks::minute_of(look.facts.now_ms()));
                }
                Some(Ok(truthy(&rendered.value)))
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }

    fn reread(&mut self, id: RuleId, depends: Depends) {
        let Some(rule) = self.rules.get_mut(&id) else {
            return;
        };
        if rule.depends == depends {
            return;
        }
        let before = std::mem::replace(&mut rule.depends, depends.clone());
        self.unread(id, &before);
        for name in &depends.entities {
            insert(&mut self.read_entities, name, id);
        }
        for name in &depends.domains {
            insert(&mut self.read_domains, name, id);
        }
        if depends.all {
            self.read_all.insert(id);
        }
        if depends.now {
            self.read_now.insert(id);
        }
    }

    pub(super) fn unread(&mut self, id: RuleId, depends: &Depends) {
        for name in &depends.entities {
            remove(&mut self.read_entities, name, id);
        }
        for name in &depends.domains {
            remove(&mut self.read_domains, name, id);
        }
        self.read_all.remove(&id);
        self.read_now.remove(&id);
    }

    /// The templates that may have changed with an entity.
    pub(super) fn readers(&self, entity: &str) -> Vec<RuleId> {
        let domain = entity.split_once('.').map_or("", |(domain, _)| domain);
        let mut readers = super::found(&self.read_entities, entity);
        readers.extend(super::found(&self.read_domains, domain));
        readers.extend(&self.read_all);
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// Looks at a template again.
    pub(super) fn look_again(
        &mut self,
        id: RuleId,
        change: Option<Changed<'_>>,
        look: &Look<'_>,
        changes: &mut Vec<Change>,
    ) {
        let truth = match self.evaluate(id, look) {
            None => return,
            Some(Ok(truth)) => truth,
            Some(Err(error)) => {
                changes.push(Change::Log(format!("a trigger's template: {error}")));
                false
            }
        };
        let Some(rule) = self.rules.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut rule.truth, truth);
        if !truth {
            self.end_hold(id, "", changes);
            return;
        }
        if before {
            return;
        }
        let TriggerKind::Template { held_for, .. } = &rule.trigger.kind else {
            return;
        };
        let held_for = held_for.clone();
        let beginning = Beginning {
            entity: "",
            about: change.map_or("", |change| change.entity),
            was: Value::Bool(false),
            is: Value::Bool(true),
            from: change.and_then(|change| change.old),
            to: change.and_then(|change| change.new),
        };
        self.became(id, held_for.as_ref(), beginning, look, changes);
    }
}
