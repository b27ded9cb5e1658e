//! Templates that do nothing but pick a value.

use serde_json::Value;

use crate::text::quoted;

/// One that needs no rendering.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Quick {
    /// `{{ value }}`.
    Value,
    /// `{{ value_json.a['b'][0] }}`.
    Path(Vec<Step>),
}

/// From a value to one within it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Of an object.
    Key(String),
    /// Of a list.
    Index(usize),
}

impl Quick {
    /// Of a template's source; none: it has to be rendered.
    pub(super) fn parse(source: &str) -> Option<Self> {
        let inner = source.trim().strip_prefix("{{")?.strip_suffix("}}")?;
        let inner = inner.strip_prefix('-').unwrap_or(inner);
        let inner = inner.strip_suffix('-').unwrap_or(inner).trim();
        if inner == "value" {
            return Some(Self::Value);
        }
        let mut rest = inner.strip_prefix("value_json")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            let (step, after) = step(rest)?;
            steps.push(step);
            rest = after;
        }
        // All of it would be printed as Python prints an object.
        (!steps.is_empty()).then_some(Self::Path(steps))
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    if let Some(name) = text.strip_prefix('.') {
        let end = name
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(name.len());
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        // Names that objects of Python have by themselves mean something else there.
        let own = ["items", "keys", "values", "get", "update", "pop", "copy"].contains(&&name[..end]);
        return (starts_well && !own).then(|| (Step::Key(name[..end].to_owned()), &name[end..]));
    }
    let bracket = text.strip_prefix('[')?;
    let (inside, after) = match bracket.chars().next()? {
        quote @ ('\'' | '"') => {
            let (key, after) = bracket[1..].split_once(quote)?;
            if key.contains('\\') {
                return None;
            }
            (Step::Key(key.to_owned()), after.strip_prefix(']')?)
        }
        _ => {
            let (index, after) = bracket.split_once(']')?;
            (Step::Index(index.parse().ok()?), after)
        }
    };
    Some((inside, after))
}

/// The value at the end of the steps; none: nothing stands at the last of them.
///
/// # Errors
/// The step from which there is no way on.
pub(super) fn walk<'v>(value: &'v Value, steps: &[Step]) -> Result<Option<&'v Value>, String> {
    let mut at = value;
    for (done, step) in steps.iter().enumerate() {
        let next = match step {
            Step::Key(key) => at.as_object().and_then(|object| object.get(key)),
            Step::Index(index) => at.as_array().and_then(|list| list.get(*index)),
        };
        match (next, step) {
            (Some(next), _) => at = next,
            (None, _) if done + 1 == steps.len() => return Ok(None),
            (None, Step::Key(key)) => return Err(format!("there is no \"{}\" in the message", quoted(key))),
            (None, Step::Index(index)) => return Err(format!("there is no [{index}] in the message")),
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_without_rendering() {
        let value: Value = serde_json::from_str(r#"{"a":{"b c":[1,{"d":true}]},"t":21.50}"#).unwrap();
        for (source, expected) in [
            ("{{ value_json.t }}", Some("21.5")),
            ("{{value_json['t']}}", Some("21.5")),
            ("{{- value_json.a[\"b c\"][0] -}}", Some("1")),
            ("{{ value_json.a['b c'][1].d }}", Some("true")),
            ("{{ value_json.nothing }}", None),
            ("{{ value_json.t.deeper }}", None),
            ("{{ value_json.a['b c'][2] }}", None),
        ] {
            let Some(Quick::Path(steps)) = Quick::parse(source) else {
                panic!("{source}")
            };
            assert_eq!(
                walk(&value, &steps).map(|found| found.map(Value::to_string)),
                Ok(expected.map(str::to_owned)),
                "{source}"
            );
        }
        for source in [
            "{{ value_json.nothing.deeper }}",
            "{{ value_json.a.b.c }}",
            "{{ value_json.a['b c'][2].d }}",
        ] {
            let Some(Quick::Path(steps)) = Quick::parse(source) else {
                panic!("{source}")
            };
            assert!(walk(&value, &steps).is_err(), "{source}");
        }
    }

    #[test]
    fn all_else_is_rendered() {
        for source in [
            "{{ value_json.t | float }}",
            "{{ value_json }}",
            "{{ value_json.items() }}",
            "{{ value_json.a-b }}",
            "{{ value_json.t }} {{ value_json.t }}",
            "{% if value %}x{% endif %}",
            "{{ value_jsonx }}",
            "plain",
            "{{ value_json['it\\'s'] }}",
        ] {
            assert_eq!(Quick::parse(source), None, "{source}");
        }
        assert_eq!(Quick::parse("{{ value }}"), Some(Quick::Value));
    }
}
