//! Numbers.

use std::sync::Arc;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::numbers::{number, read, whole};
use super::super::ops;
use super::super::session::{Session, wrong};
use super::super::text;

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

/// `x | round(precision, method, default)`: without a precision, a whole number.
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
        "common" => {
            let scaled = number * scale;
            // As Python does: halves go to the even side, as far as the number itself is a half.
            let near = scaled.round_ties_even();
            if scaled.is_finite() { near / scale } else { number }
        }
        "ceil" => (number * scale).ceil() / scale,
        "floor" => (number * scale).floor() / scale,
        "half" => (number * 2.0).round_ties_even() / 2.0,
        other => {
            return Err(wrong(format!(
                "`round` has no method {other:?}: take common, ceil, floor or half"
            )));
        }
    };
    Ok(if precision == 0 && method != "half" {
        whole(rounded)
    } else {
        Value::from(rounded)
    })
}

/// One number in, one out; `default` where there is none.
pub(super) fn real(_: &Arc<Session>, args: &Arguments<'_>, work: fn(f64) -> f64) -> Result<Value, Error> {
    let value = args.first("value")?;
    match read(value).map(work).filter(|number| number.is_finite()) {
        Some(number) => Ok(Value::from(number)),
        None => args.or_default(1, || format!("no number comes of {}", shown(value))),
    }
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

/// The values that are meant: one list, or several arguments.
fn meant(session: &Session, args: &Arguments<'_>) -> Result<Vec<Value>, Error> {
    match args.ordered {
        [one] => ops::list(one, session),
        several => Ok(several.to_vec()),
    }
}

fn numbers(session: &Session, args: &Arguments<'_>) -> Result<Vec<f64>, Error> {
    let list = match args.ordered {
        [one, ..] if !matches!(one.kind(), ValueKind::Number) => ops::list(one, session)?,
        several => several.to_vec(),
    };
    list.iter()
        .map(|value| {
            read(value).ok_or_else(|| wrong(format!("a number was asked for, and got {}", shown(value))))
        })
        .collect()
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

/// The one in the middle.
pub(super) fn median(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut numbers = match (numbers(session, args), args.named("default")) {
        (Ok(numbers), _) => numbers,
        (Err(_), Some(default)) => return Ok(default.clone()),
        (Err(error), None) => return Err(error),
    };
    if numbers.is_empty() {
        return args.or_default(1, || "there is no median of nothing".to_owned());
    }
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    Ok(Value::from(if numbers.len() % 2 == 1 {
        numbers[middle]
    } else {
        f64::midpoint(numbers[middle - 1], numbers[middle])
    }))
}

/// The sum; of numbers alone.
pub(super) fn sum(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let attribute = args
        .get("attribute", 1)
        .and_then(|name| name.as_str().map(str::to_owned));
    let mut total = 0.0;
    let mut all_whole = true;
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
