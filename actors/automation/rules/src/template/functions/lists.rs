//! Lists and mappings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, ErrorKind};

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
    let value = args.first("value")?;
    Ok(Value::from(value.kind() == ValueKind::Seq && !value.is_tuple()))
}

/// `x is sameas(y)`: of the same kind, and equal.
pub(super) fn same_as(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (value, other) = (args.first("value")?, args.must("other", 1)?);
    if value.kind() != other.kind() || value.is_integer() != other.is_integer() {
        return Ok(Value::from(false));
    }
    ops::compare("__eq", value, other, session)
}

/// `x | is_defined`: ends the template where there is nothing.
pub(super) fn is_defined(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    if value.is_undefined() {
        return Err(Error::new(
            ErrorKind::UndefinedError,
            "something before `is_defined` is not defined",
        ));
    }
    Ok(value.clone())
}

/// `x is tuple`.
pub(super) fn is_tuple(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(args.first("value")?.is_tuple()))
}

/// `tuple(x)`.
pub(super) fn tuple(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let items = ops::list(args.first("value")?, session)?;
    Ok(Value::from(Tuple::from(items)))
}

/// `x | batch(count, fill)`: lists of so many items; the last one is filled up, if something is given for that.
pub(super) fn batch(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let count = count_of(args, "linecount", "batch")?;
    let fill = args.get("fill_with", 2).filter(|fill| !fill.is_none());
    let items = ops::list(args.first("value")?, session)?;
    let mut lists: Vec<Vec<Value>> = items.chunks(count).map(<[Value]>::to_vec).collect();
    if let (Some(last), Some(fill)) = (lists.last_mut(), fill) {
        session.spend((count - last.len()) * 8)?;
        last.resize(count, fill.clone());
    }
    Ok(lists.into_iter().map(Value::from).collect())
}

/// `x | slice(count, fill)`: so many lists of about the same length.
pub(super) fn slice(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let count = count_of(args, "slices", "slice")?;
    let fill = args.get("fill_with", 2).filter(|fill| !fill.is_none());
    let items = ops::list(args.first("value")?, session)?;
    session.spend(count * 8)?;
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut rest = items.as_slice();
    let mut lists = Vec::with_capacity(count);
    for index in 0..count {
        let (taken, after) = rest.split_at(each + usize::from(index < longer));
        rest = after;
        let fill = fill.filter(|_| index >= longer);
        lists.push(taken.iter().chain(fill).cloned().collect::<Value>());
    }
    Ok(Value::from(lists))
}

fn count_of(args: &Arguments<'_>, name: &str, filter: &str) -> Result<usize, Error> {
    args.must(name, 1)?;
    match usize::try_from(args.whole(name, 1, 0)?) {
        Ok(count) if (1..=limits::ITEMS).contains(&count) => Ok(count),
        _ => Err(wrong(format!(
            "`{filter}` takes a number from 1 to {}",
            limits::ITEMS
        ))),
    }
}

/// The items of a list, and those of another as a set.
fn both(session: &Session, args: &Arguments<'_>) -> Result<(Vec<Value>, BTreeSet<Value>), Error> {
    let first = items_of(args.first("value")?, session)?;
    let second = items_of(args.must("other", 1)?, session)?;
    Ok((first, second.into_iter().collect()))
}

/// Items that are compared with one another, counted for that.
fn items_of(value: &Value, session: &Session) -> Result<Vec<Value>, Error> {
    if value.kind() == ValueKind::String {
        return Err(wrong("a list was asked for, and this is a text"));
    }
    let items = ops::list(value, session)?;
    for item in &items {
        text::weigh(item, session)?;
    }
    session.spend(items.len() * 16)?;
    Ok(items)
}

/// Each once, where it stands first.
fn distinct(items: impl IntoIterator<Item = Value>) -> Value {
    let mut seen = BTreeSet::new();
    items
        .into_iter()
        .filter(|item| seen.insert(item.clone()))
        .collect()
}

/// `set(x)`: a list without repetitions; there is no type of its own for that.
pub(super) fn set(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(match args.ordered.first() {
        None => Value::from(Vec::<Value>::new()),
        Some(value) => distinct(items_of(value, session)?),
    })
}

/// `intersect(a, b)`: what is in both.
pub(super) fn intersect(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (first, second) = both(session, args)?;
    Ok(distinct(first.into_iter().filter(|item| second.contains(item))))
}

/// `difference(a, b)`: what is in the first alone.
pub(super) fn difference(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (first, second) = both(session, args)?;
    Ok(distinct(first.into_iter().filter(|item| !second.contains(item))))
}

/// `union(a, b)`: what is in one of them.
pub(super) fn union(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut items = items_of(args.first("value")?, session)?;
    items.extend(items_of(args.must("other", 1)?, session)?);
    Ok(distinct(items))
}

/// `symmetric_difference(a, b)`: what is in one of them and not in the other.
pub(super) fn symmetric_difference(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let first = items_of(args.first("value")?, session)?;
    let second = items_of(args.must("other", 1)?, session)?;
    let (in_first, in_second): (BTreeSet<_>, BTreeSet<_>) =
        (first.iter().cloned().collect(), second.iter().cloned().collect());
    let one = first.into_iter().filter(|item| !in_second.contains(item));
    let other = second.into_iter().filter(|item| !in_first.contains(item));
    Ok(distinct(one.chain(other)))
}

/// `combine(a, b, recursive=true)`: one mapping of several; later ones come before earlier ones.
pub(super) fn combine(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    args.first("value")?;
    let recursive = args.named("recursive").is_some_and(Value::is_true);
    merged(args.ordered, recursive, session)
}

/// `dict(x, key=…)`, where `x` is a mapping, or a list of keys and values.
pub(super) fn dict(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut pairs = match args.ordered {
        [] => Vec::new(),
        [value] if value.is_undefined() => Vec::new(),
        [value] => pairs(value, session)?,
        _ => {
            return Err(wrong(
                "`dict` takes one mapping; put several together with `combine(a, b)`",
            ));
        }
    };
    pairs.extend(
        args.all_named()
            .iter()
            .map(|(key, value)| (Value::from(key.as_str()), value.clone())),
    );
    let made = Value::from_pairs(pairs);
    text::weigh(&made, session)?;
    Ok(made)
}

fn pairs(value: &Value, session: &Session) -> Result<Vec<(Value, Value)>, Error> {
    let items = ops::list(value, session)?.into_iter();
    if value.kind() == ValueKind::Map {
        return items
            .map(|key| Ok((key.clone(), value.get_item(&key)?)))
            .collect();
    }
    let pair = |item: Value| match ops::list(&item, session)?.as_slice() {
        [key, value] => Ok((key.clone(), value.clone())),
        _ => Err(wrong(
            "`dict` takes a mapping, or a list of pairs of a key and a value",
        )),
    };
    items.map(pair).collect()
}

/// Mappings as one.
pub(in crate::template) fn merged(
    mappings: &[Value],
    recursive: bool,
    session: &Session,
) -> Result<Value, Error> {
    merged_at(mappings, recursive, 0, session)
}

fn merged_at(mappings: &[Value], recursive: bool, depth: usize, session: &Session) -> Result<Value, Error> {
    if depth > limits::DEPTH {
        return Err(wrong(format!(
            "mappings stand in one another deeper than {}",
            limits::DEPTH
        )));
    }
    let mut made: Vec<(Value, Value)> = Vec::new();
    let mut places: BTreeMap<Value, usize> = BTreeMap::new();
    for mapping in mappings {
        if mapping.kind() != ValueKind::Map {
            let what = format!(
                "mappings are put together here, and this is {}",
                text::kind(mapping)
            );
            return Err(wrong(what));
        }
        for (key, value) in pairs(mapping, session)? {
            text::weigh(&value, session)?;
            let Some(place) = places.get(&key) else {
                places.insert(key.clone(), made.len());
                made.push((key, value));
                continue;
            };
            let known = &mut made[*place].1;
            *known = if recursive && known.kind() == ValueKind::Map && value.kind() == ValueKind::Map {
                merged_at(&[known.clone(), value], recursive, depth + 1, session)?
            } else {
                value
            };
        }
    }
    Ok(Value::from_pairs(made))
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
    let row = |index: usize| {
        let items: Vec<Value> = lists.iter().map(|list| list[index].clone()).collect();
        Value::from(Tuple::from(items))
    };
    Ok((0..least).map(row).collect())
}
