//! Values as text, in the way that Python writes them; and how large they are.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::limits;
use super::numbers::{number, printed_real};
use super::session::{Session, wrong};
use super::states::One;
use super::time::{Moment, Span};

/// As `str()` does: a text stays as it is.
pub(super) fn text(value: &Value, session: &Session) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        session.spend(text.len())?;
        return Ok(text.to_owned());
    }
    let mut out = String::new();
    write(value, &mut out, 0, session)?;
    session.spend(out.len())?;
    Ok(out)
}

/// As `repr()` does: a text stands in quotes.
pub(super) fn repr(value: &Value, session: &Session) -> Result<String, Error> {
    let mut out = String::new();
    match value.as_str() {
        Some(text) => {
            session.spend(text.len())?;
            quote(text, &mut out);
        }
        None => write(value, &mut out, 0, session)?,
    }
    session.spend(out.len())?;
    Ok(out)
}

/// As `repr()` does within lists and mappings: texts stand in quotes.
fn write(value: &Value, out: &mut String, depth: usize, session: &Session) -> Result<(), Error> {
    if out.len() > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    if depth > limits::DEPTH {
        return Err(too_deep());
    }
    session.spend(1)?;
    match value.kind() {
        ValueKind::Undefined => {}
        ValueKind::String if depth > 0 => quote(value.as_str().unwrap_or_default(), out),
        ValueKind::String => out.push_str(value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable if !is_own(value) => {
            let (open, close) = if value.is_tuple() { ('(', ')') } else { ('[', ']') };
            out.push(open);
            let mut count = 0;
            for item in value.try_iter()? {
                if count > 0 {
                    out.push_str(", ");
                }
                write(&item, out, depth + 1, session)?;
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                out.push(',');
            }
            out.push(close);
        }
        ValueKind::Map if !is_own(value) => {
            out.push('{');
            for (index, key) in value.try_iter()?.enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write(&key, out, depth + 1, session)?;
                out.push_str(": ");
                write(&value.get_item(&key)?, out, depth + 1, session)?;
            }
            out.push('}');
        }
        ValueKind::Number if !value.is_integer() => {
            out.push_str(&printed_real(number(value).unwrap_or(f64::NAN)));
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

/// A text in quotes, as Python writes it.
fn quote(text: &str, out: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(mark);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == mark => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(mark);
}

fn is_own(value: &Value) -> bool {
    value.downcast_object_ref::<One>().is_some()
        || value.downcast_object_ref::<Moment>().is_some()
        || value.downcast_object_ref::<Span>().is_some()
}

/// How large a value is with all that it holds, spent as it is counted. What stands too deep, holds too much, or would hold
/// itself is refused.
pub(super) fn weigh(value: &Value, session: &Session) -> Result<(), Error> {
    weigh_at(value, 0, session)
}

fn weigh_at(value: &Value, depth: usize, session: &Session) -> Result<(), Error> {
    if depth > limits::DEPTH {
        return Err(too_deep());
    }
    match value.kind() {
        ValueKind::String => {
            let len = value.as_str().map_or(0, str::len);
            if len > limits::TEXT {
                return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
            }
            session.spend(len)
        }
        ValueKind::Seq | ValueKind::Iterable | ValueKind::Map if !is_own(value) => {
            if is_store(value) {
                return Err(wrong(
                    "a namespace, macro or loop cannot be kept in something else",
                ));
            }
            let is_map = value.kind() == ValueKind::Map;
            for (index, item) in value.try_iter()?.enumerate() {
                if index >= limits::ITEMS {
                    return Err(wrong(format!("a list grows beyond {} items", limits::ITEMS)));
                }
                session.spend(8)?;
                weigh_at(&item, depth + 1, session)?;
                if is_map {
                    weigh_at(&value.get_item(&item)?, depth + 1, session)?;
                }
            }
            Ok(())
        }
        _ if is_store(value) => Err(wrong(
            "a namespace, macro or loop cannot be kept in something else",
        )),
        _ => session.spend(1),
    }
}

/// What may come to hold itself.
pub(super) fn is_store(value: &Value) -> bool {
    value.as_object().is_some_and(|object| {
        let name = object.type_name();
        name.ends_with("::Namespace")
            || name.contains("::Macro")
            || name.ends_with("::Loop")
            || name.contains("::vm::")
    })
}

fn too_deep() -> Error {
    wrong(format!(
        "lists stand in one another deeper than {}",
        limits::DEPTH
    ))
}

/// What a value is, for messages.
pub(super) fn kind(value: &Value) -> &'static str {
    match value.kind() {
        ValueKind::Undefined => "something that is not defined",
        ValueKind::None => "nothing (`None`)",
        ValueKind::Bool => "a truth value",
        ValueKind::Number => "a number",
        ValueKind::String => "a text",
        _ if value.downcast_object_ref::<One>().is_some() => "a state",
        _ if value.downcast_object_ref::<Moment>().is_some() => "a time",
        _ if value.downcast_object_ref::<Span>().is_some() => "a duration",
        ValueKind::Map => "a mapping",
        ValueKind::Seq if value.is_tuple() => "a tuple",
        ValueKind::Seq | ValueKind::Iterable => "a list",
        _ => "something else",
    }
}
