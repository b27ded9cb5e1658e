//! Durations, offsets, times of day, days of the week.

use super::data::{entity_id, plain_mapping};
use super::limits;
use super::reader::{Read, Reader, is_template, refused, shorten};
use crate::model::{Data, Moment, Span, TimeOfDay, Weekdays};
use crate::yaml::{Content, Node};

const SPAN: &str = "seconds, `\"HH:MM:SS\"`, or a mapping: `minutes: 5`";

/// The parts of a duration that is a mapping, with their milliseconds.
const UNITS: [(&str, f64); 6] = [
    ("weeks", 7.0 * 24.0 * 3_600_000.0),
    ("days", 24.0 * 3_600_000.0),
    ("hours", 3_600_000.0),
    ("minutes", 60_000.0),
    ("seconds", 1_000.0),
    ("milliseconds", 1.0),
];

impl Reader<'_> {
    /// How long something waits or has to hold.
    pub(super) fn span(&mut self, node: &Node) -> Read<Span> {
        if let Some(data) = self.dynamic_span(node)? {
            return Ok(Span::Dynamic(data));
        }
        let ms = self.millis(node)?;
        match u64::try_from(ms) {
            Ok(ms) if ms <= limits::SPAN_MS => Ok(Span::Millis(ms)),
            Ok(_) => {
                let days = limits::SPAN_MS / 86_400_000;
                Err(self.wrong(
                    node.position,
                    format!("this is longer than {days} days"),
                    "write less",
                ))
            }
            Err(_) => Err(self.wrong(
                node.position,
                "this is less than nothing",
                format!("write {SPAN}"),
            )),
        }
    }

    /// A duration written down, so not a template.
    pub(super) fn fixed_span(&mut self, node: &Node) -> Read<u64> {
        match self.span(node)? {
            Span::Millis(ms) => Ok(ms),
            Span::Dynamic(_) => Err(self.wrong(
                node.position,
                "no template may stand here",
                format!("write {SPAN}"),
            )),
        }
    }

    /// How long before or after something, in milliseconds: `-01:00:00`.
    pub(super) fn offset(&mut self, node: &Node) -> Read<i64> {
        if self.dynamic_span(node)?.is_some() {
            let instead = "write `\"-00:30:00\"` or `\"00:30:00\"`";
            return Err(self.wrong(node.position, "no template may stand here", instead));
        }
        let ms = self.millis(node)?;
        if ms.unsigned_abs() > limits::SPAN_MS {
            return Err(self.wrong(node.position, "this is more than a year away", "write less"));
        }
        Ok(ms)
    }

    /// What a run has to work out.
    fn dynamic_span(&mut self, node: &Node) -> Read<Option<Data>> {
        match &node.content {
            Content::Scalar(scalar) if is_template(&scalar.text) => self.data(node).map(Some),
            Content::Mapping(entries) => {
                let names = UNITS.map(|(name, _)| name);
                self.fields(node, "a duration", &names)?;
                let dynamic = |node: &Node| node.scalar().is_some_and(|scalar| is_template(&scalar.text));
                if !entries.iter().any(|entry| dynamic(&entry.value)) {
                    return Ok(None);
                }
                let pairs = self.pairs(entries)?;
                Ok(Some(plain_mapping(pairs)))
            }
            _ => Ok(None),
        }
    }

    fn millis(&mut self, node: &Node) -> Read<i64> {
        refused(node)?;
        let ms = match &node.content {
            Content::Scalar(scalar) => span_text(&scalar.text),
            Content::Mapping(entries) => {
                let mut sum = Some(0.0);
                for entry in entries {
                    let unit = UNITS.iter().find(|(name, _)| *name == entry.key);
                    let number = entry
                        .value
                        .scalar()
                        .and_then(|scalar| scalar.text.trim().parse::<f64>().ok());
                    sum = match (sum, unit, number) {
                        (Some(sum), Some((_, unit)), Some(number)) => Some(sum + unit * number),
                        _ => None,
                    };
                }
                sum.filter(|_| !entries.is_empty()).and_then(whole)
            }
            _ => None,
        };
        match ms {
            Some(ms) => Ok(ms),
            None => {
                let what = match node.scalar() {
                    Some(scalar) if !scalar.is_null() => {
                        format!("`{}` is no duration", shorten(&scalar.text))
                    }
                    _ => format!("{} is no duration", node.kind()),
                };
                Err(self.wrong(node.position, what, format!("write {SPAN}")))
            }
        }
    }

    /// `"07:30"` or `"07:30:15"`.
    pub(super) fn time_of_day(&mut self, node: &Node) -> Read<TimeOfDay> {
        const WANTED: &str = "a time of day in quotes: `\"07:30\"`";
        let text = self.plain(node, WANTED)?;
        match time_of_day(&text) {
            Some(time) => Ok(time),
            None => {
                let what = format!("`{}` is no time of day", shorten(&text));
                Err(self.wrong(node.position, what, format!("write {WANTED}")))
            }
        }
    }

    /// A time of day, or the entity that keeps one.
    pub(super) fn moment(&mut self, node: &Node) -> Read<Moment> {
        match node.scalar().and_then(|scalar| entity_id(&scalar.text)) {
            Some(id) if !id.0.starts_with(|c: char| c.is_ascii_digit()) => Ok(Moment::Entity(id)),
            _ => self.time_of_day(node).map(Moment::TimeOfDay),
        }
    }

    /// `[mon, tue]`.
    pub(super) fn weekdays(&mut self, node: &Node) -> Read<Weekdays> {
        const DAYS: [(&str, u8); 7] = [
            ("mon", 1),
            ("tue", 2),
            ("wed", 4),
            ("thu", 8),
            ("fri", 16),
            ("sat", 32),
            ("sun", 64),
        ];
        let days = self.each(node, DAYS.len(), "days", |reader, item| reader.word(item, &DAYS))?;
        if days.is_empty() {
            return Err(self.wrong(
                node.position,
                "no day stands here",
                "write `[mon, tue]`, or leave `weekday` out",
            ));
        }
        Ok(Weekdays(days.into_iter().fold(0, |all, day| all | day)))
    }
}

/// Seconds, `HH:MM` or `HH:MM:SS.sss`, with a sign or without, as milliseconds.
pub fn span_text(text: &str) -> Option<i64> {
    let text = text.trim();
    if text.len() > 32 {
        return None;
    }
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let parts: Vec<&str> = rest.split(':').collect();
    let whole_number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<f64>().ok()).flatten()
    };
    let below_60 = |part: &f64| *part < 60.0;
    let seconds = match parts.as_slice() {
        [seconds] => seconds.parse::<f64>().ok()?,
        [hours, minutes] => whole_number(hours)? * 3_600.0 + whole_number(minutes).filter(below_60)? * 60.0,
        [hours, minutes, seconds] => {
            let seconds = seconds
                .parse::<f64>()
                .ok()
                .filter(|s| *s >= 0.0)
                .filter(below_60)?;
            whole_number(hours)? * 3_600.0 + whole_number(minutes).filter(below_60)? * 60.0 + seconds
        }
        _ => return None,
    };
    whole(sign * seconds * 1_000.0)
}

/// `HH:MM` or `HH:MM:SS`.
pub fn time_of_day(text: &str) -> Option<TimeOfDay> {
    let parts: Vec<&str> = text.trim().split(':').collect();
    let number = |part: &str, most: u8| {
        let digits = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok()).flatten().filter(|n| *n <= most)
    };
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (hour, minute, "0"),
        [hour, minute, second] => (hour, minute, *second),
        _ => return None,
    };
    Some(TimeOfDay {
        hour: number(hour, 23)?,
        minute: number(minute, 59)?,
        second: number(second, 59)?,
    })
}

/// Milliseconds as a whole number, if it is one that can be.
fn whole(ms: f64) -> Option<i64> {
    const MOST: f64 = 1e15;
    (ms.is_finite() && ms.abs() <= MOST).then(|| ms.round() as i64)
}
