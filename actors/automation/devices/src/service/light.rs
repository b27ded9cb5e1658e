//! Lights: brightness, white and colour in whichever of the ways a lamp takes them.

use serde_json::{Map, Value, json};

use super::{CallError, Command, wrong_data};
use crate::colour::{Colour, mired, whole};
use crate::plan::{colour_modes, kelvins};
use crate::text::nearest;

/// Colours by name, as CSS names them.
const NAMES: &[(&str, [u8; 3])] = &[
    ("aqua", [0, 255, 255]),
    ("azure", [240, 255, 255]),
    ("beige", [245, 245, 220]),
    ("blue", [0, 0, 255]),
    ("brown", [165, 42, 42]),
    ("coral", [255, 127, 80]),
    ("cyan", [0, 255, 255]),
    ("gold", [255, 215, 0]),
    ("green", [0, 128, 0]),
    ("indigo", [75, 0, 130]),
    ("ivory", [255, 255, 240]),
    ("lavender", [230, 230, 250]),
    ("lime", [0, 255, 0]),
    ("magenta", [255, 0, 255]),
    ("navy", [0, 0, 128]),
    ("olive", [128, 128, 0]),
    ("orange", [255, 165, 0]),
    ("orchid", [218, 112, 214]),
    ("pink", [255, 192, 203]),
    ("purple", [128, 0, 128]),
    ("red", [255, 0, 0]),
    ("salmon", [250, 128, 114]),
    ("tan", [210, 180, 140]),
    ("teal", [0, 128, 128]),
    ("tomato", [255, 99, 71]),
    ("turquoise", [64, 224, 208]),
    ("violet", [238, 130, 238]),
    ("white", [255, 255, 255]),
    ("yellow", [255, 255, 0]),
];

/// How long a light takes at most to come to its new brightness, in seconds.
const LONGEST_TRANSITION_S: f64 = 6_553.0;

/// What a lamp is asked for, in terms that it has.
#[derive(Debug, Default)]
struct Wish {
    brightness: Option<f64>,
    colour: Option<(Colour, &'static str)>,
    effect: Option<String>,
    transition: Option<f64>,
    flash: Option<f64>,
    white: Option<f64>,
}

impl Command<'_> {
    pub(super) fn light(&mut self, name: &str) -> Result<(), CallError> {
        let mut wish = self.wish()?;
        let on = name == "turn_on" && wish.brightness != Some(0.0) && wish.white != Some(0.0);
        if !on {
            wish.brightness = None;
            wish.colour = None;
        }
        match self.config.text("schema").unwrap_or("basic") {
            "json" => self.json_light(on, &wish),
            "template" => self.template_light(on, &wish),
            _ if on => self.basic_light(wish),
            _ => {
                let payload = self.config.payload("payload_off", "OFF");
                self.send("command_topic", payload)?;
                self.assume("state_topic", Some("off"), &[]);
                Ok(())
            }
        }
    }

    /// What is asked for, without what the lamp does not have: a call for a whole room reaches plain lamps too.
    fn wish(&self) -> Result<Wish, CallError> {
        let modes = colour_modes(self.config);
        let dims = modes.iter().any(|mode| mode != "onoff");
        let mut wish = Wish {
            transition: self.bounded("transition", 0.0, LONGEST_TRANSITION_S)?,
            ..Wish::default()
        };
        let flash = |key: &str, usual: f64| Some(self.config.number(key).unwrap_or(usual));
        wish.flash = match self.text("flash")?.as_deref() {
            None => None,
            Some("short") => flash("flash_time_short", 2.0),
            Some("long") => flash("flash_time_long", 10.0),
            Some(_) => return Err(wrong_data("flash", "short or long".to_owned())),
        };
        wish.brightness = self.brightness()?.filter(|_| dims);
        let colour = self.colour()?.and_then(|colour| fitted(colour, &modes));
        wish.colour = colour.map(|(colour, mode)| match mode {
            "color_temp" => (Colour::Kelvin(self.clamped(colour.kelvin())), mode),
            _ => (colour, mode),
        });
        if self.has("white_command_topic") || modes.iter().any(|mode| mode == "white") {
            wish.white = match self.data.get("white") {
                Some(Value::Bool(true)) => Some(self.lit().unwrap_or(255.0)),
                _ => self.bounded("white", 0.0, 255.0)?.map(f64::trunc),
            };
        }
        wish.effect = self.text("effect")?.filter(|effect| self.takes_effect(effect));
        Ok(wish)
    }

    /// Whether an effect is sent. A lamp with a topic for effects is told of those that it lists; others are told of any,
    /// since their lists may be older than they are.
    fn takes_effect(&self, effect: &str) -> bool {
        let listed = self.config.list("effect_list");
        match self.config.text("schema") {
            Some("json" | "template") => !listed.is_empty() || self.config.get("effect").is_some(),
            _ => {
                self.has("effect_command_topic")
                    && (listed.is_empty() || listed.iter().any(|one| one == effect))
            }
        }
    }

    /// How bright it is now; none: it is off, or it is not known.
    fn lit(&self) -> Option<f64> {
        let brightness = self.shown.attributes.get("brightness").and_then(Value::as_f64);
        brightness.filter(|_| self.shown.state == "on")
    }

    /// The brightness that is asked for, 0 to 255; steps are taken from what is known now.
    fn brightness(&self) -> Result<Option<f64>, CallError> {
        // A half is rounded to the even neighbour, as Python does.
        let of_percent = |percent: f64| (percent * 255.0 / 100.0).round_ties_even();
        if let Some(value) = self.bounded("brightness", 0.0, 255.0)? {
            return Ok(Some(value.trunc()));
        }
        if let Some(percent) = self.number("brightness_pct", 0.0, 100.0)? {
            return Ok(Some(of_percent(percent)));
        }
        let now = self.lit().unwrap_or(0.0);
        if let Some(step) = self.bounded("brightness_step", -255.0, 255.0)? {
            return Ok(Some((now + step.trunc()).clamp(0.0, 255.0)));
        }
        let step = self.bounded("brightness_step_pct", -100.0, 100.0)?;
        let percent = (now / 255.0 * 100.0).round_ties_even();
        Ok(step.map(|step| of_percent(percent + step).clamp(0.0, 255.0)))
    }

    fn colour(&self) -> Result<Option<Colour>, CallError> {
        if let Some(name) = self.text("color_name")? {
            let plain = name.to_lowercase().replace([' ', '_'], "");
            let found = NAMES.iter().find(|(known, _)| *known == plain);
            return match found {
                Some((_, rgb)) => Ok(Some(Colour::Rgb(rgb.map(f64::from)))),
                None => {
                    let near = nearest(&plain, NAMES.iter().map(|(name, _)| *name));
                    let why = format!(
                        "a colour's English name, or rgb_color{}",
                        crate::registry::meant(near)
                    );
                    Err(wrong_data("color_name", why))
                }
            };
        }
        for key in ["color_temp_kelvin", "kelvin"] {
            if let Some(kelvin) = self.number(key, 1.0, 1_000_000.0)? {
                return Ok(Some(Colour::Kelvin(self.clamped(kelvin))));
            }
        }
        if let Some(value) = self.number("color_temp", 1.0, 1_000_000.0)? {
            return Ok(Some(Colour::Kelvin(self.clamped(mired(value)))));
        }
        if let Some([hue, saturation]) = self.parts("hs_color", [360.0, 100.0])? {
            return Ok(Some(Colour::Hs(hue, saturation)));
        }
        if let Some(rgb) = self.parts("rgb_color", [255.0; 3])? {
            return Ok(Some(Colour::Rgb(rgb)));
        }
        if let Some([r, g, b, w]) = self.parts("rgbw_color", [255.0; 4])? {
            return Ok(Some(Colour::Rgbw([r, g, b], w)));
        }
        if let Some([r, g, b, cold, warm]) = self.parts("rgbww_color", [255.0; 5])? {
            return Ok(Some(Colour::Rgbww([r, g, b], cold, warm)));
        }
        if let Some([x, y]) = self.parts("xy_color", [1.0; 2])? {
            return Ok(Some(Colour::Xy(x, y)));
        }
        Ok(None)
    }

    /// Within what the lamp has.
    fn clamped(&self, kelvin: f64) -> f64 {
        let (least, most) = kelvins(self.config);
        kelvin.max(least.min(most)).min(most.max(least))
    }

    fn parts<const N: usize>(&self, key: &str, most: [f64; N]) -> Result<Option<[f64; N]>, CallError> {
        let wrong = || wrong_data(key, format!("{N} numbers from 0 to {:?}", most));
        let items = match self.data.get(key) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(items)) if items.len() == N => items,
            Some(_) => return Err(wrong()),
        };
        let mut out = [0.0; N];
        for ((item, most), part) in items.iter().zip(most).zip(&mut out) {
            *part = item
                .as_f64()
                .filter(|value| (0.0..=most).contains(value))
                .ok_or_else(wrong)?;
        }
        Ok(Some(out))
    }

    /// A level of 0 to 255 in the lamp's own measure, which a setting tells.
    fn scaled(&self, level: f64, scale: &str) -> i64 {
        let scale = self
            .config
            .number(scale)
            .filter(|scale| *scale >= 1.0)
            .unwrap_or(255.0);
        let least = if level > 0.0 { 1.0 } else { 0.0 };
        (level / 255.0 * scale).round_ties_even().clamp(least, scale) as i64
    }

    fn temperature(&self, kelvin: f64) -> Value {
        let in_kelvin = self.config.flag("color_temp_kelvin").unwrap_or(false);
        json!(if in_kelvin { kelvin } else { mired(kelvin) }.round() as i64)
    }

    /// What will be known of the lamp if it does as it is told.
    fn hoped(&self, wish: &Wish) -> Vec<(&'static str, Value)> {
        let mut out = Vec::new();
        out.extend(
            wish.brightness
                .or(wish.white)
                .map(|brightness| ("brightness", json!(whole(brightness)))),
        );
        match wish.colour {
            Some((Colour::Kelvin(kelvin), mode)) => {
                out.push(("color_temp_kelvin", json!(kelvin.round() as i64)));
                out.push(("color_temp", json!(mired(kelvin) as i64)));
                out.push(("color_mode", json!(mode)));
            }
            Some((colour, mode)) => {
                out.extend(colour.attributes());
                out.push(("color_mode", json!(mode)));
            }
            None => {}
        }
        out.extend(wish.effect.clone().map(|effect| ("effect", Value::from(effect))));
        out
    }

    fn json_light(&mut self, on: bool, wish: &Wish) -> Result<(), CallError> {
        let mut said = Map::new();
        let mut put = |key: &str, value: Value| {
            said.insert(key.to_owned(), value);
        };
        put("state", json!(if on { "ON" } else { "OFF" }));
        if let Some(seconds) = wish.transition {
            put("transition", tidy(seconds));
        }
        if let Some(seconds) = wish.flash {
            put("flash", tidy(seconds));
        }
        if let Some(brightness) = wish.brightness {
            put("brightness", json!(self.scaled(brightness, "brightness_scale")));
        }
        if let Some(white) = wish.white.filter(|_| on) {
            put("white", json!(self.scaled(white, "white_scale")));
        }
        match wish.colour {
            Some((Colour::Kelvin(kelvin), "color_temp")) => put("color_temp", self.temperature(kelvin)),
            Some((colour, mode)) => put("color", object(colour, mode)),
            None => {}
        }
        if let Some(effect) = wish.effect.as_ref().filter(|_| on) {
            put("effect", json!(effect));
        }
        self.send("command_topic", Value::Object(said).to_string())?;
        let hoped = if on { self.hoped(wish) } else { Vec::new() };
        self.assume("state_topic", Some(if on { "on" } else { "off" }), &hoped);
        Ok(())
    }

    fn template_light(&mut self, on: bool, wish: &Wish) -> Result<(), CallError> {
        let mut more = vec![("state", json!(if on { "on" } else { "off" }))];
        more.extend(
            wish.brightness
                .map(|brightness| ("brightness", json!(whole(brightness)))),
        );
        match wish.colour {
            Some((Colour::Kelvin(kelvin), "color_temp")) => {
                more.push(("color_temp", self.temperature(kelvin)))
            }
            Some((colour, _)) => {
                let ([r, g, b], (hue, saturation)) = (colour.rgb().map(whole), colour.hs());
                more.extend([("red", json!(r)), ("green", json!(g)), ("blue", json!(b))]);
                more.extend([("hue", json!(hue)), ("sat", json!(saturation))]);
            }
            None => {}
        }
        more.extend(
            wish.effect
                .clone()
                .filter(|_| on)
                .map(|effect| ("effect", Value::from(effect))),
        );
        more.extend(wish.transition.map(|seconds| ("transition", tidy(seconds))));
        more.extend(
            wish.flash
                .map(|seconds| ("flash", json!(if seconds > 5.0 { "long" } else { "short" }))),
        );
        let key = if on {
            "command_on_template"
        } else {
            "command_off_template"
        };
        let payload = self.rendered(key, Value::Null, &more)?.unwrap_or_default();
        self.send("command_topic", payload)?;
        let hoped = if on { self.hoped(wish) } else { Vec::new() };
        self.assume("state_topic", Some(if on { "on" } else { "off" }), &hoped);
        Ok(())
    }

    fn basic_light(&mut self, mut wish: Wish) -> Result<(), CallError> {
        let kind = self.config.text("on_command_type").unwrap_or("last").to_owned();
        let payload_on = self.config.payload("payload_on", "ON");
        let known = self.known.attributes.get("brightness").and_then(Value::as_f64);
        if kind == "first" {
            self.send("command_topic", payload_on.clone())?;
        } else if kind == "brightness" && wish.brightness.is_none() {
            wish.brightness = Some(known.filter(|brightness| *brightness > 0.0).unwrap_or(255.0));
        }
        let dims = self.has("brightness_command_topic");
        // Brightness without a topic of its own is a part of the colour.
        if let (Some(_), None, false) = (wish.brightness, wish.colour, dims) {
            let rgb = self.known.attributes.get("rgb_color").and_then(|rgb| {
                let part = |at: usize| rgb.get(at)?.as_f64();
                Some([part(0)?, part(1)?, part(2)?])
            });
            wish.colour = Some((Colour::Rgb(rgb.unwrap_or([255.0; 3])), "rgb"))
                .filter(|_| self.has("rgb_command_topic"));
        }
        if let Some((colour, mode)) = wish.colour {
            let brightness = wish.brightness.or(known).filter(|_| !dims).unwrap_or(255.0);
            self.basic_colour(colour, mode, brightness)?;
        }
        if let (Some(brightness), true) = (wish.brightness, dims) {
            let value = json!(self.scaled(brightness, "brightness_scale"));
            self.send_by(
                "brightness_command_topic",
                "brightness_command_template",
                value,
                &[],
            )?;
            self.assume(
                "brightness_state_topic",
                None,
                &[("brightness", json!(whole(brightness)))],
            );
        }
        if let Some((Colour::Kelvin(kelvin), "color_temp")) = wish.colour {
            let value = self.temperature(kelvin);
            self.send_by(
                "color_temp_command_topic",
                "color_temp_command_template",
                value,
                &[],
            )?;
            let told = [
                ("color_temp_kelvin", json!(kelvin.round() as i64)),
                ("color_temp", json!(mired(kelvin) as i64)),
            ];
            self.assume("color_temp_state_topic", None, &told);
        }
        if let Some(effect) = &wish.effect {
            self.send_by(
                "effect_command_topic",
                "effect_command_template",
                json!(effect),
                &[],
            )?;
            self.assume("effect_state_topic", None, &[("effect", json!(effect))]);
        }
        if let Some(white) = wish.white {
            let value = self.scaled(white, "white_scale");
            self.send("white_command_topic", value.to_string())?;
        }
        if kind == "last" || kind != "first" && !dims {
            self.send("command_topic", payload_on)?;
        }
        self.assume("state_topic", Some("on"), &[]);
        Ok(())
    }

    /// A colour on the topic of its mode; red, green and blue are as bright as they are to be.
    fn basic_colour(&mut self, colour: Colour, mode: &str, brightness: f64) -> Result<(), CallError> {
        let parts: Vec<f64> = match mode {
            "rgb" => colour.rgb().to_vec(),
            "rgbw" => white_apart(colour).to_vec(),
            "rgbww" => match colour {
                Colour::Rgbww([r, g, b], cold, warm) => vec![r, g, b, cold, warm],
                other => [&other.rgb()[..], &[0.0, 0.0]].concat(),
            },
            "hs" => {
                let (hue, saturation) = colour.hs();
                let more = [("hue", json!(hue)), ("sat", json!(saturation))];
                let value = pair(&more);
                self.send_by("hs_command_topic", "hs_command_template", value, &more)?;
                self.assume("hs_state_topic", None, &colour.attributes());
                return Ok(());
            }
            "xy" => {
                let (x, y) = colour.xy();
                let more = [("x", json!(x)), ("y", json!(y))];
                let value = pair(&more);
                self.send_by("xy_command_topic", "xy_command_template", value, &more)?;
                self.assume("xy_state_topic", None, &colour.attributes());
                return Ok(());
            }
            _ => return Ok(()),
        };
        let dimmed = |part: f64| (f64::from(whole(part)) * brightness / 255.0) as u8;
        let parts: Vec<u8> = parts.into_iter().map(dimmed).collect();
        let names: &[&str] = match mode {
            "rgbww" => &["red", "green", "blue", "cold_white", "warm_white"],
            _ => &["red", "green", "blue", "white"],
        };
        let more: Vec<(&str, Value)> = names
            .iter()
            .copied()
            .zip(parts.iter().map(|part| json!(part)))
            .collect();
        let joined = parts.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
        let (topic, template) = (
            format!("{mode}_command_topic"),
            format!("{mode}_command_template"),
        );
        self.send_by(&topic, &template, Value::from(joined), &more)?;
        self.assume(&format!("{mode}_state_topic"), None, &colour.attributes());
        Ok(())
    }
}

/// The colour and the mode, of those that the lamp has, in which it is sent, in Home Assistant's order of preference; none: it
/// has neither colours nor whites.
fn fitted(colour: Colour, modes: &[String]) -> Option<(Colour, &'static str)> {
    let order: [&'static str; 6] = match colour {
        Colour::Hs(..) => ["hs", "rgb", "rgbw", "rgbww", "xy", "color_temp"],
        Colour::Rgb(_) => ["rgb", "rgbw", "rgbww", "hs", "xy", "color_temp"],
        Colour::Rgbw(..) => ["rgbw", "rgb", "rgbww", "hs", "xy", "color_temp"],
        Colour::Rgbww(..) => ["rgbww", "rgb", "rgbw", "hs", "xy", "color_temp"],
        Colour::Xy(..) => ["xy", "hs", "rgb", "rgbw", "rgbww", "color_temp"],
        Colour::Kelvin(_) => ["color_temp", "hs", "rgb", "rgbw", "rgbww", "xy"],
    };
    order
        .into_iter()
        .find(|mode| modes.iter().any(|one| one == mode))
        .map(|mode| (colour, mode))
}

/// Red, green and blue with what they have in common as white, the brightest as bright as before.
fn white_apart(colour: Colour) -> [f64; 4] {
    if let Colour::Rgbw([r, g, b], w) = colour {
        return [r, g, b, w];
    }
    let [r, g, b] = colour.rgb();
    let white = r.min(g).min(b);
    let apart = [r - white, g - white, b - white, white];
    let (before, after) = (r.max(g).max(b), apart.into_iter().fold(0.0, f64::max));
    if after > 0.0 {
        apart.map(|part| part * before / after)
    } else {
        apart
    }
}

/// Two numbers with a comma between, written as Python writes them: `30.5,50.0`.
fn pair([(_, one), (_, other)]: &[(&str, Value); 2]) -> Value {
    Value::from(format!("{one},{other}"))
}

/// A colour as JSON lights take it.
fn object(colour: Colour, mode: &str) -> Value {
    match mode {
        "hs" => {
            let (hue, saturation) = colour.hs();
            json!({ "h": hue, "s": saturation })
        }
        "xy" => {
            let (x, y) = colour.xy();
            json!({ "x": x, "y": y })
        }
        "rgbw" => {
            let [r, g, b, w] = white_apart(colour).map(whole);
            json!({ "r": r, "g": g, "b": b, "w": w })
        }
        "rgbww" => match colour {
            Colour::Rgbww([r, g, b], cold, warm) => {
                json!({ "r": whole(r), "g": whole(g), "b": whole(b), "c": whole(cold), "w": whole(warm) })
            }
            other => {
                let [r, g, b] = other.rgb().map(whole);
                json!({ "r": r, "g": g, "b": b, "c": 0, "w": 0 })
            }
        },
        _ => {
            let [r, g, b] = colour.rgb().map(whole);
            json!({ "r": r, "g": g, "b": b })
        }
    }
}

fn tidy(seconds: f64) -> Value {
    if seconds.fract() == 0.0 {
        json!(seconds as i64)
    } else {
        json!(seconds)
    }
}
