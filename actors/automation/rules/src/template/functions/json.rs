//! JSON. Mappings keep the order in which they were written, both ways.

use std::fmt;
use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::super::arguments::Arguments;
use super::super::numbers::number;
use super::super::session::{Session, wrong};
use super::super::{limits, text};

/// `x | from_json`.
pub(super) fn from_json(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = args.text("value", 0)?;
    // What is read takes more room than its text.
    session.spend(given.len() * 8)?;
    match serde_json::from_str(given) {
        Ok(Read(value)) => {
            text::weigh(&value, session)?;
            Ok(value)
        }
        Err(error) => args.or_default(1, || format!("`from_json` cannot read the text: {error}")),
    }
}

/// `x | to_json(pretty_print=true, sort_keys=true)`.
pub(super) fn to_json(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let is = |name| args.named(name).is_some_and(Value::is_true);
    let value = json(args.first("value")?, is("sort_keys"), 0, session)?;
    let made = if is("pretty_print") {
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

/// What is written.
enum Json {
    Plain(serde_json::Value),
    List(Vec<Json>),
    Mapping(Vec<(String, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(value) => value.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Mapping(pairs) => serializer.collect_map(pairs.iter().map(|(key, value)| (key, value))),
        }
    }
}

fn json(value: &Value, sorted: bool, depth: usize, session: &Session) -> Result<Json, Error> {
    if depth > limits::DEPTH {
        return Err(wrong(format!(
            "lists stand in one another deeper than {}",
            limits::DEPTH
        )));
    }
    session.spend(8)?;
    Ok(Json::Plain(match value.kind() {
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
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?;
            let items = items.map(|item| json(&item, sorted, depth + 1, session));
            return Ok(Json::List(items.collect::<Result<_, _>>()?));
        }
        ValueKind::Map => {
            let mut pairs = Vec::new();
            for key in value.try_iter()? {
                let name = text::text(&key, session)?;
                pairs.push((name, json(&value.get_item(&key)?, sorted, depth + 1, session)?));
            }
            if sorted {
                pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            return Ok(Json::Mapping(pairs));
        }
        _ => text::text(value, session)?.into(),
    }))
}

/// What is read.
struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reading).map(Self)
    }
}

struct Reading;

impl<'de> Visitor<'de> for Reading {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::from(()))
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::from(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        // One type for what both hold: a number is the same however it came.
        Ok(i64::try_from(number).map_or_else(|_| Value::from(number), Value::from))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::from(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::from(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Read(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::from(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some((key, Read(value))) = entries.next_entry::<String, Read>()? {
            pairs.push((Value::from(key), value));
        }
        Ok(Value::from_pairs(pairs))
    }
}
