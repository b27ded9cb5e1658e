//! Lists and mappings.

use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::session::{Session, wrong};
use super::super::{limits, ops, text};

/// `x | list`.
pub(super) fn list(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    if let Some(text) = value.as_str() {
        session.spend(text.len() * 8)?;
        return Ok(text.chars().take(limits::ITEMS).map(Value::from).collect());
    }
    Ok(Value::from(ops::list(value, session)?))
}

/// `x | length`.
pub(super) fn length(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    if let Some(text) = value.as_str() {
        session.spend(text.len())?;
        return Ok(Value::from(text.chars().count()));
    }
    if value.is_undefined() {
        return Ok(Value::from(0));
    }
    Ok(Value::from(ops::list(value, session)?.len()))
}

/// `range(stop)`, `range(start, stop, step)`.
pub(super) fn range(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let first = args.whole("start", 0, 0)?;
    let (start, stop) = match args.ordered.len() {
        1 => (0, first),
        _ => (first, args.whole("stop", 1, 0)?),
    };
    let step = args.whole("step", 2, 1)?;
    if step == 0 {
        return Err(wrong("`range` takes no step of 0"));
    }
    let far = (stop - start) / step;
    if far > limits::ITEMS as i64 {
        return Err(wrong(format!("`range` makes more than {} items", limits::ITEMS)));
    }
    let mut items = Vec::new();
    let mut at = start;
    while (step > 0 && at < stop) || (step < 0 && at > stop) {
        items.push(Value::from(at));
        at += step;
    }
    session.spend(items.len() * 8)?;
    Ok(Value::from(items))
}

/// `x | join(', ', attribute)`.
pub(super) fn join(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let between = match args.get("d", 1) {
        Some(between) => text::text(between, session)?,
        None => String::new(),
    };
    let attribute = args
        .get("attribute", 2)
        .and_then(|name| name.as_str().map(str::to_owned));
    let mut joined = String::new();
    for (index, item) in ops::list(args.first("value")?, session)?.iter().enumerate() {
        if index > 0 {
            joined.push_str(&between);
        }
        match &attribute {
            Some(name) => joined.push_str(&text::text(&item.get_attr(name)?, session)?),
            None => joined.push_str(&text::text(item, session)?),
        }
        if joined.len() > limits::TEXT {
            return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
        }
    }
    session.spend(joined.len())?;
    Ok(Value::from(joined))
}

/// `x | contains(y)`, `x is contains(y)`.
pub(super) fn contains(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    ops::compare("__in", args.must("item", 1)?, args.first("value")?, session)
}

/// `x is list`.
pub(super) fn is_list(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(args.first("value")?.kind() == ValueKind::Seq))
}

/// `iif(x, yes, no, none)`.
pub(super) fn iif(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let otherwise = || args.get("if_false", 2).cloned().unwrap_or(Value::from(false));
    Ok(if value.is_none() || value.is_undefined() {
        args.get("if_none", 3).cloned().unwrap_or_else(otherwise)
    } else if value.is_true() {
        args.get("if_true", 1).cloned().unwrap_or(Value::from(true))
    } else {
        otherwise()
    })
}

/// `x | flatten(levels)`.
pub(super) fn flatten(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let levels = args
        .get("levels", 1)
        .map_or(limits::DEPTH as i64, |levels| levels.as_i64().unwrap_or(1));
    let mut items = Vec::new();
    flatten_into(args.first("value")?, levels, &mut items, session)?;
    Ok(Value::from(items))
}

fn flatten_into(value: &Value, levels: i64, items: &mut Vec<Value>, session: &Session) -> Result<(), Error> {
    for item in ops::list(value, session)? {
        if levels > 0 && matches!(item.kind(), ValueKind::Seq | ValueKind::Iterable) {
            flatten_into(&item, levels - 1, items, session)?;
        } else {
            items.push(item);
        }
        if items.len() > limits::ITEMS {
            return Err(wrong(format!("a list grows beyond {} items", limits::ITEMS)));
        }
    }
    Ok(())
}

/// `zip(a, b)`.
pub(super) fn zip(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let lists = args
        .ordered
        .iter()
        .map(|list| ops::list(list, session))
        .collect::<Result<Vec<_>, _>>()?;
    let least = lists.iter().map(Vec::len).min().unwrap_or(0);
    session.spend(least * lists.len() * 8)?;
    let row = |index: usize| Value::from(lists.iter().map(|list| list[index].clone()).collect::<Vec<_>>());
    Ok((0..least).map(row).collect())
}
