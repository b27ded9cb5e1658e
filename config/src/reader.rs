//! Takes typed values out of a section and keeps everything that is wrong.

use std::net::SocketAddr;
use std::time::Duration;

use crate::document::{Item, Raw, Section};
use crate::problem::{Origin, Problem};
use crate::value::{format_duration, parse_duration};

/// Below this likeness (Jaro-Winkler) a name is no guess at what was meant.
const LEAST_LIKENESS: f64 = 0.7;

/// Reads one section. What was asked for is what there is: the rest is unknown.
pub(crate) struct Reader<'a> {
    name: String,
    section: Section,
    asked: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(name: impl Into<String>, section: Section, problems: &'a mut Vec<Problem>) -> Self {
        Self {
            name: name.into(),
            section,
            asked: Vec::new(),
            problems,
        }
    }

    /// Whether the key was written.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.section.items.contains_key(key)
    }

    /// Takes a key; what `parse` refuses is a problem that says what was expected.
    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl FnOnce(&Raw) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let item = self.section.items.remove(key)?;
        let value = parse(&item.raw);
        if value.is_none() {
            let what = format!("expected {expected}, found {}", describe(&item.raw));
            self.problems.push(Problem {
                origin: item.origin,
                key: format!("{}.{key}", self.name),
                what,
            });
        }
        value
    }

    /// Takes a key whose value may be secret: what `parse` says is wrong is told without it.
    pub(crate) fn take_unshown<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Option<T> {
        self.asked.push(key);
        let Item { raw, origin } = self.section.items.remove(key)?;
        let key = format!("{}.{key}", self.name);
        parse(&raw)
            .map_err(|what| self.problems.push(Problem { origin, key, what }))
            .ok()
    }

    pub(crate) fn text(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.text_that(key, expected, |text| !text.trim().is_empty())
    }

    /// Text that `fits`.
    pub(crate) fn text_that(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl FnOnce(&str) -> bool,
    ) -> Option<String> {
        self.take(key, expected, |raw| {
            text(raw).filter(|text| fits(text)).map(str::to_owned)
        })
    }

    /// Where a key was written.
    pub(crate) fn origin(&self, key: &str) -> Option<Origin> {
        self.section.items.get(key).map(|item| item.origin.clone())
    }

    /// The key's name with its section.
    pub(crate) fn full_key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }

    pub(crate) fn any_text(&mut self, key: &'static str) -> Option<String> {
        self.take(key, "text", |raw| text(raw).map(str::to_owned))
    }

    pub(crate) fn number(&mut self, key: &'static str, least: u64, most: u64) -> Option<u64> {
        self.take(key, &format!("a whole number from {least} to {most}"), |raw| {
            let number = match raw {
                Raw::Integer(n) => u64::try_from(*n).ok()?,
                Raw::Text(text) => text.trim().parse().ok()?,
                _ => return None,
            };
            (least..=most).contains(&number).then_some(number)
        })
    }

    /// A number that may have a fraction.
    pub(crate) fn decimal(&mut self, key: &'static str, least: f64, most: f64) -> Option<f64> {
        self.take(key, &format!("a number from {least} to {most}"), |raw| {
            let number = match raw {
                Raw::Float(number) => *number,
                Raw::Integer(number) => f64::from(i32::try_from(*number).ok()?),
                Raw::Text(text) => text.trim().parse().ok()?,
                _ => return None,
            };
            // What is no number is in no range.
            (least..=most).contains(&number).then_some(number)
        })
    }

    /// The name of a time zone.
    pub(crate) fn time_zone(&mut self, key: &'static str) -> Option<String> {
        let expected = "an IANA time zone such as \"Europe/Paris\"";
        self.text_that(key, expected, |name| jiff::tz::TimeZone::get(name).is_ok())
    }

    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        self.take(key, &duration_between(least, most), |raw| {
            parse_duration(text(raw)?).filter(|d| (least..=most).contains(d))
        })
    }

    /// A duration, or 0 for never.
    pub(crate) fn duration_or_zero(
        &mut self,
        key: &'static str,
        least: Duration,
        most: Duration,
    ) -> Option<Duration> {
        let expected = format!("{}, or \"0s\" for never", duration_between(least, most));
        self.take(key, &expected, |raw| {
            let duration = match raw {
                Raw::Integer(0) => Duration::ZERO,
                Raw::Text(text) if text.trim() == "0" => Duration::ZERO,
                raw => parse_duration(text(raw)?)?,
            };
            Some(duration).filter(|d| d.is_zero() || (least..=most).contains(d))
        })
    }

    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.take(key, "true or false", |raw| match raw {
            Raw::Bool(flag) => Some(*flag),
            Raw::Text(text) => text.trim().parse().ok(),
            _ => None,
        })
    }

    /// A list of texts that `fits` as a whole; in the environment, parted by commas.
    pub(crate) fn texts_that(
        &mut self,
        key: &'static str,
        expected: &str,
        fits: impl Fn(&[String]) -> bool,
    ) -> Option<Vec<String>> {
        self.take(key, expected, |raw| {
            let texts: Vec<String> = match raw {
                Raw::Strings(texts) => texts.clone(),
                Raw::Text(text) => {
                    let parts = text.split(',').map(str::trim);
                    parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
                }
                _ => return None,
            };
            fits(&texts).then_some(texts)
        })
    }

    pub(crate) fn socket(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.take(key, "an address and port such as \"0.0.0.0:8007\"", |raw| {
            text(raw)?.trim().parse().ok()
        })
    }

    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, choices: &[(&str, T)]) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let expected = format!("one of {}", names.join(", "));
        self.take(key, &expected, |raw| {
            let text = text(raw)?;
            choices
                .iter()
                .find(|(name, _)| *name == text)
                .map(|(_, value)| *value)
        })
    }

    /// Notes that the section as a whole is wrong.
    pub(crate) fn complain(&mut self, key: &str, what: &str) {
        let origin = self
            .section
            .origin
            .clone()
            .unwrap_or_else(|| Origin::Env("JARVIS_*".to_owned()));
        self.problems.push(Problem {
            origin,
            key: format!("{}.{key}", self.name),
            what: what.to_owned(),
        });
    }

    /// What is left is unknown. Gives the names of the keys there are.
    pub(crate) fn finish(self) -> Vec<&'static str> {
        for (key, Item { origin, .. }) in self.section.items {
            let what = unknown("key", &key, self.asked.iter().copied());
            self.problems.push(Problem {
                origin,
                key: format!("{}.{key}", self.name),
                what,
            });
        }
        self.asked
    }
}

/// Says that a name is unknown, and which one may have been meant.
pub(crate) fn unknown<'n>(kind: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    let near = known
        .clone()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LEAST_LIKENESS)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((_, candidate)) => format!("unknown {kind}; did you mean \"{candidate}\"?"),
        None => format!(
            "unknown {kind}; there are {}",
            known.collect::<Vec<_>>().join(", ")
        ),
    }
}

fn text(raw: &Raw) -> Option<&str> {
    match raw {
        Raw::Text(text) | Raw::String(text) => Some(text),
        _ => None,
    }
}

fn describe(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) | Raw::String(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
        Raw::Integer(number) => format!("the integer {number}"),
        Raw::Float(number) => format!("the number {number}"),
        Raw::Bool(flag) => format!("the boolean {flag}"),
        Raw::Strings(texts) => {
            let shown = format!("{texts:?}");
            format!("the list {}", shown.chars().take(120).collect::<String>())
        }
        Raw::Other(kind) => (*kind).to_owned(),
    }
}

/// What is expected of a duration within bounds.
fn duration_between(least: Duration, most: Duration) -> String {
    format!(
        "a duration from \"{}\" to \"{}\"",
        format_duration(least),
        format_duration(most)
    )
}
