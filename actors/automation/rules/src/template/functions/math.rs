//! Numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::numbers::{number, read, whole};
use super::super::session::{Session, wrong};
use super::super::{limits, ops, text};

fn shown(value: &Value) -> String {
    match value.as_str() {
        Some(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        None => text::kind(value).to_owned(),
    }
}

/// `float(x, default)`.
pub(super) fn float(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    match read(value) {
        Some(number) => Ok(Value::from(number)),
        None => args.or_default(1, || {
            format!(
                "`float` makes no number of {}; say what to take then: `float(0)`",
                shown(value)
            )
        }),
    }
}

/// `int(x, default, base)`.
pub(super) fn int(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let base = args.whole("base", 2, 10)?;
    if base != 10 {
        let radix = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
        let radix = radix.ok_or_else(|| wrong("`base` is from 2 to 36"))?;
        let text = value.as_str().unwrap_or_default().trim();
        let digits = match radix {
            16 => text.trim_start_matches("0x"),
            8 => text.trim_start_matches("0o"),
            2 => text.trim_start_matches("0b"),
            _ => text,
        };
        if let Ok(number) = i64::from_str_radix(digits, radix) {
            return Ok(Value::from(number));
        }
    } else if value.kind() == ValueKind::Number && value.is_integer() {
        return Ok(value.clone());
    } else if let Some(number) = read(value).filter(|number| number.is_finite()) {
        return Ok(whole(number.trunc()));
    }
    args.or_default(1, || {
        format!(
            "`int` makes no number of {}; say what to take then: `int(0)`",
            shown(value)
        )
    })
}

/// `bool(x, default)`.
pub(super) fn bool(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let known = match value.kind() {
        ValueKind::Bool => Some(value.is_true()),
        ValueKind::Number => number(value).map(|number| number != 0.0),
        ValueKind::String => match value.as_str().unwrap_or_default().trim().to_lowercase().as_str() {
            "1" | "true" | "yes" | "on" | "enable" => Some(true),
            "0" | "false" | "no" | "off" | "disable" => Some(false),
            _ => None,
        },
        _ => None,
    };
    match known {
        Some(known) => Ok(Value::from(known)),
        None => args.or_default(1, || format!("`bool` makes no truth value of {}", shown(value))),
    }
}

/// `is_number(x)`.
pub(super) fn is_number(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let is = read(value).is_some_and(f64::is_finite) && value.kind() != ValueKind::Bool;
    Ok(Value::from(is))
}

/// `x | round(precision, method, default)`: without a precision, a whole number, also of halves.
pub(super) fn round(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let precision = args.whole("precision", 1, 0)?.clamp(-15, 15) as i32;
    let method = match args.get("method", 2) {
        Some(method) => method.as_str().unwrap_or_default().to_owned(),
        None => "common".to_owned(),
    };
    let Some(number) = read(value).filter(|number| number.is_finite()) else {
        return match args.get("default", 3) {
            Some(default) => Ok(default.clone()),
            None => Err(wrong(format!("`round` takes numbers, and got {}", shown(value)))),
        };
    };
    let scale = 10f64.powi(precision);
    let rounded = match method.as_str() {
        "common" => nearest(number, precision),
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        "half" => (number * 2.0).round_ties_even() / 2.0,
        other => {
            return Err(wrong(format!(
                "`round` has no method {other:?}: take common, ceil, floor or half"
            )));
        }
    };
    Ok(if precision == 0 {
        whole(rounded)
    } else {
        Value::from(rounded)
    })
}

/// As Python does: what the number is exactly decides, and a half goes to the even side.
fn nearest(number: f64, precision: i32) -> f64 {
    match usize::try_from(precision) {
        Ok(places) => format!("{number:.places$}").parse().unwrap_or(number),
        Err(_) => {
            let scale = 10f64.powi(-precision);
            (number / scale).round_ties_even() * scale
        }
    }
}

/// One number in, one out; `default` where there is none.
pub(super) fn real(_: &Arc<Session>, args: &Arguments<'_>, work: fn(f64) -> f64) -> Result<Value, Error> {
    let value = args.first("value")?;
    match read(value).map(work).filter(|number| number.is_finite()) {
        Some(number) => Ok(Value::from(number)),
        None => args.or_default(1, || format!("no number comes of {}", shown(value))),
    }
}

/// `atan2(y, x, default)`, or of a list of both.
pub(super) fn atan2(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (pair, default) = match args.ordered {
        [list, rest @ ..] if matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) => {
            (ops::list(list, session)?, rest.first())
        }
        [y, x, rest @ ..] => (vec![y.clone(), x.clone()], rest.first()),
        _ => return Err(wrong("`atan2` takes two numbers")),
    };
    let numbers: Vec<f64> = pair.iter().filter_map(read).collect();
    match (numbers.as_slice(), args.named("default").or(default)) {
        ([y, x], _) if pair.len() == 2 => Ok(Value::from(y.atan2(*x))),
        (_, Some(default)) => Ok(default.clone()),
        _ => Err(wrong("`atan2` takes two numbers")),
    }
}

/// A number that has to be there.
fn must(args: &Arguments<'_>, name: &str, place: usize) -> Result<f64, Error> {
    let value = args.must(name, place)?;
    read(value).ok_or_else(|| wrong(format!("`{name}` has to be a number, and is {}", shown(value))))
}

/// `x | clamp(min, max)`: not less than the one, and not more than the other.
pub(super) fn clamp(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (least, most) = (must(args, "min_value", 1)?, must(args, "max_value", 2)?);
    Ok(Value::from(must(args, "value", 0)?.min(most).max(least)))
}

/// `x | wrap(min, max)`: as on a clock, what goes beyond the greatest begins again at the least.
pub(super) fn wrap(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (least, most) = (must(args, "min_value", 1)?, must(args, "max_value", 2)?);
    Ok(Value::from(wrapped(must(args, "value", 0)?, least, most)))
}

fn wrapped(number: f64, least: f64, most: f64) -> f64 {
    let range = most - least;
    if range == 0.0 {
        return least;
    }
    let beyond = number - least;
    beyond - range * (beyond / range).floor() + least
}

/// `x | remap(in_min, in_max, out_min, out_max, steps=0, edges='none')`: from one range to another.
pub(super) fn remap(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut number = must(args, "value", 0)?;
    let (in_min, in_max) = (must(args, "in_min", 1)?, must(args, "in_max", 2)?);
    let (out_min, out_max) = (must(args, "out_min", 3)?, must(args, "out_max", 4)?);
    let range = in_max - in_min;
    if range == 0.0 {
        return Err(wrong(
            "`remap` takes a range that has a beginning and another end",
        ));
    }
    let edges = match args.named("edges") {
        Some(edges) => edges.as_str().unwrap_or_default(),
        None => "none",
    };
    number = match edges {
        "none" => number,
        "clamp" => number.min(in_max).max(in_min),
        "wrap" => wrapped(number, in_min, in_max),
        "mirror" => {
            let period = ((number - in_min) / range).floor();
            let within = number - in_min - period * range;
            let is_odd = period.rem_euclid(2.0) != 0.0;
            in_min + if is_odd { range - within } else { within }
        }
        other => {
            return Err(wrong(format!(
                "`remap` has no edges {other:?}: take none, clamp, wrap or mirror"
            )));
        }
    };
    let steps = match args.named("steps") {
        Some(steps) => read(steps).unwrap_or(0.0).max(0.0).trunc(),
        None => 0.0,
    };
    let mut share = (number - in_min) / range;
    if steps > 0.0 {
        share = (share * steps).round_ties_even() / steps;
    }
    Ok(Value::from(out_min + share * (out_max - out_min)))
}

/// `log(x, base, default)`.
pub(super) fn log(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let base = args.get("base", 1).and_then(read).unwrap_or(std::f64::consts::E);
    match read(value)
        .map(|number| number.log(base))
        .filter(|number| number.is_finite())
    {
        Some(number) => Ok(Value::from(number)),
        None => args.or_default(2, || {
            format!("`log` takes numbers above 0, and got {}", shown(value))
        }),
    }
}

/// `x | add(y, default)`.
pub(super) fn add(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    two(args, |a, b| a + b)
}

/// `x | multiply(y, default)`.
pub(super) fn multiply(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    two(args, |a, b| a * b)
}

fn two(args: &Arguments<'_>, work: fn(f64, f64) -> f64) -> Result<Value, Error> {
    let (a, b) = (args.first("value")?, args.must("amount", 1)?);
    match (read(a), read(b)) {
        (Some(a), Some(b)) => Ok(Value::from(work(a, b))),
        _ => args.or_default(2, || format!("no number comes of {} and {}", shown(a), shown(b))),
    }
}

/// `x | bitwise_and(y)`.
pub(super) fn bitwise_and(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(
        args.whole("value", 0, 0)? & args.whole("other", 1, 0)?,
    ))
}

/// `x | bitwise_or(y)`.
pub(super) fn bitwise_or(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(
        args.whole("value", 0, 0)? | args.whole("other", 1, 0)?,
    ))
}

/// `x | bitwise_xor(y)`.
pub(super) fn bitwise_xor(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(
        args.whole("value", 0, 0)? ^ args.whole("other", 1, 0)?,
    ))
}

/// The values that are meant: one list, or several arguments.
fn meant(session: &Session, args: &Arguments<'_>) -> Result<Vec<Value>, Error> {
    match args.ordered {
        [one] => ops::list(one, session),
        several => Ok(several.to_vec()),
    }
}

fn numbers(session: &Session, args: &Arguments<'_>) -> Result<Vec<f64>, Error> {
    Ok(values_and_numbers(session, args)?.1)
}

/// The values that numbers were asked of, and these.
fn values_and_numbers(session: &Session, args: &Arguments<'_>) -> Result<(Vec<Value>, Vec<f64>), Error> {
    let list = match args.ordered {
        [one, ..] if !matches!(one.kind(), ValueKind::Number) => ops::list(one, session)?,
        several => several.to_vec(),
    };
    let numbers = list
        .iter()
        .map(|value| {
            read(value).ok_or_else(|| wrong(format!("a number was asked for, and got {}", shown(value))))
        })
        .collect::<Result<_, _>>()?;
    Ok((list, numbers))
}

/// The mean.
pub(super) fn average(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let numbers = match (numbers(session, args), args.named("default")) {
        (Ok(numbers), _) => numbers,
        (Err(_), Some(default)) => return Ok(default.clone()),
        (Err(error), None) => return Err(error),
    };
    if numbers.is_empty() {
        return args.or_default(1, || "there is no average of nothing".to_owned());
    }
    Ok(Value::from(numbers.iter().sum::<f64>() / numbers.len() as f64))
}

/// The one in the middle, as it is; between two in the middle, their mean.
pub(super) fn median(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (values, numbers) = match (values_and_numbers(session, args), args.named("default")) {
        (Ok(both), _) => both,
        (Err(_), Some(default)) => return Ok(default.clone()),
        (Err(error), None) => return Err(error),
    };
    let mut sorted: Vec<(f64, &Value)> = numbers.into_iter().zip(&values).collect();
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let middle = sorted.len() / 2;
    match (sorted.get(middle), sorted.len() % 2) {
        (None, _) => args.or_default(1, || "there is no median of nothing".to_owned()),
        (Some((_, value)), 1) if value.kind() == ValueKind::Number => Ok((*value).clone()),
        (Some((number, _)), 1) => Ok(Value::from(*number)),
        (Some((number, _)), _) => Ok(Value::from(f64::midpoint(sorted[middle - 1].0, *number))),
    }
}

/// What comes most often; of several, the one that comes first.
pub(super) fn statistical_mode(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    let (values, default) = match args.ordered {
        [list, rest @ ..] if is_list(list) => (ops::list(list, session)?, rest.first()),
        several => (several.to_vec(), None),
    };
    let mut counts: BTreeMap<&Value, usize> = BTreeMap::new();
    for value in &values {
        text::weigh(value, session)?;
        *counts.entry(value).or_default() += 1;
    }
    session.spend(values.len() * 16)?;
    let most = counts.values().max();
    let mode = values.iter().find(|value| counts.get(value) == most);
    match mode.or(args.named("default")).or(default) {
        Some(value) => Ok(value.clone()),
        None => Err(wrong("nothing comes most often in nothing")),
    }
}

/// The sum of numbers; with a list to start with, lists one after the other.
pub(super) fn sum(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let start = args.get("start", 2);
    if let Some(start) = start.filter(|start| start.kind() == ValueKind::Seq) {
        return sum_of_lists(start, session, args);
    }
    let attribute = args
        .get("attribute", 1)
        .and_then(|name| name.as_str().map(str::to_owned));
    let mut total = start.and_then(number).unwrap_or(0.0);
    let mut all_whole = start.is_none_or(Value::is_integer);
    for item in ops::list(args.first("value")?, session)? {
        let item = match &attribute {
            Some(name) => item.get_attr(name)?,
            None => item,
        };
        let Some(number) = number(&item) else {
            let what = format!(
                "`sum` adds numbers, and got {}; put `| map('float', 0)` before it",
                shown(&item)
            );
            return Err(wrong(what));
        };
        all_whole &= item.is_integer() || item.kind() == ValueKind::Bool;
        total += number;
    }
    Ok(if all_whole {
        whole(total)
    } else {
        Value::from(total)
    })
}

fn sum_of_lists(start: &Value, session: &Session, args: &Arguments<'_>) -> Result<Value, Error> {
    let attribute = args.get("attribute", 1).and_then(Value::as_str);
    let mut items = ops::list(start, session)?;
    for list in ops::list(args.first("value")?, session)? {
        let list = match attribute {
            Some(name) => list.get_attr(name)?,
            None => list,
        };
        items.extend(ops::list(&list, session)?);
        if items.len() > limits::ITEMS {
            return Err(wrong(format!("a list grows beyond {} items", limits::ITEMS)));
        }
    }
    Ok(Value::from(items))
}

/// The greatest.
pub(super) fn max(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    extreme(session, args, "__gt")
}

/// The least.
pub(super) fn min(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    extreme(session, args, "__lt")
}

fn extreme(session: &Arc<Session>, args: &Arguments<'_>, better: &str) -> Result<Value, Error> {
    let attribute = args
        .named("attribute")
        .and_then(|name| name.as_str().map(str::to_owned));
    let mut best: Option<(Value, Value)> = None;
    for value in meant(session, args)? {
        let key = match &attribute {
            Some(name) => value.get_attr(name)?,
            None => value.clone(),
        };
        let wins = match &best {
            Some((_, known)) => ops::compare(better, &key, known, session)?.is_true(),
            None => true,
        };
        if wins {
            best = Some((value, key));
        }
    }
    Ok(best.map_or(Value::UNDEFINED, |(value, _)| value))
}
