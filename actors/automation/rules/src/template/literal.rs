//! A template's text → the value that it looks like, as Home Assistant has it: what Python's `literal_eval` reads as a number,
//! truth value, `None`, list or mapping is one; anything else stays text.

use serde_json::{Map, Number, Value};

use super::numbers::printed;

/// How deep lists and mappings stand in one another; what is deeper stays text.
const DEPTH: usize = 32;

/// What a text looks like.
pub(super) fn native(text: &str) -> Value {
    let mut reader = Reader { rest: text };
    let value = reader.whole().filter(|_| reader.rest.is_empty());
    match value {
        // A text in quotes keeps them, and `007` is no number.
        None | Some(Value::String(_)) => Value::String(text.to_owned()),
        Some(Value::Number(_)) if !is_number(text) => Value::String(text.to_owned()),
        Some(value) => value,
    }
}

/// `[+-]?(?!0\d)\d*(?:\.\d*)?`
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    all(whole) && all(part) && !(whole.len() > 1 && whole.starts_with('0'))
}

struct Reader<'t> {
    rest: &'t str,
}

impl<'t> Reader<'t> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// A value, or several with commas between them: a list, as in brackets.
    fn whole(&mut self) -> Option<Value> {
        let first = self.value(0)?;
        self.skip_space();
        if !self.rest.starts_with(',') {
            return Some(first);
        }
        let mut items = vec![first];
        while self.take(",").is_some() {
            self.skip_space();
            if self.rest.is_empty() {
                break;
            }
            items.push(self.value(1)?);
            self.skip_space();
        }
        Some(Value::Array(items))
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        match self.rest.chars().next()? {
            '[' => self.items(depth, "[", "]").map(|(items, _)| Value::Array(items)),
            '(' => {
                let (mut items, comma) = self.items(depth, "(", ")")?;
                if items.len() == 1 && !comma {
                    return items.pop();
                }
                Some(Value::Array(items))
            }
            '{' => self.mapping(depth),
            '\'' | '"' => self.string().map(Value::String),
            'T' => self.take("True").map(|()| Value::Bool(true)),
            'F' => self.take("False").map(|()| Value::Bool(false)),
            'N' => self.take("None").map(|()| Value::Null),
            _ => self.number(),
        }
    }

    fn items(&mut self, depth: usize, open: &str, close: &str) -> Option<(Vec<Value>, bool)> {
        self.take(open)?;
        let mut items = Vec::new();
        let mut comma = false;
        loop {
            self.skip_space();
            if self.take(close).is_some() {
                return Some((items, comma));
            }
            if !items.is_empty() && !comma {
                return None;
            }
            items.push(self.value(depth + 1)?);
            self.skip_space();
            comma = self.take(",").is_some();
        }
    }

    /// A mapping, or a set, which becomes a list.
    fn mapping(&mut self, depth: usize) -> Option<Value> {
        self.take("{")?;
        let mut map = Map::new();
        let mut set = Vec::new();
        let mut comma = true;
        loop {
            self.skip_space();
            if self.take("}").is_some() {
                return Some(if set.is_empty() {
                    Value::Object(map)
                } else {
                    Value::Array(set)
                });
            }
            if !comma {
                return None;
            }
            let key = self.value(depth + 1)?;
            self.skip_space();
            if self.take(":").is_some() {
                self.skip_space();
                let value = self.value(depth + 1)?;
                map.insert(key_text(key)?, value);
            } else {
                set.push(key);
            }
            if !set.is_empty() && !map.is_empty() {
                return None;
            }
            self.skip_space();
            comma = self.take(",").is_some();
        }
    }

    fn string(&mut self) -> Option<String> {
        let mark = self.rest.chars().next()?;
        let mut text = String::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                c if c == mark => {
                    self.rest = &self.rest[at + 2..];
                    return Some(text);
                }
                '\\' => text.push(match chars.next()?.1 {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    c @ ('\\' | '\'' | '"') => c,
                    // Rarer escapes are left to those who can tell what they mean.
                    _ => return None,
                }),
                '\n' => return None,
                c => text.push(c),
            }
        }
        None
    }

    fn number(&mut self) -> Option<Value> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-')))
            .unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        if text.len() > 400 || !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
            return None;
        }
        let plain = text.strip_prefix('+').unwrap_or(text);
        let number = if digits.bytes().all(|b| b.is_ascii_digit()) {
            if digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0') {
                return None;
            }
            match plain.parse::<i64>() {
                Ok(number) => Number::from(number),
                Err(_) => Number::from_f64(plain.parse().ok()?)?,
            }
        } else {
            let looks = digits
                .bytes()
                .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'));
            Number::from_f64(plain.parse().ok().filter(|_| looks)?)?
        };
        self.rest = rest;
        Some(Value::Number(number))
    }
}

/// A mapping's key: JSON has texts alone.
fn key_text(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(printed(&number)),
        Value::Bool(truth) => Some(if truth { "True" } else { "False" }.to_owned()),
        Value::Null => Some("None".to_owned()),
        Value::Array(_) | Value::Object(_) => None,
    }
}
