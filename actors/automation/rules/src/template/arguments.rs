//! The arguments of a call: in order, and by name.

use minijinja::Error;
use minijinja::value::{Kwargs, Value};

use super::numbers;
use super::session::wrong;
use super::text;

/// Arguments, the value that a filter stands behind first.
pub(super) struct Arguments<'a> {
    /// In order.
    pub(super) ordered: &'a [Value],
    named: Vec<(String, Value)>,
}

impl<'a> Arguments<'a> {
    pub(super) fn of(values: &'a [Value]) -> Result<Self, Error> {
        let Some((last, ordered)) = values.split_last().filter(|(last, _)| last.is_kwargs()) else {
            return Ok(Self {
                ordered: values,
                named: Vec::new(),
            });
        };
        let kwargs = Kwargs::try_from(last.clone())?;
        let named = kwargs
            .args()
            .map(|name| Ok((name.to_owned(), kwargs.peek::<Value>(name)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Self { ordered, named })
    }

    /// One of them, by place or name.
    pub(super) fn get(&self, name: &str, place: usize) -> Option<&Value> {
        let named = self
            .named
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value);
        named.or_else(|| self.ordered.get(place))
    }

    /// One of them by name alone.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.named
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value)
    }

    /// All that came by name.
    pub(super) fn all_named(&self) -> &[(String, Value)] {
        &self.named
    }

    /// The first, which has to be there.
    pub(super) fn first(&self, name: &str) -> Result<&Value, Error> {
        self.must(name, 0)
    }

    /// One that has to be there.
    pub(super) fn must(&self, name: &str, place: usize) -> Result<&Value, Error> {
        self.get(name, place)
            .ok_or_else(|| wrong(format!("`{name}` is missing from a call")))
    }

    /// A text that has to be there.
    pub(super) fn text(&self, name: &str, place: usize) -> Result<&str, Error> {
        let value = self.must(name, place)?;
        value
            .as_str()
            .ok_or_else(|| wrong(format!("`{name}` has to be a text, and is {}", text::kind(value))))
    }

    /// Whether something is there and true.
    pub(super) fn is(&self, name: &str, place: usize) -> bool {
        self.get(name, place).is_some_and(Value::is_true)
    }

    /// A whole number, or what it is without.
    pub(super) fn whole(&self, name: &str, place: usize, otherwise: i64) -> Result<i64, Error> {
        match self.get(name, place) {
            None => Ok(otherwise),
            Some(value) => numbers::number(value)
                .filter(|number| number.abs() < 9e15)
                .map(|number| number as i64)
                .ok_or_else(|| {
                    wrong(format!(
                        "`{name}` has to be a number, and is {}",
                        text::kind(value)
                    ))
                }),
        }
    }

    /// `default`, at that place or by name; else the error.
    pub(super) fn or_default(&self, place: usize, error: impl FnOnce() -> String) -> Result<Value, Error> {
        match self.get("default", place) {
            Some(default) => Ok(default.clone()),
            None => Err(wrong(error())),
        }
    }
}
