//! Which webhooks there are: so that a request for another one is turned away before anything is written down.

use jarvis_rules::model::{Action, ActionKind, Automation, Trigger, TriggerKind};

use crate::library::Library;

/// Whether any automation listens to a webhook of this id, in its triggers or in the middle of what it does.
pub(crate) fn is_known(library: &Library, id: &str) -> bool {
    library
        .iter()
        .any(|(_, definition)| listens(&definition.automation, id))
}

fn listens(automation: &Automation, id: &str) -> bool {
    among(&automation.triggers, id) || waits(&automation.actions, id)
}

fn among(triggers: &[Trigger], id: &str) -> bool {
    triggers
        .iter()
        .any(|trigger| matches!(&trigger.kind, TriggerKind::Webhook { id: own, .. } if own == id))
}

/// Files nest a bounded number of times, and so does this.
fn waits(actions: &[Action], id: &str) -> bool {
    actions.iter().any(|action| match &action.kind {
        ActionKind::WaitForTrigger { triggers, .. } => among(triggers, id),
        ActionKind::Choose { branches, default } => {
            branches.iter().any(|branch| waits(&branch.sequence, id)) || waits(default, id)
        }
        ActionKind::If { then, otherwise, .. } => waits(then, id) || waits(otherwise, id),
        ActionKind::Repeat(repeat) => waits(&repeat.sequence, id),
        ActionKind::Parallel(sequences) => sequences.iter().any(|one| waits(one, id)),
        ActionKind::Sequence(sequence) => waits(sequence, id),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::library::Definition;

    #[test]
    fn webhooks_are_found_wherever_they_are_listened_to() {
        let text = "
- alias: one
  triggers: [{trigger: webhook, webhook_id: at_the_door}]
  actions: [{delay: 1}]
- alias: two
  triggers: [{trigger: event, event_type: x}]
  actions:
    - if: [\"{{ true }}\"]
      then:
        - repeat:
            count: 2
            sequence:
              - parallel:
                  - sequence:
                      - wait_for_trigger: [{trigger: webhook, webhook_id: deep}]
";
        let loaded = jarvis_rules::load::load(&[("f.yaml", text)]);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
        let mut library = Library::default();
        for automation in loaded.automations {
            let id = automation.id.clone();
            library.set(&id, Some(Definition::new(automation, true, 0)));
        }
        for (id, known) in [("at_the_door", true), ("deep", true), ("x", false), ("", false)] {
            assert_eq!(is_known(&library, id), known, "{id}");
        }
    }
}
