//! Templates: rendered again when something that they read has changed.

use std::sync::Arc;

use serde_json::Value;

use super::clocks::{MINUTE_MS, minute_of};
use super::holds::Beginning;
use super::states::Changed;
use super::{Look, RuleId, Watch, insert, remove};
use crate::facts::{EntityState, Facts, Group, Home};
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
                    self.minute = Some(minute_of(look.facts.now_ms()));
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

    /// When a template that is false became true, as far as that is a matter of the time alone: the first minute in which it is
    /// true of those between one in which it is not and the one at hand. Looked for by halves, so of several times one.
    pub(super) fn rose_ms(&self, id: RuleId, after_minute: i64, look: &Look<'_>) -> Option<i64> {
        let rule = self.rules.get(&id).filter(|rule| !rule.truth)?;
        let TriggerKind::Template { template, .. } = &rule.trigger.kind else {
            return None;
        };
        let is_true = |minute: i64| {
            let then: Arc<dyn Facts> = Arc::new(Then {
                now_ms: minute * MINUTE_MS,
                facts: Arc::clone(look.facts),
            });
            let rendered = look.templates.render(&template.0, then, &rule.variables);
            rendered.is_ok_and(|rendered| truthy(&rendered.value))
        };
        let (mut before, mut at) = (after_minute, minute_of(look.facts.now_ms()));
        if !is_true(at) {
            return None;
        }
        while at - before > 1 {
            let middle = before + (at - before) / 2;
            if is_true(middle) {
                at = middle;
            } else {
                before = middle;
            }
        }
        Some(at * MINUTE_MS)
    }

    /// Looks at a template again. If it comes true now it did so at `rose_ms` already, where that is known.
    pub(super) fn look_again(
        &mut self,
        id: RuleId,
        change: Option<Changed<'_>>,
        rose_ms: Option<i64>,
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
            if before {
                changes.push(Change::Rearmed);
            }
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
            since_ms: rose_ms,
        };
        self.became(id, held_for.as_ref(), beginning, look, changes);
    }
}

/// What is so, at another time.
#[derive(Debug)]
struct Then {
    now_ms: i64,
    facts: Arc<dyn Facts>,
}

impl Facts for Then {
    fn now_ms(&self) -> i64 {
        self.now_ms
    }

    fn home(&self) -> &Home {
        self.facts.home()
    }

    fn entity(&self, id: &str) -> Option<Arc<EntityState>> {
        self.facts.entity(id)
    }

    fn entities(&self, domain: Option<&str>) -> Vec<(String, Arc<EntityState>)> {
        self.facts.entities(domain)
    }

    fn members(&self, of: Group<'_>) -> Vec<String> {
        self.facts.members(of)
    }
}
