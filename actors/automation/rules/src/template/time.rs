//! Times and durations as templates see them: `now()`, `states.x.y.last_changed`, `timedelta(minutes=5)`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, State};

use super::arguments::Arguments;
use super::numbers;
use super::session::{Session, wrong};

const MS_A_DAY: i64 = 86_400_000;

/// The methods of a date and time.
pub(super) const METHODS: &[&str] = &[
    "astimezone",
    "date",
    "dst",
    "isocalendar",
    "isoformat",
    "isoweekday",
    "replace",
    "strftime",
    "time",
    "timestamp",
    "timetuple",
    "toordinal",
    "tzname",
    "utcoffset",
    "weekday",
];

/// The methods of a duration.
pub(super) const SPAN_METHODS: &[&str] = &["total_seconds"];

/// What of a moment is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Date and time, with its distance from UTC.
    Aware,
    /// Date and time by the home's clock, without saying so.
    Naive,
    /// `.date()`.
    Date,
    /// `.time()`.
    Time,
}

/// A date and time.
#[derive(Clone)]
pub(super) struct Moment {
    pub(super) zoned: Zoned,
    pub(super) shape: Shape,
}

impl Moment {
    pub(super) fn of_ms(ms: i64, session: &Session) -> Self {
        let stamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::aware(stamp.to_zoned(session.facts.home().time_zone.clone()))
    }

    /// By UTC's clock.
    pub(super) fn utc_of_ms(ms: i64) -> Self {
        let stamp = Timestamp::from_millisecond(ms).unwrap_or(Timestamp::UNIX_EPOCH);
        Self::aware(stamp.to_zoned(TimeZone::UTC))
    }

    pub(super) fn aware(zoned: Zoned) -> Self {
        Self {
            zoned,
            shape: Shape::Aware,
        }
    }

    pub(super) fn into_value(self) -> Value {
        Value::from_object(self)
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> f64 {
        self.zoned.timestamp().as_microsecond() as f64 / 1e6
    }

    /// What it is compared and subtracted by.
    pub(super) fn micros(&self) -> i64 {
        match self.shape {
            Shape::Time => time_micros(&self.zoned),
            Shape::Date => {
                let epoch = Date::constant(1970, 1, 1);
                let days = self
                    .zoned
                    .date()
                    .since(epoch)
                    .map_or(0, |span| i64::from(span.get_days()));
                days * MS_A_DAY * 1_000
            }
            _ => self.zoned.timestamp().as_microsecond(),
        }
    }

    /// So much later.
    pub(super) fn plus(&self, micros: i64) -> Result<Self, Error> {
        let far = || wrong("that time is too far away");
        let zoned = match self.shape {
            // A naive time counts by the clock on the wall, as in Python.
            Shape::Aware => {
                let stamp = self
                    .zoned
                    .timestamp()
                    .as_microsecond()
                    .checked_add(micros)
                    .ok_or_else(far)?;
                let stamp = Timestamp::from_microsecond(stamp).map_err(|_| far())?;
                stamp.to_zoned(self.zoned.time_zone().clone())
            }
            _ => {
                let civil = self
                    .zoned
                    .datetime()
                    .checked_add(jiff::SignedDuration::from_micros(micros))
                    .map_err(|_| far())?;
                civil
                    .to_zoned(self.zoned.time_zone().clone())
                    .map_err(|_| far())?
            }
        };
        Ok(Self {
            zoned,
            shape: self.shape,
        })
    }

    /// As ISO 8601 has it; Python puts a space where the standard has a `T`.
    pub(super) fn iso(&self, between: char) -> String {
        let d = self.zoned.datetime();
        let date = format!("{:04}-{:02}-{:02}", d.year(), d.month(), d.day());
        let mut time = format!("{:02}:{:02}:{:02}", d.hour(), d.minute(), d.second());
        let micros = d.subsec_nanosecond() / 1_000;
        if micros != 0 {
            time.push_str(&format!(".{micros:06}"));
        }
        let offset = self.zoned.offset().seconds();
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.abs() / 60;
        match self.shape {
            Shape::Aware => format!(
                "{date}{between}{time}{sign}{:02}:{:02}",
                minutes / 60,
                minutes % 60
            ),
            Shape::Naive => format!("{date}{between}{time}"),
            Shape::Date => date,
            Shape::Time => time,
        }
    }

    /// By a pattern of `strftime`.
    pub(super) fn format(&self, pattern: &str) -> Result<String, Error> {
        // Directives may ask for padding, so that what comes out is longer.
        const LONGEST: usize = 256;
        if pattern.len() > LONGEST {
            return Err(wrong(format!("a pattern has more than {LONGEST} bytes")));
        }
        jiff::fmt::strtime::format(pattern, &self.zoned)
            .map_err(|error| wrong(format!("the pattern {pattern:?} cannot be used: {error}")))
    }

    /// How far the clocks have been put forward for the summer.
    fn saving_micros(&self) -> i64 {
        let (zone, now) = (self.zoned.time_zone(), self.zoned.timestamp());
        if !zone.to_offset_info(now).dst().is_dst() {
            return 0;
        }
        let standard = zone.preceding(now).find(|change| !change.dst().is_dst());
        let seconds = standard.map_or(0, |change| {
            self.zoned.offset().seconds() - change.offset().seconds()
        });
        i64::from(seconds) * 1_000_000
    }

    fn replaced(&self, args: &Arguments<'_>) -> Result<Self, Error> {
        let d = self.zoned.datetime();
        let part = |name: &str, place: usize, have: i64| args.whole(name, place, have);
        let bad = || wrong("`replace` was given a date or time that does not exist");
        let small = |number: i64| i8::try_from(number).map_err(|_| bad());
        let micros = part("microsecond", 6, i64::from(d.subsec_nanosecond() / 1_000))?;
        let civil = DateTime::new(
            i16::try_from(part("year", 0, d.year().into())?).map_err(|_| bad())?,
            small(part("month", 1, d.month().into())?)?,
            small(part("day", 2, d.day().into())?)?,
            small(part("hour", 3, d.hour().into())?)?,
            small(part("minute", 4, d.minute().into())?)?,
            small(part("second", 5, d.second().into())?)?,
            i32::try_from(micros * 1_000).map_err(|_| bad())?,
        )
        .map_err(|_| bad())?;
        let zoned = civil
            .to_zoned(self.zoned.time_zone().clone())
            .map_err(|_| bad())?;
        let shape = match args.named("tzinfo") {
            Some(none) if none.is_none() => Shape::Naive,
            _ => self.shape,
        };
        Ok(Self { zoned, shape })
    }
}

fn time_micros(zoned: &Zoned) -> i64 {
    let d = zoned.datetime();
    let seconds = i64::from(d.hour()) * 3_600 + i64::from(d.minute()) * 60 + i64::from(d.second());
    seconds * 1_000_000 + i64::from(d.subsec_nanosecond() / 1_000)
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso(' '))
    }
}

impl Object for Moment {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let d = self.zoned.datetime();
        Some(match key.as_str()? {
            "year" => Value::from(d.year()),
            "month" => Value::from(d.month()),
            "day" => Value::from(d.day()),
            "hour" => Value::from(d.hour()),
            "minute" => Value::from(d.minute()),
            "second" => Value::from(d.second()),
            "microsecond" => Value::from(d.subsec_nanosecond() / 1_000),
            "tzinfo" if self.shape == Shape::Aware => {
                Value::from(self.zoned.time_zone().iana_name().unwrap_or("UTC"))
            }
            "tzinfo" => Value::from(()),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        let args = Arguments::of(args)?;
        let shaped = |shape| {
            let zoned = self.zoned.clone();
            Value::from_object(Self { zoned, shape })
        };
        let weekday = i64::from(self.zoned.date().weekday().to_monday_zero_offset());
        Ok(match method {
            "weekday" => Value::from(weekday),
            "isoweekday" => Value::from(weekday + 1),
            "isocalendar" => {
                let week = self.zoned.date().iso_week_date();
                Value::from_object(Fields(vec![
                    ("year", i64::from(week.year())),
                    ("week", i64::from(week.week())),
                    ("weekday", weekday + 1),
                ]))
            }
            "timetuple" => {
                let d = self.zoned.datetime();
                let is_dst = match self.shape {
                    Shape::Aware => i64::from(self.saving_micros() != 0),
                    _ => -1,
                };
                Value::from_object(Fields(vec![
                    ("tm_year", d.year().into()),
                    ("tm_mon", d.month().into()),
                    ("tm_mday", d.day().into()),
                    ("tm_hour", d.hour().into()),
                    ("tm_min", d.minute().into()),
                    ("tm_sec", d.second().into()),
                    ("tm_wday", weekday),
                    ("tm_yday", d.day_of_year().into()),
                    ("tm_isdst", is_dst),
                ]))
            }
            "tzname" | "utcoffset" | "dst" if self.shape != Shape::Aware => Value::from(()),
            "tzname" => {
                let info = self.zoned.time_zone().to_offset_info(self.zoned.timestamp());
                Value::from(info.abbreviation())
            }
            "utcoffset" => {
                let micros = i64::from(self.zoned.offset().seconds()) * 1_000_000;
                Span { micros }.into_value()
            }
            "dst" => {
                let micros = self.saving_micros();
                Span { micros }.into_value()
            }
            "isoformat" => Value::from(self.iso(if args.ordered.is_empty() {
                'T'
            } else {
                args.text("sep", 0)?.chars().next().unwrap_or('T')
            })),
            "timestamp" => Value::from(self.seconds()),
            "strftime" => Value::from(self.format(args.text("format", 0)?)?),
            "date" => shaped(Shape::Date),
            "time" => shaped(Shape::Time),
            "replace" => Value::from_object(self.replaced(&args)?),
            "astimezone" => shaped(Shape::Aware),
            "toordinal" => {
                let days = self
                    .zoned
                    .date()
                    .since(Date::constant(1, 1, 1))
                    .map_err(|_| wrong("no ordinal"))?;
                Value::from(i64::from(days.get_days()) + 1)
            }
            _ => return Err(wrong(format!("a time has no method `{method}`"))),
        })
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(self.micros().cmp(&other.micros()))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso(' '))
    }
}

/// Numbers by place and by name, as Python's named tuples are.
#[derive(Debug)]
struct Fields(Vec<(&'static str, i64)>);

impl Object for Fields {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let found = match key.as_str() {
            Some(name) => self.0.iter().find(|(known, _)| *known == name),
            None => self.0.get(key.as_usize()?),
        };
        found.map(|(_, number)| Value::from(*number))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }
}

/// A duration, which may be less than nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) micros: i64,
}

impl Span {
    pub(super) fn of_ms(ms: i64) -> Self {
        const MOST_MS: i64 = 320_000_000_000_000;
        Self {
            micros: ms.clamp(-MOST_MS, MOST_MS) * 1_000,
        }
    }

    /// From microseconds that were worked out.
    pub(super) fn of_micros(micros: f64) -> Result<Self, Error> {
        const MOST: f64 = 3.2e17;
        if !micros.is_finite() || micros.abs() > MOST {
            return Err(wrong("that duration is too long"));
        }
        Ok(Self {
            micros: micros.round() as i64,
        })
    }

    pub(super) fn into_value(self) -> Value {
        Value::from_object(self)
    }

    pub(super) fn seconds(self) -> f64 {
        self.micros as f64 / 1e6
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.micros.div_euclid(MS_A_DAY * 1_000);
        let rest = self.micros.rem_euclid(MS_A_DAY * 1_000);
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        let seconds = rest / 1_000_000;
        write!(
            f,
            "{}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        )?;
        match rest % 1_000_000 {
            0 => Ok(()),
            micros => write!(f, ".{micros:06}"),
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Object for Span {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let rest = self.micros.rem_euclid(MS_A_DAY * 1_000);
        Some(match key.as_str()? {
            "days" => Value::from(self.micros.div_euclid(MS_A_DAY * 1_000)),
            "seconds" => Value::from(rest / 1_000_000),
            "microseconds" => Value::from(rest % 1_000_000),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::NonEnumerable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        self.micros != 0
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        _: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "total_seconds" => Ok(Value::from(self.seconds())),
            _ => Err(wrong(format!("a duration has no method `{method}`"))),
        }
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        let other = other.downcast_ref::<Self>()?;
        Some(self.micros.cmp(&other.micros))
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a value says about a date and time: one already, seconds since 1970, or ISO 8601.
pub(super) fn moment_of(value: &Value, session: &Session) -> Option<Moment> {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Some(moment.clone());
    }
    if let Some(seconds) = numbers::number(value).filter(|_| !is_bool(value)) {
        return of_seconds(seconds, TimeZone::UTC);
    }
    let text = value.as_str()?.trim();
    let zone = session.facts.home().time_zone.clone();
    if let Ok(zoned) = text.parse::<Zoned>() {
        return Some(Moment::aware(zoned));
    }
    // After the date, whose own dashes are no signs.
    let rest = text.get(10..).unwrap_or_default();
    let with_offset = rest.ends_with(['Z', 'z']) || rest.contains(['+', '-']);
    if with_offset && let Ok(pieces) = jiff::fmt::temporal::Pieces::parse(text) {
        let offset = pieces.to_numeric_offset()?;
        let civil = pieces.date().to_datetime(pieces.time()?);
        return Some(Moment::aware(
            offset.to_timestamp(civil).ok()?.to_zoned(TimeZone::fixed(offset)),
        ));
    }
    let civil = text
        .parse::<DateTime>()
        .or_else(|_| {
            text.parse::<Date>()
                .map(|date| date.to_datetime(jiff::civil::Time::midnight()))
        })
        .ok()?;
    Some(Moment {
        zoned: civil.to_zoned(zone).ok()?,
        shape: Shape::Naive,
    })
}

/// Seconds since 1970, by the clock of a zone.
pub(super) fn of_seconds(seconds: f64, zone: TimeZone) -> Option<Moment> {
    let micros = seconds * 1e6;
    if !micros.is_finite() || micros.abs() > 2.5e17 {
        return None;
    }
    let stamp = Timestamp::from_microsecond(micros.round() as i64).ok()?;
    Some(Moment::aware(stamp.to_zoned(zone)))
}

fn is_bool(value: &Value) -> bool {
    value.kind() == minijinja::value::ValueKind::Bool
}
