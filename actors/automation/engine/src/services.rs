//! Services that automations call: those that nobody here offers are refused when a file is loaded, not in the middle of a run.

use jarvis_devices::service;
use jarvis_rules::load::Problem;
use jarvis_rules::model::{Action, ActionKind, Automation, Data, Position};
use serde_json::Value;

/// Services of automations themselves.
const OF_AUTOMATIONS: [&str; 4] = ["turn_on", "turn_off", "toggle", "trigger"];

/// What is wrong with the services that an automation calls. Those whose names are templates are known when a run comes to them.
pub(crate) fn unknown(automation: &Automation) -> Vec<Problem> {
    let mut problems = Vec::new();
    visit(&automation.actions, "actions", &mut |service, position, path| {
        if let Err((what, instead)) = check(service) {
            problems.push(Problem {
                file: automation.file.clone(),
                position,
                path,
                what,
                instead,
                automation: Some(automation.alias.clone()),
            });
        }
    });
    problems
}

/// Whether there is such a service; else what is wrong, and what to write instead.
fn check(service: &str) -> Result<(), (String, String)> {
    let (domain, name) = service.split_once('.').unwrap_or((service, ""));
    let instead = match domain {
        "notify" if !name.is_empty() => return Ok(()),
        "automation" if OF_AUTOMATIONS.contains(&name) => return Ok(()),
        "automation" => format!("there are {}", OF_AUTOMATIONS.map(|one| format!("`automation.{one}`")).join(", ")),
        "jarvis" if name == "say" => return Ok(()),
        "jarvis" => "write `jarvis.say`".to_owned(),
        "persistent_notification" | "logbook" | "system_log" => return Ok(()),
        "homeassistant" if name == "update_entity" => return Ok(()),
        "script" => "write the script's steps here, or make it an automation with an `event` trigger and send that event".to_owned(),
        "scene" if name != "turn_on" => "call the services of its entities: `light.turn_on` with brightness and colour, `cover.set_cover_position` …".to_owned(),
        "input_boolean" | "input_button" | "input_number" | "input_select" | "input_text" | "input_datetime"
        | "counter" | "timer" | "schedule" => {
            "helpers of Home Assistant stay there: show it by MQTT as a switch, number, select or text, and call that".to_owned()
        }
        "plugin" => "plugins cannot be called yet".to_owned(),
        "tts" | "media_player" => "sound is not played yet; write `jarvis.say`".to_owned(),
        _ => match service::check(service) {
            Ok(()) => return Ok(()),
            Err(error) => return Err((error.to_string(), "see the list of services in docs/OPERATING.md".to_owned())),
        },
    };
    Err((format!("there is no service `{service}` here"), instead))
}

/// Calls `found` with every service that is called by its name. Files nest a bounded number of times, and so does this.
fn visit(actions: &[Action], path: &str, found: &mut impl FnMut(&str, Position, String)) {
    for (n, action) in actions.iter().enumerate() {
        let here = format!("{path}[{n}]");
        match &action.kind {
            ActionKind::Call { service, .. } => {
                if let Data::Plain(Value::String(service)) = service {
                    found(service, action.position, format!("{here}.action"));
                }
            }
            ActionKind::Choose { branches, default } => {
                for (n, branch) in branches.iter().enumerate() {
                    visit(&branch.sequence, &format!("{here}.choose[{n}].sequence"), found);
                }
                visit(default, &format!("{here}.default"), found);
            }
            ActionKind::If { then, otherwise, .. } => {
                visit(then, &format!("{here}.then"), found);
                visit(otherwise, &format!("{here}.else"), found);
            }
            ActionKind::Repeat(repeat) => {
                visit(&repeat.sequence, &format!("{here}.repeat.sequence"), found);
            }
            ActionKind::Parallel(sequences) => {
                for (n, sequence) in sequences.iter().enumerate() {
                    visit(sequence, &format!("{here}.parallel[{n}]"), found);
                }
            }
            ActionKind::Sequence(sequence) => visit(sequence, &format!("{here}.sequence"), found),
            ActionKind::Delay(_)
            | ActionKind::WaitTemplate { .. }
            | ActionKind::WaitForTrigger { .. }
            | ActionKind::Condition(_)
            | ActionKind::Variables(_)
            | ActionKind::Stop { .. }
            | ActionKind::Event { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::api::check;

    #[test]
    fn a_service_that_nobody_offers_is_refused_with_what_to_write_instead() {
        let text = "
- id: fine
  alias: Fine
  triggers: [{trigger: event, event_type: go}]
  actions:
    - {action: light.turn_on, target: {entity_id: light.a}}
    - {action: notify.anna, data: {message: hello}}
    - {action: 'light.turn_{{ x }}', target: {entity_id: light.a}}
    - {action: homeassistant.toggle, target: {entity_id: light.a}}
    - {action: automation.trigger, target: {entity_id: automation.fine}}
- id: not_fine
  alias: Not fine
  triggers: [{trigger: event, event_type: go}]
  actions:
    - if: \"{{ true }}\"
      then:
        - {action: script.welcome}
      else:
        - {action: light.turn_onn, target: {entity_id: light.a}}
";
        let loaded = check(&[("a.yaml".to_owned(), text.to_owned())]);
        let ids: Vec<_> = loaded.automations.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["fine"]);
        let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].contains("a.yaml:17:") && told[0].contains("script.welcome") && told[0].contains("event"),
            "{told:?}"
        );
        assert!(
            told[1].contains("a.yaml:19:") && told[1].contains("light.turn_on"),
            "{told:?}"
        );
    }
}
