//! Regular expressions, by an engine that takes linear time.

use std::sync::Arc;

use minijinja::Error;
use minijinja::value::Value;
use regex::{Regex, RegexBuilder};

use super::super::arguments::Arguments;
use super::super::session::{Session, wrong};
use super::super::{limits, text};

/// A text and the pattern that looks at it. Work is counted as if every byte of the one met every part of the other.
fn both(session: &Session, args: &Arguments<'_>, case: usize) -> Result<(String, Regex), Error> {
    let pattern = args.text("find", 1)?;
    let ignore_case = args.is("ignorecase", case);
    let given = text::text(args.first("value")?, session)?;
    let regex = compile(session, pattern, ignore_case)?;
    // Counted repetitions and classes stand for far more than their own length.
    let factor = if pattern.contains(['{', '\\']) {
        64
    } else {
        pattern.len().max(16)
    };
    session.spend(given.len().saturating_mul(factor))?;
    Ok((given, regex))
}

fn compile(session: &Session, pattern: &str, ignore_case: bool) -> Result<Regex, Error> {
    if pattern.len() > limits::PATTERN {
        return Err(wrong(format!(
            "a pattern has more than {} bytes",
            limits::PATTERN
        )));
    }
    // To compile one takes far longer than to read it.
    session.spend(20_000 + pattern.len() * 100)?;
    RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(limits::PATTERN_COMPILED)
        .dfa_size_limit(limits::PATTERN_COMPILED)
        .nest_limit(50)
        .build()
        .map_err(|error| {
            let first = error.to_string();
            let last = first
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .to_owned();
            wrong(format!("the pattern {pattern:?} cannot be used: {last}"))
        })
}

/// From the text's beginning.
pub(super) fn matches(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (given, regex) = both(session, args, 2)?;
    Ok(Value::from(
        regex.find(&given).is_some_and(|found| found.start() == 0),
    ))
}

/// Anywhere in the text.
pub(super) fn search(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (given, regex) = both(session, args, 2)?;
    Ok(Value::from(regex.is_match(&given)))
}

/// `x | regex_replace(find, replace)`; groups are `\1` or `\g<name>`, as in Python.
pub(super) fn replace(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let (given, regex) = both(session, args, 3)?;
    let by = match args.get("replace", 2) {
        Some(_) => args.text("replace", 2)?,
        None => "",
    };
    let mut made = String::new();
    let mut last = 0;
    for captures in regex.captures_iter(&given) {
        let Some(whole) = captures.get(0) else { continue };
        made.push_str(&given[last..whole.start()]);
        put(by, &captures, &mut made)?;
        last = whole.end();
        session.spend(by.len() + 8)?;
        if made.len() > limits::TEXT {
            return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
        }
    }
    made.push_str(&given[last..]);
    session.spend(made.len())?;
    Ok(Value::from(made))
}

fn put(by: &str, captures: &regex::Captures<'_>, made: &mut String) -> Result<(), Error> {
    let mut rest = by;
    while let Some(at) = rest.find('\\') {
        made.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut chars = rest.chars();
        match chars.next() {
            Some(digit @ '0'..='9') => {
                let group = digit as usize - '0' as usize;
                made.push_str(captures.get(group).map_or("", |group| group.as_str()));
                rest = chars.as_str();
            }
            Some('g') => {
                let name = chars
                    .as_str()
                    .strip_prefix('<')
                    .and_then(|name| name.split_once('>'));
                let (name, after) = name.ok_or_else(|| wrong("a group is named as `\\g<name>`"))?;
                let group = match name.parse::<usize>() {
                    Ok(number) => captures.get(number),
                    Err(_) => captures.name(name),
                };
                made.push_str(group.map_or("", |group| group.as_str()));
                rest = after;
            }
            Some('n') => {
                made.push('\n');
                rest = chars.as_str();
            }
            Some(other) => {
                made.push(other);
                rest = chars.as_str();
            }
            None => made.push('\\'),
        }
    }
    made.push_str(rest);
    Ok(())
}

fn all(session: &Session, args: &Arguments<'_>, case: usize) -> Result<Vec<Value>, Error> {
    let (given, regex) = both(session, args, case)?;
    let mut found = Vec::new();
    for captures in regex.captures_iter(&given) {
        session.spend(32)?;
        if found.len() >= limits::ITEMS {
            return Err(wrong(format!("a list grows beyond {} items", limits::ITEMS)));
        }
        let group = |index| Value::from(captures.get(index).map_or("", |group| group.as_str()));
        found.push(match captures.len() {
            1 => group(0),
            2 => group(1),
            several => Value::from((1..several).map(group).collect::<Vec<_>>()),
        });
    }
    Ok(found)
}

/// All that match, or their groups.
pub(super) fn findall(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(all(session, args, 2)?))
}

/// One of those that match.
pub(super) fn findall_index(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let index = args.whole("index", 2, 0)?;
    let found = all(session, args, 3)?;
    let found = usize::try_from(index)
        .ok()
        .and_then(|index| found.get(index).cloned());
    found.ok_or_else(|| wrong("nothing matches there"))
}
