//! Thermostats, humidifiers and fans.

use serde_json::{Value, json};

use super::{CallError, Command, wrong_data};
use crate::plan::{hvac_modes, speeds};
use crate::text::{number, short};

impl Command<'_> {
    pub(super) fn climate(&mut self, name: &str) -> Result<(), CallError> {
        match name {
            "set_temperature" => self.set_temperature(),
            "set_hvac_mode" => {
                let mode = self.choice("hvac_mode", &hvac_modes(self.config))?;
                self.hvac_mode(&mode)
            }
            "set_preset_mode" => {
                let mut modes = self.config.list("preset_modes");
                modes.push("none".to_owned());
                self.mode("preset_mode", &modes)
            }
            "set_fan_mode" => {
                let usual = ["auto", "low", "medium", "high"].map(str::to_owned).to_vec();
                let modes = if self.config.get("fan_modes").is_some() {
                    self.config.list("fan_modes")
                } else {
                    usual
                };
                self.mode("fan_mode", &modes)
            }
            "set_swing_mode" => self.mode("swing_mode", &self.config.list("swing_modes")),
            "set_swing_horizontal_mode" => self.mode(
                "swing_horizontal_mode",
                &self.config.list("swing_horizontal_modes"),
            ),
            "set_humidity" => self.humidity(),
            "turn_on" | "turn_off" if self.has("power_command_topic") => {
                let on = name == "turn_on";
                let payload = if on {
                    self.config.payload("payload_on", "ON")
                } else {
                    self.config.payload("payload_off", "OFF")
                };
                self.send_by(
                    "power_command_topic",
                    "power_command_template",
                    Value::from(payload),
                    &[],
                )
            }
            "turn_off" => self.hvac_mode("off"),
            _ => {
                let modes = hvac_modes(self.config);
                let first = ["heat_cool", "heat", "cool", "auto"]
                    .into_iter()
                    .find(|mode| modes.iter().any(|one| one == mode));
                let other = modes.iter().map(String::as_str).find(|mode| *mode != "off");
                match first.or(other) {
                    Some(mode) => self.hvac_mode(mode),
                    None => Err(self.unfit("it has no mode but off")),
                }
            }
        }
    }

    fn set_temperature(&mut self) -> Result<(), CallError> {
        let (least, most) = (
            self.config.number("min_temp").unwrap_or(7.0),
            self.config.number("max_temp").unwrap_or(35.0),
        );
        let one = self.number("temperature", least, most)?;
        let high = self.number("target_temp_high", least, most)?;
        let low = self.number("target_temp_low", least, most)?;
        if one.is_none() && high.is_none() && low.is_none() {
            return Err(wrong_data(
                "temperature",
                "climate.set_temperature needs it, or target_temp_high and target_temp_low".to_owned(),
            ));
        }
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            return Err(wrong_data(
                "target_temp_low",
                "it is above target_temp_high".to_owned(),
            ));
        }
        if self.data.get("hvac_mode").is_some_and(|mode| !mode.is_null()) {
            let mode = self.choice("hvac_mode", &hvac_modes(self.config))?;
            self.hvac_mode(&mode)?;
        }
        for (value, stem, attribute) in [
            (one, "temperature", "temperature"),
            (low, "temperature_low", "target_temp_low"),
            (high, "temperature_high", "target_temp_high"),
        ] {
            let Some(value) = value else { continue };
            let (topic, template) = (
                format!("{stem}_command_topic"),
                format!("{stem}_command_template"),
            );
            // With a fraction always, as Home Assistant sends it: templates and firmware were written for `19.0`.
            self.send_by(&topic, &template, json!(value), &[])?;
            let known = number(&short(value)).unwrap_or(Value::Null);
            self.assume(&format!("{stem}_state_topic"), None, &[(attribute, known)]);
        }
        Ok(())
    }

    fn hvac_mode(&mut self, mode: &str) -> Result<(), CallError> {
        self.one_of("hvac_mode", mode, &hvac_modes(self.config))?;
        self.send_by(
            "mode_command_topic",
            "mode_command_template",
            Value::from(mode),
            &[],
        )?;
        self.assume("mode_state_topic", Some(mode), &[]);
        Ok(())
    }

    /// A mode that is an attribute.
    fn mode(&mut self, name: &str, modes: &[String]) -> Result<(), CallError> {
        let mode = self.choice(name, modes)?;
        let (topic, template) = (
            format!("{name}_command_topic"),
            format!("{name}_command_template"),
        );
        self.send_by(&topic, &template, Value::from(mode.clone()), &[])?;
        self.assume(&format!("{name}_state_topic"), None, &[(name, Value::from(mode))]);
        Ok(())
    }

    fn humidity(&mut self) -> Result<(), CallError> {
        let (least, most) = (
            self.config.number("min_humidity").unwrap_or(0.0),
            self.config.number("max_humidity").unwrap_or(100.0),
        );
        let value = self.must("humidity", least, most)?;
        let value = number(&short(value.round())).unwrap_or(Value::Null);
        self.send_by(
            "target_humidity_command_topic",
            "target_humidity_command_template",
            value.clone(),
            &[],
        )?;
        self.assume("target_humidity_state_topic", None, &[("humidity", value)]);
        Ok(())
    }

    pub(super) fn humidifier(&mut self, name: &str) -> Result<(), CallError> {
        match name {
            "set_humidity" => self.humidity(),
            "set_mode" => self.mode("mode", &self.config.list("modes")),
            _ => self.power(name == "turn_on"),
        }
    }

    /// On or off, with the state on its own topic.
    fn power(&mut self, on: bool) -> Result<(), CallError> {
        let payload = if on {
            self.config.payload("payload_on", "ON")
        } else {
            self.config.payload("payload_off", "OFF")
        };
        self.send_by("command_topic", "command_template", Value::from(payload), &[])?;
        self.assume("state_topic", Some(if on { "on" } else { "off" }), &[]);
        Ok(())
    }

    pub(super) fn fan(&mut self, name: &str) -> Result<(), CallError> {
        match name {
            "turn_off" => self.power(false),
            "turn_on" => {
                self.power(true)?;
                if let Some(percent) = self.number("percentage", 0.0, 100.0)? {
                    self.speed(percent)?;
                }
                if self.text("preset_mode")?.is_some() {
                    self.mode("preset_mode", &self.config.list("preset_modes"))?;
                }
                Ok(())
            }
            "set_percentage" => {
                let percent = self.must("percentage", 0.0, 100.0)?;
                if percent == 0.0 {
                    self.power(false)
                } else {
                    self.speed(percent)
                }
            }
            "increase_speed" | "decrease_speed" => {
                let (min, max) = speeds(self.config);
                let usual = 100.0 / (max - min + 1.0).clamp(1.0, 100.0);
                let step = self
                    .number("percentage_step", 0.0, 100.0)?
                    .unwrap_or(usual.max(1.0));
                let now = self
                    .shown
                    .attributes
                    .get("percentage")
                    .and_then(Value::as_f64)
                    .unwrap_or(0.0);
                let wanted = if name == "increase_speed" {
                    now + step
                } else {
                    now - step
                };
                let wanted = wanted.clamp(0.0, 100.0);
                if wanted == 0.0 {
                    self.power(false)
                } else {
                    self.speed(wanted)
                }
            }
            "set_preset_mode" => self.mode("preset_mode", &self.config.list("preset_modes")),
            "oscillate" => {
                let on = match self.data.get("oscillating") {
                    Some(Value::Bool(on)) => *on,
                    _ => return Err(wrong_data("oscillating", "true or false".to_owned())),
                };
                let payload = if on {
                    self.config.payload("payload_oscillation_on", "oscillate_on")
                } else {
                    self.config.payload("payload_oscillation_off", "oscillate_off")
                };
                self.send_by(
                    "oscillation_command_topic",
                    "oscillation_command_template",
                    Value::from(payload),
                    &[],
                )?;
                self.assume(
                    "oscillation_state_topic",
                    None,
                    &[("oscillating", Value::Bool(on))],
                );
                Ok(())
            }
            _ => {
                let ways = ["forward", "reverse"].map(str::to_owned);
                let way = self.choice("direction", &ways)?;
                self.send_by(
                    "direction_command_topic",
                    "direction_command_template",
                    Value::from(way.clone()),
                    &[],
                )?;
                self.assume("direction_state_topic", None, &[("direction", Value::from(way))]);
                Ok(())
            }
        }
    }

    /// A speed in per cent, rounded up to one that the fan has.
    fn speed(&mut self, percent: f64) -> Result<(), CallError> {
        let (min, max) = speeds(self.config);
        let steps = (max - min + 1.0).max(1.0);
        let speed = (percent * steps / 100.0).ceil() + min - 1.0;
        let value = number(&short(speed.min(max).max(min - 1.0))).unwrap_or(Value::Null);
        self.send_by(
            "percentage_command_topic",
            "percentage_command_template",
            value,
            &[],
        )?;
        self.assume(
            "percentage_state_topic",
            None,
            &[("percentage", json!(percent.round() as i64))],
        );
        Ok(())
    }
}
