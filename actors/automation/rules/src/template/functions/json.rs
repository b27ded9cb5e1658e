//! JSON.

use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::numbers::number;
use super::super::session::{Session, wrong};
use super::super::{limits, text, values};

/// `x | from_json`.
pub(super) fn from_json(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = args.text("value", 0)?;
    // What is read takes more room than its text.
    session.spend(given.len() * 8)?;
    match serde_json::from_str(given) {
        Ok(value) => {
            let value = values::to_template(&value, session);
            text::weigh(&value, session)?;
            Ok(value)
        }
        Err(error) => args.or_default(1, || format!("`from_json` cannot read the text: {error}")),
    }
}

/// `x | to_json(pretty_print=true)`.
pub(super) fn to_json(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = json(args.first("value")?, 0, session)?;
    let pretty = args.named("pretty_print").is_some_and(Value::is_true);
    let made = if pretty {
        serde_json::to_string_pretty(&value)
    } else {
        serde_json::to_string(&value)
    };
    let made = made.map_err(|error| wrong(format!("`to_json` cannot write this: {error}")))?;
    session.spend(made.len())?;
    if made.len() > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    Ok(Value::from(made))
}

fn json(value: &Value, depth: usize, session: &Session) -> Result<serde_json::Value, Error> {
    if depth > limits::DEPTH {
        return Err(wrong(format!(
            "lists stand in one another deeper than {}",
            limits::DEPTH
        )));
    }
    session.spend(8)?;
    Ok(match value.kind() {
        ValueKind::None | ValueKind::Undefined => serde_json::Value::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => match value.as_i64().filter(|_| value.is_integer()) {
            Some(number) => number.into(),
            None => number(value).into(),
        },
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            session.spend(text.len())?;
            text.into()
        }
        ValueKind::Seq | ValueKind::Iterable => value
            .try_iter()?
            .map(|item| json(&item, depth + 1, session))
            .collect::<Result<_, _>>()?,
        ValueKind::Map => {
            let mut map = serde_json::Map::new();
            for key in value.try_iter()? {
                let name = text::text(&key, session)?;
                map.insert(name, json(&value.get_item(&key)?, depth + 1, session)?);
            }
            map.into()
        }
        _ => text::text(value, session)?.into(),
    })
}
