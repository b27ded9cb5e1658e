//! The methods that Python gives its texts, lists, mappings and numbers, where they are of use. Those of times are in
//! [`time`].

use std::sync::Arc;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};

use super::super::arguments::Arguments;
use super::super::session::{Session, wrong};
use super::super::{format, limits, numbers, ops, text, time};
use super::words;

/// Of texts.
const TEXT: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Of mappings.
const MAPPING: &[&str] = &["copy", "get", "items", "keys", "values"];

/// Of lists and tuples.
const LIST: &[&str] = &["copy", "count", "index"];

/// Of numbers.
const NUMBER: &[&str] = &["is_integer"];

/// Of `loop`.
const LOOP: &[&str] = &["changed", "cycle"];

/// Those that some value has.
pub(in crate::template) fn all() -> impl Iterator<Item = &'static str> + Clone {
    [
        TEXT,
        MAPPING,
        LIST,
        NUMBER,
        LOOP,
        time::METHODS,
        time::SPAN_METHODS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// What to write instead of a method that Python has and templates have not.
pub(in crate::template) fn instead(method: &str) -> Option<&'static str> {
    Some(match method {
        "append" | "extend" | "insert" | "remove" | "sort" | "reverse" => {
            "it changes a list, which templates cannot: make a new one with `+`, `| sort`, `| reverse` or `| reject`"
        }
        "pop" | "clear" => {
            "it changes what it is asked of, which templates cannot: make a new one with `x[1:]`, `| reject` or `dict(…)`"
        }
        "update" | "setdefault" | "popitem" => {
            "it changes a mapping, which templates cannot: make a new one with `combine(a, b)` or `dict(a, key=…)`"
        }
        "add" | "discard" | "union" | "intersection" | "difference" | "symmetric_difference" => {
            "there are no sets: use the filters `union`, `intersect`, `difference` and `unique`"
        }
        "encode" | "decode" | "hex" | "fromhex" => "there are no bytes: have the device send text or JSON",
        "format_map" => "write `.format(…)`, or `\"…\" % mapping`",
        "expandtabs" | "translate" | "maketrans" => "write `.replace(old, new)`",
        "isidentifier" | "isprintable" => "look at the text with `is match('…')`",
        "fromtimestamp" | "fromisoformat" | "today" | "utcnow" | "combine" => {
            "write `as_datetime(…)`, `now()` or `today_at(…)`"
        }
        _ => return None,
    })
}

/// A method of something that is not ours: as Python has it.
pub(super) fn call(
    session: &Arc<Session>,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    session.spend(1)?;
    let args = Arguments::of(args)?;
    let made = match value.kind() {
        ValueKind::String => {
            let given = value.as_str().unwrap_or_default();
            session.spend(given.len())?;
            of_text(session, given, method, &args)?
        }
        ValueKind::Map => of_mapping(session, value, method, &args)?,
        ValueKind::Seq | ValueKind::Iterable => of_list(session, value, method, &args)?,
        ValueKind::Number if method == "is_integer" => {
            numbers::number(value).map(|number| Value::from(number.fract() == 0.0))
        }
        ValueKind::Undefined => {
            let what = format!("`.{method}()` is asked of something that is not defined");
            return Err(Error::new(ErrorKind::UndefinedError, what));
        }
        _ => None,
    };
    made.ok_or_else(|| wrong(format!("{} has no method `{method}`", text::kind(value))))
}

fn of_text(
    session: &Session,
    given: &str,
    method: &str,
    args: &Arguments<'_>,
) -> Result<Option<Value>, Error> {
    let argument = |place: usize| args.ordered.get(place).and_then(Value::as_str);
    let set = |c: char| match argument(0) {
        Some(set) => set.contains(c),
        None => c.is_whitespace(),
    };
    let is_one = |wanted: &str, is: fn(&str, &str) -> bool| -> Result<bool, Error> {
        let wanted = args.must(wanted, 0)?;
        Ok(match wanted.as_str() {
            Some(text) => is(given, text),
            None => ops::list(wanted, session)?
                .iter()
                .filter_map(Value::as_str)
                .any(|text| is(given, text)),
        })
    };
    let all = |is: fn(char) -> bool| Value::from(!given.is_empty() && given.chars().all(is));
    let any = |is: fn(char) -> bool| given.chars().any(is);
    let at = |found: Option<usize>| found.map(|at| given[..at].chars().count());
    Ok(Some(match method {
        "upper" => Value::from(given.to_uppercase()),
        "lower" => Value::from(given.to_lowercase()),
        "casefold" => Value::from(given.to_lowercase().replace('ß', "ss")),
        "swapcase" => given.chars().map(swapped).collect::<String>().into(),
        "strip" => Value::from(given.trim_matches(set)),
        "lstrip" => Value::from(given.trim_start_matches(set)),
        "rstrip" => Value::from(given.trim_end_matches(set)),
        "title" => Value::from(title(given)),
        "capitalize" => {
            let mut chars = given.chars();
            let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
            Value::from(first + &chars.as_str().to_lowercase())
        }
        "format" => Value::from(format::format_braces(given, args, session)?),
        "split" => words::split_text(session, given, separator(args)?, args.whole("maxsplit", 1, -1)?)?,
        "rsplit" => rsplit(session, given, separator(args)?, args.whole("maxsplit", 1, -1)?)?,
        "splitlines" => given.lines().take(limits::ITEMS).map(Value::from).collect(),
        "partition" | "rpartition" => {
            let between = args.text("sep", 0)?;
            let first = method == "partition";
            let found = if first {
                given.split_once(between)
            } else {
                given.rsplit_once(between)
            };
            let parts = match found {
                Some((before, after)) => [before, between, after],
                None if first => [given, "", ""],
                None => ["", "", given],
            };
            Value::from(Tuple::from(parts.map(Value::from)))
        }
        "replace" => {
            let (old, new) = (args.text("old", 0)?, args.text("new", 1)?);
            words::replaced(session, given, old, new, args.whole("count", 2, -1)?)?
        }
        "startswith" => Value::from(is_one("prefix", |text, part| text.starts_with(part))?),
        "endswith" => Value::from(is_one("suffix", |text, part| text.ends_with(part))?),
        "removeprefix" => {
            let prefix = args.text("prefix", 0)?;
            Value::from(given.strip_prefix(prefix).unwrap_or(given))
        }
        "removesuffix" => {
            let suffix = args.text("suffix", 0)?;
            Value::from(given.strip_suffix(suffix).unwrap_or(given))
        }
        "count" => Value::from(given.matches(args.text("sub", 0)?).count()),
        "find" => at(given.find(args.text("sub", 0)?)).map_or(Value::from(-1), Value::from),
        "rfind" => at(given.rfind(args.text("sub", 0)?)).map_or(Value::from(-1), Value::from),
        "index" | "rindex" => {
            let part = args.text("sub", 0)?;
            let found = if method == "index" {
                given.find(part)
            } else {
                given.rfind(part)
            };
            let none = || wrong(format!("`{method}` looks for something that is not in the text"));
            Value::from(at(found).ok_or_else(none)?)
        }
        "isdigit" | "isnumeric" | "isdecimal" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(char::is_whitespace),
        "isascii" => Value::from(given.is_ascii()),
        "islower" => Value::from(any(char::is_lowercase) && !any(char::is_uppercase)),
        "isupper" => Value::from(any(char::is_uppercase) && !any(char::is_lowercase)),
        "istitle" => Value::from(any(char::is_alphabetic) && title(given) == given),
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
        "center" | "ljust" | "rjust" | "zfill" => {
            let width = args.whole("width", 0, 0)?;
            let fill = argument(1).filter(|_| method != "zfill");
            Value::from(words::widened(session, given, width, method, fill)?)
        }
        _ => return Ok(None),
    }))
}

/// What a text is split at; none: white space.
fn separator<'a>(args: &'a Arguments<'_>) -> Result<Option<&'a str>, Error> {
    match args.get("sep", 0) {
        None => Ok(None),
        Some(none) if none.is_none() => Ok(None),
        Some(_) => args.text("sep", 0).map(Some),
    }
}

/// As `split`, from the end; that shows only where there are more parts than are asked for.
fn rsplit(session: &Session, given: &str, between: Option<&str>, most: i64) -> Result<Value, Error> {
    let Ok(most) = usize::try_from(most) else {
        return words::split_text(session, given, between, -1);
    };
    session.spend(given.len() * 8)?;
    let mut parts = Vec::new();
    let mut rest = if between.is_some() {
        given
    } else {
        given.trim_end()
    };
    while parts.len() < most && parts.len() < limits::ITEMS {
        let found = match between {
            Some("") => return Err(wrong("`rsplit` takes no empty text")),
            Some(between) => rest.rsplit_once(between),
            None => rest
                .rsplit_once(char::is_whitespace)
                .map(|(before, after)| (before.trim_end(), after)),
        };
        let Some((before, after)) = found else { break };
        parts.push(after);
        rest = before;
    }
    if between.is_some() || !rest.is_empty() {
        parts.push(rest);
    }
    Ok(parts.into_iter().rev().map(Value::from).collect())
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

fn swapped(c: char) -> String {
    if c.is_uppercase() {
        c.to_lowercase().collect()
    } else {
        c.to_uppercase().collect()
    }
}

fn of_mapping(
    session: &Session,
    value: &Value,
    method: &str,
    args: &Arguments<'_>,
) -> Result<Option<Value>, Error> {
    let keys = || ops::list(value, session);
    Ok(Some(match method {
        "get" => {
            let found = value.get_item(args.first("key")?)?;
            if found.is_undefined() {
                args.get("default", 1).cloned().unwrap_or(Value::from(()))
            } else {
                found
            }
        }
        "copy" => {
            text::weigh(value, session)?;
            value.clone()
        }
        "keys" => Value::from(keys()?),
        "values" => keys()?
            .iter()
            .map(|key| value.get_item(key))
            .collect::<Result<Vec<_>, _>>()?
            .into(),
        "items" => keys()?
            .into_iter()
            .map(|key| {
                let item = value.get_item(&key)?;
                Ok(Value::from(Tuple::from([key, item])))
            })
            .collect::<Result<Vec<_>, Error>>()?
            .into(),
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
        "copy" => Value::from(ops::list(value, session)?),
        _ => return Ok(None),
    }))
}
