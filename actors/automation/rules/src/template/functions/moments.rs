//! Times and durations.

use std::sync::Arc;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use minijinja::Error;
use minijinja::value::Value;

use super::super::arguments::Arguments;
use super::super::numbers::{self, read};
use super::super::session::{Session, wrong};
use super::super::text;
use super::super::time::{Moment, Shape, Span, moment_of, of_seconds};
use crate::load::{span_text, time_of_day};

fn present(session: &Session) -> Moment {
    session.read(|depends| depends.now = true);
    Moment::of_ms(session.facts.now_ms(), session)
}

fn zone(session: &Session) -> TimeZone {
    session.facts.home().time_zone.clone()
}

/// `now()`.
pub(super) fn now(session: &Arc<Session>, _: &Arguments<'_>) -> Result<Value, Error> {
    Ok(present(session).into_value())
}

/// `utcnow()`.
pub(super) fn utcnow(session: &Arc<Session>, _: &Arguments<'_>) -> Result<Value, Error> {
    let zoned = present(session).zoned.with_time_zone(TimeZone::UTC);
    Ok(Moment::aware(zoned).into_value())
}

/// `today_at("07:30")`.
pub(super) fn today_at(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let text = match args.get("time_str", 0) {
        Some(_) => args.text("time_str", 0)?,
        None => "00:00",
    };
    let time =
        time_of_day(text).ok_or_else(|| wrong(format!("{text:?} is no time of day: write \"07:30\"")))?;
    let today = present(session).zoned.date();
    let at = |hour: u8| i8::try_from(hour).unwrap_or(0);
    let civil = today.at(at(time.hour), at(time.minute), at(time.second), 0);
    let zoned = civil
        .to_zoned(zone(session))
        .map_err(|_| wrong("that time does not exist"))?;
    Ok(Moment::aware(zoned).into_value())
}

/// `as_timestamp(x, default)`: seconds since 1970.
pub(super) fn as_timestamp(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let seconds = match value.as_str() {
        None => read(value),
        Some(_) => None,
    };
    match seconds.or_else(|| moment_of(value, session).map(|moment| moment.seconds())) {
        Some(seconds) => Ok(Value::from(seconds)),
        None => args.or_default(1, || {
            format!("`as_timestamp` makes no time of {}", text::kind(value))
        }),
    }
}

/// `as_datetime(x, default)`.
pub(super) fn as_datetime(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let seconds = value.as_str().and_then(|text| text.trim().parse::<f64>().ok());
    let moment = match seconds {
        Some(seconds) => of_seconds(seconds, TimeZone::UTC),
        None => moment_of(value, session),
    };
    match moment {
        Some(moment) => Ok(moment.into_value()),
        None => args.or_default(1, || {
            format!("`as_datetime` makes no time of {}", text::kind(value))
        }),
    }
}

/// `as_local(x)`.
pub(super) fn as_local(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let moment = moment_of(value, session)
        .ok_or_else(|| wrong(format!("`as_local` takes a time, and got {}", text::kind(value))))?;
    Ok(Moment::aware(moment.zoned.with_time_zone(zone(session))).into_value())
}

/// `x is datetime`.
pub(super) fn is_datetime(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(
        args.first("value")?.downcast_object_ref::<Moment>().is_some(),
    ))
}

/// `strptime(text, pattern, default)`.
pub(super) fn strptime(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    const LONGEST: usize = 256;
    let (given, pattern) = (args.text("string", 0)?, args.text("format", 1)?);
    let broken = (given.len().max(pattern.len()) <= LONGEST)
        .then(|| jiff::fmt::strtime::parse(pattern, given).ok())
        .flatten();
    let moment = broken.and_then(|broken| {
        if broken.offset().is_some() {
            return Some(Moment::aware(broken.to_zoned().ok()?));
        }
        // As in Python, what the pattern leaves out is the beginning of 1900.
        let date =
            broken
                .to_date()
                .unwrap_or(jiff::civil::Date::constant(broken.year().unwrap_or(1900), 1, 1));
        let time = broken.to_time().unwrap_or(jiff::civil::Time::midnight());
        let zoned = DateTime::from_parts(date, time).to_zoned(zone(session)).ok()?;
        Some(Moment {
            zoned,
            shape: Shape::Naive,
        })
    });
    match moment {
        Some(moment) => Ok(moment.into_value()),
        None => args.or_default(2, || "`strptime` cannot read the text by that pattern".to_owned()),
    }
}

fn custom(
    session: &Arc<Session>,
    value: &Value,
    pattern: &str,
    local: bool,
) -> Result<Option<String>, Error> {
    let Some(seconds) = read(value) else {
        return Ok(None);
    };
    let zone = if local { zone(session) } else { TimeZone::UTC };
    let text = of_seconds(seconds, zone)
        .map(|moment| moment.format(pattern))
        .transpose()?;
    if let Some(text) = &text {
        session.spend(text.len())?;
    }
    Ok(text)
}

/// `x | timestamp_custom(pattern, local, default)`.
pub(super) fn timestamp_custom(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let pattern = match args.get("date_format", 1) {
        Some(_) => args.text("date_format", 1)?,
        None => "%Y-%m-%d %H:%M:%S",
    };
    let local = args.get("local", 2).is_none_or(Value::is_true);
    match custom(session, value, pattern, local)? {
        Some(text) => Ok(Value::from(text)),
        None => args.or_default(3, || {
            format!("`timestamp_custom` takes seconds, and got {}", text::kind(value))
        }),
    }
}

/// `x | timestamp_local(default)`.
pub(super) fn timestamp_local(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    stamped(session, args, zone(session))
}

/// `x | timestamp_utc(default)`.
pub(super) fn timestamp_utc(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    stamped(session, args, TimeZone::UTC)
}

fn stamped(_: &Arc<Session>, args: &Arguments<'_>, zone: TimeZone) -> Result<Value, Error> {
    let value = args.first("value")?;
    match read(value).and_then(|seconds| of_seconds(seconds, zone)) {
        Some(moment) => Ok(Value::from(moment.iso('T'))),
        None => args.or_default(1, || {
            format!("seconds since 1970 were asked for, and got {}", text::kind(value))
        }),
    }
}

/// `timedelta(minutes=5)`.
pub(super) fn timedelta(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    // In the order that Python has them.
    const UNITS: [(&str, f64); 7] = [
        ("days", 86_400e6),
        ("seconds", 1e6),
        ("microseconds", 1.0),
        ("milliseconds", 1e3),
        ("minutes", 60e6),
        ("hours", 3_600e6),
        ("weeks", 604_800e6),
    ];
    if let Some((unknown, _)) = args
        .all_named()
        .iter()
        .find(|(name, _)| !UNITS.iter().any(|(unit, _)| unit == name))
    {
        return Err(wrong(format!("`timedelta` knows no `{unknown}`")));
    }
    let mut micros = 0.0;
    for (place, (unit, factor)) in UNITS.iter().enumerate() {
        if let Some(value) = args.get(unit, place) {
            let number = numbers::number(value).ok_or_else(|| {
                wrong(format!(
                    "`{unit}` has to be a number, and is {}",
                    text::kind(value)
                ))
            })?;
            micros += number * factor;
        }
    }
    Span::of_micros(micros).map(Span::into_value)
}

/// `as_timedelta("01:30:00")`.
pub(super) fn as_timedelta(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    if value.downcast_object_ref::<Span>().is_some() {
        return Ok(value.clone());
    }
    let ms = match value.as_str() {
        Some(text) => span_text(text),
        None => None,
    };
    Ok(ms.map_or(Value::from(()), |ms| Span::of_ms(ms).into_value()))
}

/// `time_since(x, precision)`: how long ago, in words.
pub(super) fn time_since(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    distance(session, args, 1.0)
}

/// `time_until(x, precision)`: how long until then, in words.
pub(super) fn time_until(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    distance(session, args, -1.0)
}

/// `relative_time(x)`: how long ago, in the largest unit.
pub(super) fn relative_time(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    distance(session, args, 1.0)
}

fn distance(session: &Arc<Session>, args: &Arguments<'_>, sign: f64) -> Result<Value, Error> {
    let value = args.first("value")?;
    // What is no time comes back as it is, as in Home Assistant.
    let Some(moment) = value.downcast_object_ref::<Moment>() else {
        return Ok(value.clone());
    };
    let apart = (present(session).seconds() - moment.seconds()) * sign;
    if apart < 0.0 {
        return Ok(value.clone());
    }
    Ok(Value::from(spelled(apart, args.whole("precision", 1, 1)?)))
}

/// `timedelta_string(x, precision)`: a duration in words, whether it is less than nothing or more.
pub(super) fn timedelta_string(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    match value.downcast_object_ref::<Span>() {
        Some(span) => Ok(Value::from(spelled(
            span.seconds().abs(),
            args.whole("precision", 1, 1)?,
        ))),
        None => Ok(value.clone()),
    }
}

/// A duration in words: in its largest units, so many of them; 0: in all.
fn spelled(seconds: f64, precision: i64) -> String {
    const UNITS: [(&str, u64); 6] = [
        ("year", 365 * 86_400),
        ("month", 30 * 86_400),
        ("day", 86_400),
        ("hour", 3_600),
        ("minute", 60),
        ("second", 1),
    ];
    let precision = if precision == 0 {
        UNITS.len()
    } else {
        precision.clamp(1, 6) as usize
    };
    let mut rest = seconds.round() as u64;
    let mut words = Vec::new();
    for (unit, seconds) in UNITS {
        let count = rest / seconds;
        if count > 0 && words.len() < precision {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
            rest %= seconds;
        }
    }
    if words.is_empty() {
        words.push("0 seconds".to_owned());
    }
    words.join(" ")
}
