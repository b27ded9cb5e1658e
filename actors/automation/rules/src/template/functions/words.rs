//! Texts.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::super::arguments::Arguments;
use super::super::format::{Given, format_printf};
use super::super::session::{Session, wrong};
use super::super::{limits, ops, text};

/// `x | string`.
pub(super) fn string(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    Ok(Value::from(text::text(args.first("value")?, session)?))
}

/// `typeof(x)`, by Python's names.
pub(super) fn type_of(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    Ok(Value::from(match value.kind() {
        ValueKind::None => "NoneType",
        ValueKind::Undefined => "Undefined",
        ValueKind::Bool => "bool",
        ValueKind::Number if value.is_integer() => "int",
        ValueKind::Number => "float",
        ValueKind::String => "str",
        _ => match text::kind(value) {
            "a time" => "datetime",
            "a duration" => "timedelta",
            "a state" => "TemplateState",
            "a mapping" => "dict",
            "a tuple" => "tuple",
            _ => "list",
        },
    }))
}

/// `x | ordinal`: `1st`, `2nd` …
pub(super) fn ordinal(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let number = args.whole("value", 0, 0)?;
    let ending = match (number.unsigned_abs() % 100, number.unsigned_abs() % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    Ok(Value::from(format!("{number}{ending}")))
}

/// `x | slugify(separator)`.
pub(super) fn slugify(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let between = match args.get("separator", 1) {
        Some(_) => args.text("separator", 1)?,
        None => "_",
    };
    let mut made = String::new();
    for c in given.chars().flat_map(char::to_lowercase) {
        match plain(c) {
            Some(letters) => made.push_str(letters),
            None if c.is_ascii_alphanumeric() => made.push(c),
            None if made.is_empty() || made.ends_with(between) => {}
            None => made.push_str(between),
        }
    }
    session.spend(made.len())?;
    let made = made
        .strip_suffix(between)
        .filter(|_| !between.is_empty())
        .unwrap_or(&made);
    Ok(Value::from(if made.is_empty() && !given.is_empty() {
        "unknown"
    } else {
        made
    }))
}

/// Letters with marks, without them.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' | 'ā' | 'ą' => "a",
        'ç' | 'ć' | 'č' => "c",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => "e",
        'ì' | 'í' | 'î' | 'ï' | 'ī' => "i",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' | 'ō' => "o",
        'ù' | 'ú' | 'û' | 'ü' | 'ū' | 'ů' => "u",
        'ý' | 'ÿ' => "y",
        'š' | 'ś' => "s",
        'ž' | 'ź' | 'ż' => "z",
        'ł' => "l",
        'ř' => "r",
        'ť' => "t",
        'ď' => "d",
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        _ => return None,
    })
}

/// `x | replace(old, new, count)`.
pub(super) fn replace(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let old = text::text(args.must("old", 1)?, session)?;
    let new = text::text(args.must("new", 2)?, session)?;
    let most = args.whole("count", 3, -1)?;
    replaced(session, &given, &old, &new, most)
}

pub(super) fn replaced(
    session: &Session,
    given: &str,
    old: &str,
    new: &str,
    most: i64,
) -> Result<Value, Error> {
    session.spend(given.len())?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let count = given.matches(old).count().min(most);
    let grown = given.len().saturating_add(count.saturating_mul(new.len()));
    session.spend(grown)?;
    if grown > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    Ok(Value::from(given.replacen(old, new, count)))
}

/// `x | split(between, most)`.
pub(super) fn split(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = args.text("value", 0)?;
    let between = args
        .get("sep", 1)
        .and_then(|between| between.as_str().map(str::to_owned));
    let most = args.whole("maxsplit", 2, -1)?;
    split_text(session, given, between.as_deref(), most)
}

pub(super) fn split_text(
    session: &Session,
    given: &str,
    between: Option<&str>,
    most: i64,
) -> Result<Value, Error> {
    session.spend(given.len() * 8)?;
    let most = usize::try_from(most).unwrap_or(limits::ITEMS);
    let mut parts = Vec::new();
    let mut rest = if between.is_some() {
        given
    } else {
        given.trim_start()
    };
    while parts.len() < most && parts.len() < limits::ITEMS {
        let found = match between {
            Some("") => return Err(wrong("`split` takes no empty text")),
            Some(between) => rest.split_once(between),
            None => rest
                .split_once(char::is_whitespace)
                .map(|(before, after)| (before, after.trim_start())),
        };
        let Some((before, after)) = found else { break };
        parts.push(Value::from(before));
        rest = after;
    }
    if between.is_some() || !rest.is_empty() {
        parts.push(Value::from(rest));
    }
    Ok(Value::from(parts))
}

/// `"%.1f" | format(x)`.
pub(super) fn format(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let pattern = args.text("value", 0)?;
    let given = match (args.ordered, args.all_named()) {
        ([_, ordered @ ..], []) => Given::Ordered(ordered),
        ([_], named) => Given::Named(named),
        _ => return Err(wrong("`format` takes values in order or by name, and not both")),
    };
    Ok(Value::from(format_printf(pattern, &given, session)?))
}

/// `x | center(width)`.
pub(super) fn center(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let width = args.whole("width", 1, 80)?;
    widened(session, &given, width, "center", None).map(Value::from)
}

/// A text at a width, as the methods of these names make it.
pub(super) fn widened(
    session: &Session,
    given: &str,
    width: i64,
    method: &str,
    fill: Option<&str>,
) -> Result<String, Error> {
    let width = usize::try_from(width).unwrap_or(0).min(limits::TEXT);
    let missing = width.saturating_sub(given.chars().count());
    let fill = match fill {
        _ if method == "zfill" => '0',
        Some(fill) => fill.chars().next().unwrap_or(' '),
        None => ' ',
    };
    session.spend(given.len() + missing * fill.len_utf8())?;
    // A number's sign stays in front of its zeros.
    let sign = if method == "zfill" && given.starts_with(['+', '-']) {
        1
    } else {
        0
    };
    let left = match method {
        "ljust" => 0,
        // As in Python, the odd one goes where the width is odd to the left.
        "center" => missing / 2 + (missing & width & 1),
        _ => missing,
    };
    let filling = |count| std::iter::repeat_n(fill, count);
    let mut made = given[..sign].to_owned();
    made.extend(filling(left));
    made.push_str(&given[sign..]);
    made.extend(filling(missing - left));
    Ok(made)
}

/// `x | indent(width, first, blank)`: a width in spaces, or the text that stands before each line.
pub(super) fn indent(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let before = match args.get("width", 1).and_then(Value::as_str) {
        Some(before) => before.to_owned(),
        None => match usize::try_from(args.whole("width", 1, 4)?) {
            Ok(width) if width <= limits::WIDTH => " ".repeat(width),
            _ => {
                return Err(wrong(format!(
                    "`indent` takes a width of at most {}",
                    limits::WIDTH
                )));
            }
        },
    };
    let (first, blank) = (args.is("first", 2), args.is("blank", 3));
    let mut made = String::new();
    for (index, line) in given.lines().enumerate() {
        let is_indented = match index {
            0 => first,
            _ => blank || !line.is_empty(),
        };
        session.spend(before.len() + line.len())?;
        made.push_str(if index > 0 { "\n" } else { "" });
        made.push_str(if is_indented { &before } else { "" });
        made.push_str(line);
        if made.len() > limits::TEXT {
            return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
        }
    }
    Ok(Value::from(made))
}

/// `x | truncate(length, killwords, end, leeway)`.
pub(super) fn truncate(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let whole = |name: &str, place: usize, otherwise: i64| -> Result<usize, Error> {
        Ok(usize::try_from(args.whole(name, place, otherwise)?).unwrap_or(0))
    };
    let length = whole("length", 1, 255)?;
    let end = match args.get("end", 3) {
        Some(_) => args.text("end", 3)?,
        None => "...",
    };
    let leeway = whole("leeway", 4, 5)?;
    if given.chars().count() <= length.saturating_add(leeway) {
        return Ok(Value::from(given));
    }
    let most = length.saturating_sub(end.chars().count());
    let cut: String = given.chars().take(most).collect();
    let cut = match cut.rsplit_once(' ') {
        Some((before, _)) if !args.is("killwords", 2) => before,
        _ => &cut,
    };
    Ok(Value::from(format!("{cut}{end}")))
}

/// `x | wordcount`.
pub(super) fn wordcount(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let words = given.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    Ok(Value::from(words.filter(|word| !word.is_empty()).count()))
}

/// `x | escape`: as HTML has it.
pub(super) fn escape(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = text::text(args.first("value")?, session)?;
    let mut made = String::with_capacity(given.len());
    for c in given.chars() {
        match c {
            '&' => made.push_str("&amp;"),
            '<' => made.push_str("&lt;"),
            '>' => made.push_str("&gt;"),
            '"' => made.push_str("&#34;"),
            '\'' => made.push_str("&#39;"),
            c => made.push(c),
        }
    }
    session.spend(made.len())?;
    Ok(Value::from(made))
}

/// `x | safe`: nothing is escaped here in any case.
pub(super) fn safe(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    args.first("value").cloned()
}

/// `x | urlencode`: a text, or a mapping as what stands behind a `?`.
pub(super) fn urlencode(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let value = args.first("value")?;
    let mut made = String::new();
    if value.kind() == ValueKind::Map {
        for (index, key) in ops::list(value, session)?.iter().enumerate() {
            made.push_str(if index > 0 { "&" } else { "" });
            quoted(&text::text(key, session)?, true, &mut made);
            made.push('=');
            quoted(&text::text(&value.get_item(key)?, session)?, true, &mut made);
        }
    } else {
        quoted(&text::text(value, session)?, false, &mut made);
    }
    session.spend(made.len())?;
    Ok(Value::from(made))
}

/// What may not stand in an address, as `%` and its bytes.
fn quoted(text: &str, in_query: bool, made: &mut String) {
    for byte in text.bytes() {
        match byte {
            b' ' if in_query => made.push('+'),
            b'/' if !in_query => made.push('/'),
            b'-' | b'.' | b'_' | b'~' => made.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => made.push(char::from(byte)),
            byte => made.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// `x | base64_encode`.
pub(super) fn base64_encode(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let made = BASE64.encode(text::text(args.first("value")?, session)?);
    session.spend(made.len())?;
    Ok(Value::from(made))
}

/// `x | base64_decode`.
pub(super) fn base64_decode(session: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let given = args.text("value", 0)?;
    session.spend(given.len())?;
    if let Some(encoding) = args.get("encoding", 1) {
        let known = encoding.as_str().unwrap_or_default().to_lowercase();
        if !matches!(known.as_str(), "utf-8" | "utf8" | "ascii") {
            return Err(wrong("`base64_decode` makes texts of UTF-8 alone"));
        }
    }
    let plain: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    let bytes = BASE64
        .decode(plain)
        .map_err(|error| wrong(format!("`base64_decode` cannot read the text: {error}")))?;
    let made =
        String::from_utf8(bytes).map_err(|_| wrong("`base64_decode` comes to bytes that are no text"))?;
    Ok(Value::from(made))
}

/// `x | ord`: a character's number.
pub(super) fn ord(_: &Arc<Session>, args: &Arguments<'_>) -> Result<Value, Error> {
    let mut chars = args.text("value", 0)?.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(Value::from(c as u32)),
        _ => Err(wrong("`ord` takes a text of one character")),
    }
}
