//! Data with templates in it → values; spans → milliseconds.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::facts::Facts;
use crate::model::{Data, Span};
use crate::template::{self, Rendered, TemplateError, Templates};

/// Renders all templates in data, with these variables.
///
/// # Errors
/// The first template that came to nothing.
pub fn render(
    data: &Data,
    templates: &Templates,
    facts: &Arc<dyn Facts>,
    variables: &Map<String, Value>,
) -> Result<Value, TemplateError> {
    Ok(match data {
        Data::Plain(value) => value.clone(),
        Data::Template(template) => templates.render(&template.0, Arc::clone(facts), variables)?.value,
        Data::List(items) => Value::Array(
            items
                .iter()
                .map(|item| render(item, templates, facts, variables))
                .collect::<Result<_, _>>()?,
        ),
        Data::Mapping(entries) => Value::Object(
            entries
                .iter()
                .map(|(key, item)| Ok((key.clone(), render(item, templates, facts, variables)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
    })
}

/// Renders the data of a call: under these keys stand texts, and what one template makes there stays the text that it was
/// rendered as where it looks like a list, mapping or truth value. JSON that is handed on keeps its order, digits and spaces so.
///
/// # Errors
/// The first template that came to nothing.
pub(super) fn render_call(
    data: &Data,
    texts: &[&str],
    templates: &Templates,
    facts: &Arc<dyn Facts>,
    variables: &Map<String, Value>,
) -> Result<Value, TemplateError> {
    let Data::Mapping(entries) = data else {
        return render(data, templates, facts, variables);
    };
    let value = |key: &str, item: &Data| match item {
        Data::Template(template) if texts.contains(&key) => Ok(as_text(templates.render(
            &template.0,
            Arc::clone(facts),
            variables,
        )?)),
        other => render(other, templates, facts, variables),
    };
    let pairs = entries
        .iter()
        .map(|(key, item)| Ok((key.clone(), value(key, item)?)));
    Ok(Value::Object(pairs.collect::<Result<_, TemplateError>>()?))
}

/// What was rendered, for who takes a text. A number is written anew, as Home Assistant does: of `2.50` comes `2.5`.
fn as_text(rendered: Rendered) -> Value {
    match rendered.value {
        Value::Null => Value::Null,
        // More digits than a number holds stay as they are.
        Value::Number(number) if number.is_i64() || rendered.text.contains('.') => {
            Value::String(template::printed(&number))
        }
        _ => Value::String(rendered.text),
    }
}

/// How long a span is, in milliseconds.
///
/// # Errors
/// A sentence: a template came to nothing, or to nothing that says how long.
pub fn span_ms(
    span: &Span,
    templates: &Templates,
    facts: &Arc<dyn Facts>,
    variables: &Map<String, Value>,
) -> Result<u64, String> {
    match span {
        Span::Millis(ms) => Ok(*ms),
        Span::Dynamic(data) => {
            let value = render(data, templates, facts, variables).map_err(|error| error.to_string())?;
            millis_of(&value)
                .ok_or_else(|| format!("{value} does not say how long: write seconds, or HH:MM:SS"))
        }
    }
}

/// Milliseconds that a value stands for: seconds, `HH:MM:SS`, a mapping of units, a duration.
fn millis_of(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => from_seconds(number.as_f64()?),
        Value::String(text) => {
            let text = text.trim();
            if let Ok(seconds) = text.parse() {
                return from_seconds(seconds);
            }
            let parts: Vec<&str> = text.split(':').collect();
            let [hours, minutes, seconds] = match parts[..] {
                [hours, minutes] => [hours, minutes, "0"],
                [hours, minutes, seconds] => [hours, minutes, seconds],
                _ => return None,
            };
            let whole = |text: &str| text.parse::<u32>().ok().map(f64::from);
            let seconds = seconds.parse::<f64>().ok().filter(|seconds| *seconds >= 0.0)?;
            from_seconds(whole(hours)? * 3_600.0 + whole(minutes)? * 60.0 + seconds)
        }
        Value::Object(map) if !map.is_empty() => {
            let mut sum = 0.0;
            for (unit, amount) in map {
                let amount = match amount {
                    Value::Number(number) => number.as_f64()?,
                    Value::String(text) => text.trim().parse().ok()?,
                    _ => return None,
                };
                sum += amount
                    * match unit.as_str() {
                        "days" => 86_400.0,
                        "hours" => 3_600.0,
                        "minutes" => 60.0,
                        "seconds" => 1.0,
                        "milliseconds" | "$span_ms" => 0.001,
                        _ => return None,
                    };
            }
            from_seconds(sum)
        }
        _ => None,
    }
}

/// A number of seconds that is not below 0, to the millisecond. What no calendar holds is cut.
fn from_seconds(seconds: f64) -> Option<u64> {
    (seconds.is_finite() && seconds >= 0.0).then(|| (seconds * 1_000.0).round() as u64)
}

/// How a value reads where a text is wanted: a service's name, an event's type, a state.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => template::printed(number),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Whether a value is what was written for it: as texts, or as numbers where both are.
pub(crate) fn same(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => wanted
            .parse::<f64>()
            .is_ok_and(|wanted| number.as_f64() == Some(wanted)),
        Value::Bool(yes) => wanted.eq_ignore_ascii_case(if *yes { "true" } else { "false" }),
        Value::Null => wanted.eq_ignore_ascii_case("none") || wanted.eq_ignore_ascii_case("null"),
        other => text_of(other) == wanted,
    }
}
