//! What `+`, `-`, `<` and their kind do. minijinja knows them for numbers and texts alone, and bounds nothing; times and
//! durations take part here, and every result is counted.

use std::cmp::Ordering;

use minijinja::value::{Tuple, Value, ValueKind};
use minijinja::{Error, State};

use super::format::{Given, format_printf};
use super::functions::lists;
use super::limits;
use super::numbers::{number, whole};
use super::session::{Session, wrong};
use super::text;
use super::time::{Moment, Span};

/// The names that operators are called by in the rewritten template.
pub(super) const NAMES: [&str; 22] = [
    "__add", "__sub", "__mul", "__div", "__intdiv", "__rem", "__pow", "__concat", "__eq", "__ne", "__lt",
    "__le", "__gt", "__ge", "__in", "__neg", "__slice", "__list", "__tuple", "__dict", "__keep", "__merge",
];

/// Does what an operator does to all of its operands, from the left.
pub(super) fn operate_all(name: &str, state: &State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
    let session = Session::of(state)?;
    session.spend(1)?;
    match (name, args) {
        ("__add" | "__sub" | "__mul", [first, second, rest @ ..]) => {
            let mut made = binary(name, first, second, &session)?;
            for next in rest {
                made = binary(name, &made, next, &session)?;
            }
            Ok(made)
        }
        ("__concat", parts) => {
            let mut joined = String::new();
            for part in parts {
                joined.push_str(&text::text(part, &session)?);
                if joined.len() > limits::TEXT {
                    break;
                }
            }
            bounded(joined, &session)
        }
        _ => operate(name, args, &session),
    }
}

/// What tests do with two values.
pub(super) fn compare(name: &str, a: &Value, b: &Value, session: &Session) -> Result<Value, Error> {
    operate(name, &[a.clone(), b.clone()], session)
}

fn operate(name: &str, args: &[Value], session: &Session) -> Result<Value, Error> {
    match (name, args) {
        ("__list" | "__tuple", items) => {
            items.iter().try_for_each(|item| text::weigh(item, session))?;
            let list = match name {
                "__list" => Value::from(items.to_vec()),
                _ => Value::from(Tuple::from(items)),
            };
            text::weigh(&list, session)?;
            Ok(list)
        }
        ("__merge", mappings) => lists::merged(mappings, false, session),
        ("__dict", pairs) => {
            pairs.iter().try_for_each(|item| text::weigh(item, session))?;
            let map = Value::from_pairs(
                pairs
                    .chunks_exact(2)
                    .map(|pair| (pair[0].clone(), pair[1].clone())),
            );
            text::weigh(&map, session)?;
            Ok(map)
        }
        ("__keep", [value]) => {
            text::weigh(value, session)?;
            Ok(value.clone())
        }
        ("__slice", [value, start, stop, step]) => slice(value, [start, stop, step], session),
        ("__neg", [value]) => match (number(value), value.downcast_object_ref::<Span>()) {
            (Some(_), _) => arithmetic("__mul", &Value::from(-1), value),
            (None, Some(span)) => Ok(Span { micros: -span.micros }.into_value()),
            _ => Err(wrong(format!("`-` cannot stand before {}", text::kind(value)))),
        },
        ("__eq" | "__ne" | "__in", [a, b]) => {
            heavy(a, session)?;
            heavy(b, session)?;
            let yes = match name {
                "__eq" => same(a, b),
                "__ne" => !same(a, b),
                _ => contains(b, a, session)?,
            };
            Ok(Value::from(yes))
        }
        ("__lt" | "__le" | "__gt" | "__ge", [a, b]) => {
            heavy(a, session)?;
            heavy(b, session)?;
            let order = order(a, b, &name[2..])?;
            Ok(Value::from(match name {
                "__lt" => order.is_some_and(Ordering::is_lt),
                "__le" => order.is_some_and(Ordering::is_le),
                "__gt" => order.is_some_and(Ordering::is_gt),
                _ => order.is_some_and(Ordering::is_ge),
            }))
        }
        (_, [a, b]) => binary(name, a, b, session),
        _ => Err(wrong("an operator was called by its inner name")),
    }
}

fn binary(name: &str, a: &Value, b: &Value, session: &Session) -> Result<Value, Error> {
    if number(a).is_some() && number(b).is_some() {
        return arithmetic(name, a, b);
    }
    let times = (
        a.downcast_object_ref::<Moment>(),
        b.downcast_object_ref::<Moment>(),
        a.downcast_object_ref::<Span>(),
        b.downcast_object_ref::<Span>(),
    );
    match (name, times) {
        ("__sub", (Some(a), Some(b), ..)) => {
            if a.shape != b.shape {
                let what =
                    "a time with and one without date or time zone cannot be subtracted: use `as_local`";
                return Err(wrong(what));
            }
            let micros = a.micros() - b.micros();
            return Ok(Span { micros }.into_value());
        }
        ("__add", (Some(moment), _, _, Some(span)) | (_, Some(moment), Some(span), _)) => {
            return moment.plus(span.micros).map(Moment::into_value);
        }
        ("__sub", (Some(moment), _, _, Some(span))) => {
            return moment.plus(-span.micros).map(Moment::into_value);
        }
        ("__add" | "__sub", (_, _, Some(a), Some(b))) => {
            let b = if name == "__add" { b.micros } else { -b.micros };
            return Span::of_micros(a.micros as f64 + b as f64).map(Span::into_value);
        }
        ("__div" | "__intdiv", (_, _, Some(a), Some(b))) if b.micros != 0 => {
            let times = a.micros as f64 / b.micros as f64;
            return Ok(if name == "__div" {
                Value::from(times)
            } else {
                whole(times.floor())
            });
        }
        ("__mul" | "__div", (_, _, Some(span), _)) => {
            if let Some(by) = number(b).filter(|by| name == "__mul" || *by != 0.0) {
                let micros = span.micros as f64;
                return Span::of_micros(if name == "__mul" { micros * by } else { micros / by })
                    .map(Span::into_value);
            }
        }
        ("__mul", (_, _, _, Some(span))) => {
            if let Some(by) = number(a) {
                return Span::of_micros(span.micros as f64 * by).map(Span::into_value);
            }
        }
        _ => {}
    }
    match (name, a.kind(), b.kind()) {
        ("__add", ValueKind::String, ValueKind::String) => {
            let joined = [a.as_str().unwrap_or_default(), b.as_str().unwrap_or_default()].concat();
            bounded(joined, session)
        }
        ("__add", ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable) => {
            let mut items = list(a, session)?;
            items.extend(list(b, session)?);
            let joined = alike(items, a.is_tuple() && b.is_tuple());
            text::weigh(&joined, session)?;
            Ok(joined)
        }
        ("__mul", ValueKind::String, ValueKind::Number) => repeated(a, b, session),
        ("__mul", ValueKind::Number, ValueKind::String) => repeated(b, a, session),
        ("__mul", ValueKind::Seq, ValueKind::Number) => {
            let items = list(a, session)?;
            let often = repeats(b, items.len(), limits::ITEMS)?;
            session.spend(often * items.len())?;
            let repeated = (0..often).flat_map(|_| items.iter().cloned()).collect();
            Ok(alike(repeated, a.is_tuple()))
        }
        ("__rem", ValueKind::String, _) => {
            let pattern = a.as_str().unwrap_or_default();
            format_printf(pattern, &Given::One(b), session).map(Value::from)
        }
        _ => Err(unlike(name, a, b)),
    }
}

/// Numbers.
fn arithmetic(name: &str, a: &Value, b: &Value) -> Result<Value, Error> {
    let zero = || wrong("something is divided by 0");
    let large = || wrong("a number grows too large");
    if let (Some(x), Some(y)) = (integer(a), integer(b)) {
        let result = match name {
            "__add" => x.checked_add(y),
            "__sub" => x.checked_sub(y),
            "__mul" => x.checked_mul(y),
            "__pow" if y >= 0 => u32::try_from(y).ok().and_then(|y| x.checked_pow(y)),
            "__intdiv" | "__rem" if y == 0 => return Err(zero()),
            "__intdiv" => x
                .checked_div_euclid(y)
                .map(|q| if y < 0 && x.rem_euclid(y) != 0 { q - 1 } else { q }),
            "__rem" => x
                .checked_rem_euclid(y)
                .map(|r| if y < 0 && r != 0 { r + y } else { r }),
            _ => return float(name, x as f64, y as f64).ok_or_else(zero),
        };
        return result
            .and_then(|number| i64::try_from(number).ok())
            .map(Value::from)
            .ok_or_else(large);
    }
    let (x, y) = (number(a).unwrap_or(f64::NAN), number(b).unwrap_or(f64::NAN));
    float(name, x, y).ok_or_else(zero)
}

fn float(name: &str, x: f64, y: f64) -> Option<Value> {
    let number = match name {
        "__add" => x + y,
        "__sub" => x - y,
        "__mul" => x * y,
        "__pow" => x.powf(y),
        _ if y == 0.0 => return None,
        "__div" => x / y,
        "__intdiv" => (x / y).floor(),
        _ => x - y * (x / y).floor(),
    };
    Some(Value::from(number))
}

fn integer(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn repeated(what: &Value, by: &Value, session: &Session) -> Result<Value, Error> {
    let what = what.as_str().unwrap_or_default();
    let often = repeats(by, what.len(), limits::TEXT)?;
    session.spend(often * what.len())?;
    Ok(Value::from(what.repeat(often)))
}

/// How often something is repeated.
fn repeats(by: &Value, len: usize, most: usize) -> Result<usize, Error> {
    let by = integer(by).ok_or_else(|| wrong("`*` repeats texts and lists a whole number of times"))?;
    let by = usize::try_from(by.max(0)).unwrap_or(usize::MAX);
    match by.checked_mul(len.max(1)) {
        Some(size) if size <= most => Ok(by),
        _ => Err(wrong(format!("`*` makes something larger than {most}"))),
    }
}

fn bounded(text: String, session: &Session) -> Result<Value, Error> {
    session.spend(text.len())?;
    if text.len() > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    Ok(Value::from(text))
}

/// The items of something that has some, counted.
pub(super) fn list(value: &Value, session: &Session) -> Result<Vec<Value>, Error> {
    if matches!(value.kind(), ValueKind::Undefined | ValueKind::None) {
        return Err(wrong(format!(
            "a list was asked for, and this is {}",
            text::kind(value)
        )));
    }
    let mut items = Vec::new();
    let found = value
        .try_iter()
        .map_err(|_| wrong(format!("a list was asked for, and this is {}", text::kind(value))))?;
    for item in found {
        session.spend(8)?;
        if items.len() >= limits::ITEMS {
            return Err(wrong(format!("a list grows beyond {} items", limits::ITEMS)));
        }
        items.push(item);
    }
    Ok(items)
}

/// Counts what is looked through when it is compared.
fn heavy(value: &Value, session: &Session) -> Result<(), Error> {
    match value.kind() {
        ValueKind::String | ValueKind::Seq | ValueKind::Iterable | ValueKind::Map
            if !text::is_store(value) =>
        {
            text::weigh(value, session)
        }
        _ => Ok(()),
    }
}

/// As `==` has it: `True == 1`, and a text is never a number.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (number(a), number(b)) {
        (Some(x), Some(y)) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a == b,
            _ => x == y,
        },
        _ => a == b,
    }
}

fn contains(container: &Value, value: &Value, session: &Session) -> Result<bool, Error> {
    match container.kind() {
        ValueKind::String => match value.as_str() {
            Some(part) => Ok(container.as_str().unwrap_or_default().contains(part)),
            None => Err(wrong(format!(
                "`in` looks for texts in a text, and got {}",
                text::kind(value)
            ))),
        },
        ValueKind::Map => Ok(container.get_item(value).is_ok_and(|found| !found.is_undefined())),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = list(container, session)?;
            Ok(items.iter().any(|item| same(item, value)))
        }
        _ => Err(wrong(format!(
            "`in` looks into lists and texts, and got {}",
            text::kind(container)
        ))),
    }
}

/// Which comes first. None: neither, as with NaN.
fn order(a: &Value, b: &Value, name: &str) -> Result<Option<Ordering>, Error> {
    if let (Some(x), Some(y)) = (number(a), number(b)) {
        return Ok(match (integer(a), integer(b)) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => x.partial_cmp(&y),
        });
    }
    let comparable = match (a.kind(), b.kind()) {
        (ValueKind::String, ValueKind::String) => true,
        (ValueKind::Seq | ValueKind::Iterable, ValueKind::Seq | ValueKind::Iterable) => true,
        _ => {
            let both = |is: fn(&Value) -> bool| is(a) && is(b);
            both(|value| value.downcast_object_ref::<Moment>().is_some())
                || both(|value| value.downcast_object_ref::<Span>().is_some())
        }
    };
    if comparable {
        return Ok(Some(a.cmp(b)));
    }
    Err(unlike(name, a, b))
}

fn unlike(name: &str, a: &Value, b: &Value) -> Error {
    let sign = match name.trim_start_matches('_') {
        "add" => "+",
        "sub" => "-",
        "mul" => "*",
        "div" => "/",
        "intdiv" => "//",
        "rem" => "%",
        "pow" => "**",
        "lt" => "<",
        "le" => "<=",
        "gt" => ">",
        "ge" => ">=",
        other => other,
    };
    let mut what = format!(
        "`{sign}` cannot be between {} and {}",
        text::kind(a),
        text::kind(b)
    );
    let is = |kind| a.kind() == kind || b.kind() == kind;
    if is(ValueKind::String) && is(ValueKind::Number) {
        what.push_str("; a state is a text: make it a number with `| float(0)`");
    } else if is(ValueKind::Undefined) || is(ValueKind::None) {
        what.push_str("; say what to take then with `| default(0)`");
    }
    wrong(what)
}

fn slice(value: &Value, bounds: [&Value; 3], session: &Session) -> Result<Value, Error> {
    let mut numbers = [None; 3];
    for (place, bound) in numbers.iter_mut().zip(bounds) {
        if !bound.is_none() {
            let number = integer(bound).ok_or_else(|| wrong("`[a:b]` takes whole numbers"))?;
            *place = Some(number.clamp(-(1 << 40), 1 << 40) as i64);
        }
    }
    let [start, stop, step] = numbers;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(wrong("`[a:b:c]` takes no step of 0"));
    }
    let text = value.as_str();
    let items: Vec<Value> = match text {
        Some(text) => {
            session.spend(text.len() * 8)?;
            text.chars().map(Value::from).collect()
        }
        None => list(value, session)?,
    };
    let len = items.len() as i64;
    let clamp =
        |bound: i64, low: i64, high: i64| (if bound < 0 { bound + len } else { bound }).clamp(low, high);
    let mut taken = Vec::new();
    if step > 0 {
        let (mut at, end) = (
            clamp(start.unwrap_or(0), 0, len),
            clamp(stop.unwrap_or(len), 0, len),
        );
        while at < end {
            taken.push(items[at as usize].clone());
            at += step;
        }
    } else {
        let mut at = start.map_or(len - 1, |start| clamp(start, -1, len - 1));
        let end = stop.map_or(-1, |stop| clamp(stop, -1, len - 1));
        while at > end {
            taken.push(items[at as usize].clone());
            at += step;
        }
    }
    Ok(match text {
        Some(_) => Value::from(taken.iter().filter_map(Value::as_str).collect::<String>()),
        None => alike(taken, value.is_tuple()),
    })
}

/// Items as a tuple, if they come from one.
fn alike(items: Vec<Value>, is_tuple: bool) -> Value {
    if is_tuple {
        Value::from(Tuple::from(items))
    } else {
        Value::from(items)
    }
}
