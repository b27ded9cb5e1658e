//! Switches, locks, buttons, numbers and all others that need few words.

use serde_json::{Value, json};

use super::{CallError, Command, wrong_data};
use crate::component::Component;
use crate::registry::moment;
use crate::text::{printed, short};

impl Command<'_> {
    pub(super) fn simple(&mut self, component: Component, name: &str) -> Result<(), CallError> {
        match (component, name) {
            (Component::Switch, "turn_on" | "turn_off") => self.on_off(name == "turn_on"),
            (Component::Siren, "turn_on" | "turn_off") => self.siren(name == "turn_on"),
            (Component::Lock, _) => self.lock(name),
            (Component::Button, _) => {
                let payload = self.config.payload("payload_press", "PRESS");
                self.send_by("command_topic", "command_template", Value::from(payload), &[])?;
                self.happened();
                Ok(())
            }
            (Component::Scene, _) => {
                let payload = self.config.payload("payload_on", "ON");
                self.send("command_topic", payload)?;
                self.happened();
                Ok(())
            }
            (Component::Number, _) => self.set_number(),
            (Component::Text, _) => self.set_text(),
            (Component::Select, _) => self.select(name),
            (Component::AlarmControlPanel, _) => self.alarm(name),
            (Component::Vacuum, _) => self.vacuum(name),
            (Component::LawnMower, _) => {
                let stem = match name {
                    "start_mowing" => "start_mowing",
                    "pause" => "pause",
                    _ => "dock",
                };
                let (topic, template) = (
                    format!("{stem}_command_topic"),
                    format!("{stem}_command_template"),
                );
                self.send_by(&topic, &template, Value::from(name), &[])
            }
            (Component::Update, _) => {
                let payload = self.config.payload("payload_install", "INSTALL");
                self.send("command_topic", payload)
            }
            (Component::Notify, _) => {
                let message = self.choice("message", &[])?;
                self.send_by("command_topic", "command_template", Value::from(message), &[])
            }
            _ => Err(self.unfit("it is not known how")),
        }
    }

    /// What is pressed or called has as its state when that was last done.
    fn happened(&mut self) {
        let now = moment(self.now_ms);
        self.assume("", Some(&now), &[]);
    }

    fn on_off(&mut self, on: bool) -> Result<(), CallError> {
        let payload = if on {
            self.config.payload("payload_on", "ON")
        } else {
            self.config.payload("payload_off", "OFF")
        };
        self.send_by("command_topic", "command_template", Value::from(payload), &[])?;
        self.assume("state_topic", Some(if on { "on" } else { "off" }), &[]);
        Ok(())
    }

    fn siren(&mut self, on: bool) -> Result<(), CallError> {
        let payload = if on {
            self.config.payload("payload_on", "ON")
        } else {
            self.config.payload("payload_off", "OFF")
        };
        let mut said = vec![("state", Value::from(payload.clone()))];
        if on {
            if self.text("tone")?.is_some() {
                let tones = self.config.list("available_tones");
                let tone = self.choice("tone", &tones)?;
                said.push(("tone", Value::from(tone)));
            }
            if let Some(seconds) = self.number("duration", 0.0, 86_400.0)? {
                said.push(("duration", json!(seconds.round() as i64)));
            }
            if let Some(volume) = self.number("volume_level", 0.0, 1.0)? {
                said.push(("volume_level", json!(volume)));
            }
        }
        let key = if !on && self.config.get("command_off_template").is_some() {
            "command_off_template"
        } else {
            "command_template"
        };
        let payload = match self.rendered(key, Value::from(payload), &said)? {
            Some(payload) => payload,
            None => Value::Object(
                said.into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect(),
            )
            .to_string(),
        };
        self.send("command_topic", payload)?;
        self.assume("state_topic", Some(if on { "on" } else { "off" }), &[]);
        Ok(())
    }

    fn lock(&mut self, name: &str) -> Result<(), CallError> {
        let (payload, state) = match name {
            "lock" => (self.config.payload("payload_lock", "LOCK"), "locked"),
            "unlock" => (self.config.payload("payload_unlock", "UNLOCK"), "unlocked"),
            _ if self.config.get("payload_open").is_none() => {
                return Err(self.unfit("it cannot be opened, only locked and unlocked"));
            }
            _ => (self.config.payload("payload_open", "OPEN"), "open"),
        };
        let code = self.code("")?;
        self.send_by(
            "command_topic",
            "command_template",
            Value::from(payload),
            &[("code", code)],
        )?;
        self.assume("state_topic", Some(state), &[]);
        Ok(())
    }

    /// The code of the data; refused where one is needed and it is another.
    fn code(&self, required: &str) -> Result<Value, CallError> {
        let given = self.text("code")?;
        let needed = self.config.payload("code", "");
        let remote = matches!(needed.as_str(), "" | "REMOTE_CODE" | "REMOTE_CODE_TEXT");
        let asked = !required.is_empty() && self.config.flag(required).unwrap_or(true);
        if !needed.is_empty() && asked {
            match &given {
                None => return Err(wrong_data("code", "it needs one".to_owned())),
                Some(code) if !remote && *code != needed => {
                    return Err(wrong_data("code", "it is another".to_owned()));
                }
                Some(_) => {}
            }
        }
        Ok(given.map_or(Value::Null, Value::from))
    }

    fn set_number(&mut self) -> Result<(), CallError> {
        let (least, most) = (
            self.config.number("min").unwrap_or(1.0),
            self.config.number("max").unwrap_or(100.0),
        );
        let value = self.must("value", least, most)?;
        let reset = self.config.number("step").filter(|step| *step > 0.0);
        // As many digits as the step has, so that 0.1 + 0.2 is not sent as 0.30000000000000004.
        let value = reset.map_or(value, |step| {
            let steps = (value / step).round();
            let near = steps * step;
            if (near - value).abs() < step * 1e-6 {
                (near * 1e6).round() / 1e6
            } else {
                value
            }
        });
        let value = crate::text::number(&short(value)).unwrap_or(Value::Null);
        self.send_by("command_topic", "command_template", value.clone(), &[])?;
        self.assume("state_topic", Some(&printed(&value)), &[]);
        Ok(())
    }

    fn set_text(&mut self) -> Result<(), CallError> {
        let text = self.choice("value", &[])?;
        let (least, most) = (
            self.config.number("min").unwrap_or(0.0),
            self.config.number("max").unwrap_or(255.0),
        );
        let length = text.chars().count() as f64;
        if !(least..=most).contains(&length) {
            let why = format!("a text of {} to {} characters", short(least), short(most));
            return Err(wrong_data("value", why));
        }
        self.send_by(
            "command_topic",
            "command_template",
            Value::from(text.clone()),
            &[],
        )?;
        self.assume("state_topic", Some(&text), &[]);
        Ok(())
    }

    fn select(&mut self, name: &str) -> Result<(), CallError> {
        let options = self.config.list("options");
        let at = options.iter().position(|option| *option == self.shown.state);
        let cycle = self.data.get("cycle") != Some(&Value::Bool(false));
        let last = options.len().saturating_sub(1);
        // Which one is decided now: what is sent can be sent again.
        let wanted = match (name, at) {
            ("select_option", _) => return self.select_option(self.choice("option", &options)?),
            ("select_first", _) | ("select_next", None) => 0,
            ("select_last", _) | (_, None) => last,
            ("select_next", Some(at)) if at < last => at + 1,
            ("select_next", Some(at)) => {
                if cycle {
                    0
                } else {
                    at
                }
            }
            (_, Some(at)) if at > 0 => at - 1,
            (_, Some(at)) => {
                if cycle {
                    last
                } else {
                    at
                }
            }
        };
        match options.get(wanted) {
            Some(option) => self.select_option(option.clone()),
            None => Err(self.unfit("it has no options")),
        }
    }

    fn select_option(&mut self, option: String) -> Result<(), CallError> {
        self.send_by(
            "command_topic",
            "command_template",
            Value::from(option.clone()),
            &[],
        )?;
        self.assume("state_topic", Some(&option), &[]);
        Ok(())
    }

    fn alarm(&mut self, name: &str) -> Result<(), CallError> {
        let (key, default, required, feature) = match name {
            "alarm_arm_home" => ("payload_arm_home", "ARM_HOME", "code_arm_required", "arm_home"),
            "alarm_arm_away" => ("payload_arm_away", "ARM_AWAY", "code_arm_required", "arm_away"),
            "alarm_arm_night" => ("payload_arm_night", "ARM_NIGHT", "code_arm_required", "arm_night"),
            "alarm_arm_vacation" => (
                "payload_arm_vacation",
                "ARM_VACATION",
                "code_arm_required",
                "arm_vacation",
            ),
            "alarm_arm_custom_bypass" => (
                "payload_arm_custom_bypass",
                "ARM_CUSTOM_BYPASS",
                "code_arm_required",
                "arm_custom_bypass",
            ),
            "alarm_disarm" => ("payload_disarm", "DISARM", "code_disarm_required", ""),
            _ => ("payload_trigger", "TRIGGER", "code_trigger_required", "trigger"),
        };
        let features = self.config.list("supported_features");
        if !feature.is_empty()
            && self.config.get("supported_features").is_some()
            && !features.iter().any(|one| one == feature)
        {
            return Err(self.unfit(format!("its features are {}", features.join(", "))));
        }
        let code = self.code(required)?;
        let payload = self.config.payload(key, default);
        let rendered = self.rendered(
            "command_template",
            Value::from(payload.clone()),
            &[("action", Value::from(payload.clone())), ("code", code)],
        )?;
        self.send("command_topic", rendered.unwrap_or(payload))
    }

    fn vacuum(&mut self, name: &str) -> Result<(), CallError> {
        match name {
            "set_fan_speed" => {
                let speeds = self.config.list("fan_speed_list");
                let speed = self.choice("fan_speed", &speeds)?;
                self.send("set_fan_speed_topic", speed)
            }
            "send_command" => {
                let command = self.choice("command", &[])?;
                let payload = match self.data.get("params") {
                    Some(Value::Object(params)) => {
                        let mut all = params.clone();
                        all.insert("command".to_owned(), Value::from(command));
                        Value::Object(all).to_string()
                    }
                    None | Some(Value::Null) => command,
                    Some(_) => return Err(wrong_data("params", "a mapping".to_owned())),
                };
                self.send("send_command_topic", payload)
            }
            other => {
                let payload = self.config.payload(&format!("payload_{other}"), other);
                self.send("command_topic", payload)
            }
        }
    }
}
