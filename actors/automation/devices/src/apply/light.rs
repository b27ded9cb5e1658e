//! Lights.

use serde_json::{Value, json};

use super::{Known, Taken, parse, set, state};
use crate::colour::{Colour, mired, whole};
use crate::plan::{LightTemplates, Plan, Space};
use crate::template::{Engine, Payload, Template};
use crate::text::quoted;

pub(super) fn brightness(text: &str, scale: f64, known: &mut Known) -> Result<(), String> {
    let value = parse(text)?;
    set(known, "brightness", json!(whole(value / scale * 255.0)));
    Ok(())
}

pub(super) fn temperature(text: &str, kelvin: bool, known: &mut Known) -> Result<(), String> {
    if text == "None" {
        set(known, "color_temp_kelvin", Value::Null);
        return Ok(());
    }
    put_temperature(parse(text)?, kelvin, known)
}

fn put_temperature(value: f64, kelvin: bool, known: &mut Known) -> Result<(), String> {
    if !(1.0..=100_000.0).contains(&value) {
        return Err(format!("{value} is not a colour temperature"));
    }
    let in_kelvin = if kelvin { value } else { mired(value) };
    let in_mired = if kelvin { mired(value) } else { value };
    set(known, "color_temp_kelvin", json!(in_kelvin.round() as i64));
    set(known, "color_temp", json!(in_mired.round() as i64));
    set(known, "color_mode", Value::from("color_temp"));
    Ok(())
}

pub(super) fn colour(text: &str, space: Space, known: &mut Known) -> Result<(), String> {
    if text == "None" {
        for name in ["hs_color", "rgb_color", "xy_color", "rgbw_color", "rgbww_color"] {
            set(known, name, Value::Null);
        }
        return Ok(());
    }
    let wrong = || format!("\"{}\" is not a colour", quoted(text));
    let parts: Vec<f64> = text
        .split(',')
        .take(6)
        .map(parse)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong())?;
    let colour = match (space, parts.as_slice()) {
        // Tasmota tells brightness with it.
        (Space::Hs, &[hue, saturation] | &[hue, saturation, _]) => Colour::Hs(hue, saturation),
        (Space::Rgb, &[r, g, b]) => Colour::Rgb([r, g, b]),
        (Space::Rgbw, &[r, g, b, w]) => Colour::Rgbw([r, g, b], w),
        (Space::Rgbww, &[r, g, b, cold, warm]) => Colour::Rgbww([r, g, b], cold, warm),
        (Space::Xy, &[x, y]) => Colour::Xy(x, y),
        _ => return Err(wrong()),
    };
    let mode = match space {
        Space::Hs => "hs",
        Space::Rgb => "rgb",
        Space::Rgbw => "rgbw",
        Space::Rgbww => "rgbww",
        Space::Xy => "xy",
    };
    put_colour(colour, mode, known);
    Ok(())
}

fn put_colour(colour: Colour, mode: &str, known: &mut Known) {
    for (name, value) in colour.attributes() {
        set(known, name, value);
    }
    match colour {
        Colour::Rgbw([r, g, b], w) => set(known, "rgbw_color", json!([r, g, b, w].map(whole))),
        Colour::Rgbww([r, g, b], cold, warm) => {
            set(known, "rgbww_color", json!([r, g, b, cold, warm].map(whole)));
        }
        _ => {}
    }
    set(known, "color_mode", Value::from(mode));
}

/// A state in one JSON object.
pub(super) fn json(
    payload: &Payload<'_>,
    scale: f64,
    kelvin: bool,
    known: &mut Known,
) -> Result<Taken, String> {
    let Some(Value::Object(said)) = payload.json() else {
        return Err("a JSON light's state has to be a JSON object".to_owned());
    };
    match said.get("state") {
        Some(Value::String(on)) if on == "ON" => known.state = Some("on".to_owned()),
        Some(Value::String(off)) if off == "OFF" => known.state = Some("off".to_owned()),
        Some(Value::Null) => known.state = None,
        _ => {}
    }
    if let Some(value) = said.get("brightness").and_then(Value::as_f64) {
        set(known, "brightness", json!(whole(value / scale * 255.0)));
    }
    let mode = said.get("color_mode").and_then(Value::as_str);
    if let Some(colour) = said.get("color").and_then(|colour| colour_of(colour, mode)) {
        let usual = match colour {
            Colour::Hs(..) => "hs",
            Colour::Rgb(_) | Colour::Kelvin(_) => "rgb",
            Colour::Rgbw(..) => "rgbw",
            Colour::Rgbww(..) => "rgbww",
            Colour::Xy(..) => "xy",
        };
        put_colour(colour, mode.unwrap_or(usual), known);
    }
    if mode.is_none_or(|mode| mode == "color_temp")
        && let Some(value) = said.get("color_temp").and_then(Value::as_f64)
    {
        put_temperature(value, kelvin, known)?;
    }
    if let Some(mode) = mode {
        set(known, "color_mode", Value::from(state(mode)?));
    }
    match said.get("effect") {
        Some(Value::String(effect)) => set(known, "effect", Value::from(state(effect)?)),
        Some(Value::Null) => set(known, "effect", Value::Null),
        _ => {}
    }
    Ok(Taken::Heard)
}

/// The colour in a JSON object, in the mode that is said, else in whichever is there.
fn colour_of(colour: &Value, mode: Option<&str>) -> Option<Colour> {
    let get = |key: &str| {
        colour
            .get(key)
            .and_then(Value::as_f64)
            .filter(|part| part.is_finite())
    };
    let rgb = || Some([get("r")?, get("g")?, get("b")?]);
    let hs = || Some(Colour::Hs(get("h")?, get("s")?));
    let xy = || Some(Colour::Xy(get("x")?, get("y")?));
    match mode {
        Some("hs") => hs(),
        Some("xy") => xy(),
        Some("rgb") => rgb().map(Colour::Rgb),
        Some("rgbw") => Some(Colour::Rgbw(rgb()?, get("w")?)),
        Some("rgbww") => Some(Colour::Rgbww(rgb()?, get("c")?, get("w")?)),
        Some("color_temp" | "brightness" | "onoff" | "white") => None,
        _ => rgb().map(Colour::Rgb).or_else(xy).or_else(hs),
    }
}

/// A state of which templates pick the parts. One that fails leaves its own part as it was.
pub(super) fn template(
    templates: &LightTemplates,
    payload: &Payload<'_>,
    plan: &Plan,
    engine: &Engine<'_>,
    known: &mut Known,
    faults: &mut Vec<String>,
) -> Result<Taken, String> {
    let mut get = |template: Option<&Template>| {
        let said = template?.value(payload, &plan.variables, engine);
        said.unwrap_or_else(|why| {
            faults.push(why);
            None
        })
        .filter(|text| !text.is_empty())
    };
    match get(templates.state.as_ref()).as_deref() {
        Some("on") => known.state = Some("on".to_owned()),
        Some("off") => known.state = Some("off".to_owned()),
        Some("None") => known.state = None,
        Some(other) => return Err(super::unexpected(other, ["on", "off"])),
        None => {}
    }
    if let Some(text) = get(templates.brightness.as_ref()) {
        brightness(&text, 255.0, known)?;
    }
    if let Some(text) = get(templates.temperature.as_ref()) {
        temperature(&text, templates.kelvin, known)?;
    }
    if let Some([red, green, blue]) = &templates.rgb {
        let parts = [red, green, blue].map(|template| parse(&get(Some(template))?).ok());
        if let [Some(r), Some(g), Some(b)] = parts {
            put_colour(Colour::Rgb([r, g, b]), "rgb", known);
        }
    }
    if let Some(text) = get(templates.effect.as_ref()) {
        set(known, "effect", Value::from(state(&text)?));
    }
    Ok(Taken::Heard)
}
