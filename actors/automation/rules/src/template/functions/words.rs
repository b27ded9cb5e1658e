//! Texts, and the methods of texts, lists and mappings.

use std::sync::Arc;

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::super::arguments::Arguments;
use super::super::session::{Session, wrong};
use super::super::{limits, ops, text};

/// `x | string`.
pub(super) fn string(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(text::text(args.first("value")?, session)?))
}

/// `typeof(x)`, by Python's names.
pub(super) fn type_of(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    Ok(Value::from(match value.kind() {
        ValueKind::None => "NoneType",
        ValueKind::Undefined => "Undefined",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        _ => match text::kind(value) {
            "a time" => "datetime",
            "a duration" => "timedelta",
            "a state" => "TemplateState",
            "a mapping" => "dict",
            _ => "list",
        },
    }))
}

/// `x | ordinal`: `1st`, `2nd` …
pub(super) fn ordinal(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let number = args.whole("value", 0, 0)?;
    let ending = match (number.unsigned_abs() % 100, number.unsigned_abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    Ok(Value::from(format!("{number}{ending}")))
}

/// `x | slugify(separator)`.
pub(super) fn slugify(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let between = match args.get("separator", 1) {
        Some(_) => args.text("separator", 1)?,
        None => "_",
    };
    let mut made = String::new();
    for c in given.chars().flat_map(char::to_lowercase) {
        match plain(c) {
            Some(letters) => made.push_str(letters),
            None if c.is_ascii_alphanumeric() => made.push(c),
            None if made.is_empty() || made.ends_with(between) => {}
            None => made.push_str(between),
        }
    }
    session.spend(made.len())?;
    let made = made
        .strip_suffix(between)
        .filter(|_| !between.is_empty())
        .unwrap_or(&made);
    Ok(Value::from(if made.is_empty() && !given.is_empty() {
        "unknown"
    } else {
        made
    }))
}

/// Letters with marks, without them.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ą' => "a",
        'ç' | 'ć' | 'č' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' | 'ī' => "i",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' => "o",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' => "u",
        'ý' | 'ÿ' => "y",
        'š' | 'ś' => "s",
        'ž' | 'ź' | 'ż' => "z",
        'ł' => "l",
        'ř' => "r",
        'ť' => "t",
        'ď' => "d",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        _ => return None,
    })
}

/// `x | replace(old, new, count)`.
pub(super) fn replace(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let old = text::text(args.must("old", 1)?, session)?;
    let new = text::text(args.must("new", 2)?, session)?;
    let most = args.whole("count", 3, -1)?;
    replaced(session, &given, &old, &new, most)
}

fn replaced(session: &Session, given: &str, old: &str, new: &str, most: i64) -> Result<Value, Error> {
    session.spend(given.len())?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let count = given.matches(old).count().min(most);
    let grown = given.len().saturating_add(count.saturating_mul(new.len()));
    session.spend(grown)?;
    if grown > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    Ok(Value::from(given.replacen(old, new, count)))
}

/// `x | split(between, most)`.
pub(super) fn split(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = args.text("value", 0)?;
    let between = args
        .get("sep", 1)
        .and_then(|between| between.as_str().map(str::to_owned));
    let most = args.whole("maxsplit", 2, -1)?;
    split_text(session, given, between.as_deref(), most)
}

fn split_text(session: &Session, given: &str, between: Option<&str>, most: i64) -> Result<Value, Error> {
    session.spend(given.len() * 8)?;
    let pieces = usize::try_from(most).map_or(usize::MAX, |most| most.saturating_add(1));
    let parts: Vec<Value> = match between {
        Some("") => return Err(wrong("`split` takes no empty text")),
        Some(between) => given
            .splitn(pieces, between)
            .take(limits::ITEMS)
            .map(Value::from)
            .collect(),
        None if most >= 0 => given
            .trim_start()
            .splitn(pieces, char::is_whitespace)
            .map(|part| Value::from(part.trim_start()))
            .collect(),
        None => given
            .split_whitespace()
            .take(limits::ITEMS)
            .map(Value::from)
            .collect(),
    };
    Ok(Value::from(parts))
}

/// A method of something that is not ours: as Python has it, where it is of use.
pub(super) fn method(
    session: &Arc<Session>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    session.spend(1)?;
    let args = Arguments::of(args)?;
    if let Some(given) = value.as_str() {
        session.spend(given.len())?;
        if let Some(made) = of_text(session, given, method, &args)? {
            return Ok(made);
        }
    }
    if value.kind() == ValueKind::Map
        && let Some(made) = of_mapping(session, value, method, &args)?
    {
        return Ok(made);
    }
    if value.kind() == ValueKind::Seq
        && let Some(made) = of_list(session, value, method, &args)?
    {
        return Ok(made);
    }
    let what = match value.kind() {
        ValueKind::Undefined => {
            let what = format!("`.{method}()` is asked of something that is not defined");
            return Err(Error::new(ErrorKind::UndefinedError, what));
        }
        _ => format!("{} has no method `{method}`", text::kind(value)),
    };
    Err(wrong(what))
}

fn of_text(
    session: &Session,
    given: &str,
    method: &str,
    args: &Arguments<'_>,
) -> Result<Option<Value>, Error> {
    let argument = |place: usize| args.ordered.get(place).and_then(Value::as_str);
    let set = |c: char| {
        argument(0).is_none_or(|set| set.contains(c)) && (argument(0).is_some() || c.is_whitespace())
    };
    let starts = |is: &dyn Fn(&str) -> bool| -> Result<bool, Error> {
        let wanted = args.must("prefix", 0)?;
        Ok(match wanted.as_str() {
            Some(text) => is(text),
            None => ops::list(wanted, session)?
                .iter()
                .filter_map(Value::as_str)
                .any(is),
        })
    };
    Ok(Some(match method {
        "upper" => Value::from(given.to_uppercase()),
        "lower" | "casefold" => Value::from(given.to_lowercase()),
        "strip" => Value::from(given.trim_matches(set)),
        "lstrip" => Value::from(given.trim_start_matches(set)),
        "rstrip" => Value::from(given.trim_end_matches(set)),
        "title" => Value::from(title(given)),
        "capitalize" => {
            let mut chars = given.chars();
            let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
            Value::from(first + &chars.as_str().to_lowercase())
        }
        "split" => return split_text(session, given, argument(0), args.whole("maxsplit", 1, -1)?).map(Some),
        "splitlines" => return Ok(Some(given.lines().take(limits::ITEMS).map(Value::from).collect())),
        "replace" => {
            let (old, new) = (args.text("old", 0)?, args.text("new", 1)?);
            return replaced(session, given, old, new, args.whole("count", 2, -1)?).map(Some);
        }
        "startswith" => Value::from(starts(&|wanted: &str| given.starts_with(wanted))?),
        "endswith" => Value::from(starts(&|wanted: &str| given.ends_with(wanted))?),
        "removeprefix" => Value::from(given.strip_prefix(args.text("prefix", 0)?).unwrap_or(given)),
        "removesuffix" => Value::from(given.strip_suffix(args.text("suffix", 0)?).unwrap_or(given)),
        "count" => Value::from(given.matches(args.text("sub", 0)?).count()),
        "find" => match given.find(args.text("sub", 0)?) {
            Some(at) => Value::from(given[..at].chars().count()),
            None => Value::from(-1),
        },
        "isdigit" | "isnumeric" | "isdecimal" => {
            Value::from(!given.is_empty() && given.chars().all(char::is_numeric))
        }
        "isalpha" => Value::from(!given.is_empty() && given.chars().all(char::is_alphabetic)),
        "isalnum" => Value::from(!given.is_empty() && given.chars().all(char::is_alphanumeric)),
        "islower" => {
            Value::from(given.chars().any(char::is_lowercase) && !given.chars().any(char::is_uppercase))
        }
        "isupper" => {
            Value::from(given.chars().any(char::is_uppercase) && !given.chars().any(char::is_lowercase))
        }
        "join" => {
            let parts = ops::list(args.must("items", 0)?, session)?;
            let mut joined = String::new();
            for (index, part) in parts.iter().enumerate() {
                joined.push_str(if index > 0 { given } else { "" });
                joined.push_str(&text::text(part, session)?);
                if joined.len() > limits::TEXT {
                    return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
                }
            }
            session.spend(joined.len())?;
            Value::from(joined)
        }
        "zfill" | "rjust" | "ljust" => {
            let width = usize::try_from(args.whole("width", 0, 0)?)
                .unwrap_or(0)
                .min(limits::TEXT);
            let fill = if method == "zfill" {
                "0"
            } else {
                argument(1).unwrap_or(" ")
            };
            let missing = width.saturating_sub(given.chars().count());
            session.spend(missing)?;
            let padding = fill.chars().next().unwrap_or(' ').to_string().repeat(missing);
            Value::from(if method == "ljust" {
                format!("{given}{padding}")
            } else {
                format!("{padding}{given}")
            })
        }
        _ => return Ok(None),
    }))
}

fn title(given: &str) -> String {
    let mut made = String::with_capacity(given.len());
    let mut within = false;
    for c in given.chars() {
        if within {
            made.extend(c.to_lowercase());
        } else {
            made.extend(c.to_uppercase());
        }
        within = c.is_alphabetic();
    }
    made
}

fn of_mapping(
    session: &Session,
    value: &Value,
    method: &str,
    args: &Arguments<'_>,
) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "get" => {
            let found = value.get_item(args.first("key")?)?;
            if found.is_undefined() {
                args.get("default", 1).cloned().unwrap_or(Value::from(()))
            } else {
                found
            }
        }
        "keys" => Value::from(ops::list(value, session)?),
        "values" => {
            let keys = ops::list(value, session)?;
            Value::from(
                keys.iter()
                    .map(|key| value.get_item(key))
                    .collect::<Result<Vec<_>, _>>()?,
            )
        }
        "items" => {
            let keys = ops::list(value, session)?;
            let pair = |key: Value| Ok(Value::from(vec![key.clone(), value.get_item(&key)?]));
            Value::from(keys.into_iter().map(pair).collect::<Result<Vec<_>, Error>>()?)
        }
        _ => return Ok(None),
    }))
}

fn of_list(
    session: &Session,
    value: &Value,
    method: &str,
    args: &Arguments<'_>,
) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "index" => {
            let wanted = args.first("value")?;
            let at = ops::list(value, session)?
                .iter()
                .position(|item| ops::same(item, wanted));
            Value::from(at.ok_or_else(|| wrong("`index` looks for something that is not in the list"))?)
        }
        "count" => {
            let wanted = args.first("value")?;
            Value::from(
                ops::list(value, session)?
                    .iter()
                    .filter(|item| ops::same(item, wanted))
                    .count(),
            )
        }
        "append" | "extend" | "insert" | "pop" | "remove" | "sort" => {
            return Err(wrong(format!(
                "`{method}` changes a list, which templates cannot: make a new one with `+`"
            )));
        }
        _ => return Ok(None),
    }))
}
