//! Covers and valves.

use serde_json::{Value, json};

use super::{CallError, Command};
use crate::plan::{ends, tilts};
use crate::text::{number, short};

impl Command<'_> {
    pub(super) fn cover(&mut self, name: &str) -> Result<(), CallError> {
        let (open, closed) = ends(self.config);
        match name {
            "open_cover" => self.travel(("payload_open", "OPEN"), 100.0, "open"),
            "close_cover" => self.travel(("payload_close", "CLOSE"), 0.0, "closed"),
            "stop_cover" => {
                let payload = self.config.payload("payload_stop", "STOP");
                self.send("command_topic", payload)
            }
            "set_cover_position" => {
                let percent = self.must("position", 0.0, 100.0)?;
                if !self.has("set_position_topic") {
                    return self.no_position(percent);
                }
                let position = (closed + (open - closed) * percent / 100.0).round();
                let value = number(&short(position)).unwrap_or(Value::Null);
                let more = [
                    ("position", json!(percent.round() as i64)),
                    ("position_open", json!(open)),
                    ("position_closed", json!(closed)),
                    ("tilt_min", json!(tilts(self.config).0)),
                    ("tilt_max", json!(tilts(self.config).1)),
                ];
                self.send_by("set_position_topic", "set_position_template", value, &more)?;
                let state = if percent == 0.0 { "closed" } else { "open" };
                self.assume(
                    "position_topic",
                    Some(state),
                    &[("current_position", json!(percent.round() as i64))],
                );
                Ok(())
            }
            "open_cover_tilt" => self.tilt(self.config.number("tilt_opened_value"), 100.0),
            "close_cover_tilt" => self.tilt(self.config.number("tilt_closed_value"), 0.0),
            "stop_cover_tilt" => {
                let payload = self.config.payload("payload_stop_tilt", "STOP");
                self.send("tilt_command_topic", payload)
            }
            _ => {
                let percent = self.must("tilt_position", 0.0, 100.0)?;
                self.tilt(None, percent)
            }
        }
    }

    /// Without positions, the ends can still be reached.
    fn no_position(&mut self, percent: f64) -> Result<(), CallError> {
        match percent {
            0.0 => self.travel(("payload_close", "CLOSE"), 0.0, "closed"),
            100.0 => self.travel(("payload_open", "OPEN"), 100.0, "open"),
            _ => Err(self.unfit("it has no set_position_topic: it can be opened, closed and stopped only")),
        }
    }

    fn travel(&mut self, payload: (&str, &str), percent: f64, state: &str) -> Result<(), CallError> {
        if self.config.get("command_topic").is_none() && self.has("set_position_topic") {
            let (open, closed) = ends(self.config);
            let position = if percent > 50.0 { open } else { closed };
            let value = number(&short(position)).unwrap_or(Value::Null);
            self.send_by(
                "set_position_topic",
                "set_position_template",
                value,
                &[("position", json!(percent as i64))],
            )?;
        } else if self.config.0.get(payload.0).is_some_and(Value::is_null) {
            return Err(self.unfit(format!("its {} is null: it does not do so", payload.0)));
        } else {
            let payload = self.config.payload(payload.0, payload.1);
            self.send("command_topic", payload)?;
        }
        let told = if self.has("state_topic") {
            "state_topic"
        } else {
            "position_topic"
        };
        let at = self
            .has("set_position_topic")
            .then(|| ("current_position", json!(percent as i64)));
        self.assume(told, Some(state), at.as_slice());
        Ok(())
    }

    fn tilt(&mut self, value: Option<f64>, percent: f64) -> Result<(), CallError> {
        let (min, max) = tilts(self.config);
        let value = value.unwrap_or_else(|| (min + (max - min) * percent / 100.0).round());
        let value = number(&short(value)).unwrap_or(Value::Null);
        let more = [
            ("tilt_position", json!(percent.round() as i64)),
            ("tilt_min", json!(min)),
            ("tilt_max", json!(max)),
        ];
        self.send_by("tilt_command_topic", "tilt_command_template", value, &more)?;
        self.assume(
            "tilt_status_topic",
            None,
            &[("current_tilt_position", json!(percent.round() as i64))],
        );
        Ok(())
    }

    pub(super) fn valve(&mut self, name: &str) -> Result<(), CallError> {
        let positions = self.config.flag("reports_position").unwrap_or(false);
        let (open, closed) = ends(self.config);
        let percent = match name {
            "open_valve" => 100.0,
            "close_valve" => 0.0,
            "stop_valve" => {
                let payload = self.config.payload("payload_stop", "STOP");
                return self.send("command_topic", payload);
            }
            _ if !positions => {
                return Err(self.unfit("it does not report its position: it can be opened and closed only"));
            }
            _ => self.must("position", 0.0, 100.0)?,
        };
        let state = if percent == 0.0 { "closed" } else { "open" };
        let value = if positions {
            let position = (closed + (open - closed) * percent / 100.0).round();
            number(&short(position)).unwrap_or(Value::Null)
        } else if percent > 0.0 {
            Value::from(self.config.payload("payload_open", "OPEN"))
        } else {
            Value::from(self.config.payload("payload_close", "CLOSE"))
        };
        self.send_by("command_topic", "command_template", value, &[])?;
        let at = positions.then(|| ("current_position", json!(percent as i64)));
        self.assume("state_topic", Some(state), at.as_slice());
        Ok(())
    }
}
