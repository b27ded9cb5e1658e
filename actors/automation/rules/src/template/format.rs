//! Values at a width, with a precision, in a base: what Python's `%` and `str.format` have in common.
//!
//! ```text
//!  "%05.1f"  ──printf──┐
//!                      ├──► Digits (sign, prefix, digits) ──► text at a width
//!  "{:05.1f}" ──braces─┘
//! ```
//!
//! Widths and precisions have a bound, so that what is made is bounded by the pattern's length.

mod braces;
#[cfg(test)]
mod fuzz;
mod printf;
#[cfg(test)]
mod tests;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

pub(super) use self::braces::{check as check_braces, format as format_braces};
pub(super) use self::printf::{Given, check as check_printf, format as format_printf};
use super::numbers::number;
use super::session::{Session, wrong};
use super::{limits, text};

/// A number in parts, so that it can be filled up between sign and digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Digits {
    negative: bool,
    /// `0x` and its kind.
    prefix: &'static str,
    /// Digits, and what comes after them: point, exponent, per cent.
    digits: String,
}

/// What stands before a number that is not negative.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Sign {
    /// Nothing.
    #[default]
    Bare,
    /// `+`.
    Plus,
    /// A space.
    Space,
}

/// On which side a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
    Middle,
    /// Filled up between sign and digits.
    Within,
}

impl Digits {
    /// At a width.
    fn at(&self, width: usize, fill: char, align: Align, plus: Sign) -> String {
        let sign = match plus {
            _ if self.negative => "-",
            Sign::Bare => "",
            Sign::Plus => "+",
            Sign::Space => " ",
        };
        let head = format!("{sign}{}", self.prefix);
        if align != Align::Within {
            return padded(&format!("{head}{}", self.digits), width, fill, align);
        }
        let have = head.len() + self.digits.len();
        let filling: String = std::iter::repeat_n(fill, width.saturating_sub(have)).collect();
        format!("{head}{filling}{}", self.digits)
    }
}

/// A text at a width.
fn padded(text: &str, width: usize, fill: char, align: Align) -> String {
    let missing = width.saturating_sub(text.chars().count());
    let left = match align {
        Align::Left => 0,
        Align::Right | Align::Within => missing,
        Align::Middle => missing / 2,
    };
    let mut made = String::with_capacity(text.len() + missing * fill.len_utf8());
    made.extend(std::iter::repeat_n(fill, left));
    made.push_str(text);
    made.extend(std::iter::repeat_n(fill, missing - left));
    made
}

/// A whole number in a base: `d`, `b`, `o`, `x` or `X`.
fn integer(value: i128, kind: char, with_prefix: bool) -> Digits {
    let size = value.unsigned_abs();
    let (digits, prefix) = match kind {
        'b' => (format!("{size:b}"), "0b"),
        'o' => (format!("{size:o}"), "0o"),
        'x' => (format!("{size:x}"), "0x"),
        'X' => (format!("{size:X}"), "0X"),
        _ => (size.to_string(), ""),
    };
    Digits {
        negative: value < 0,
        prefix: if with_prefix { prefix } else { "" },
        digits,
    }
}

/// A number with a point or exponent: `e`, `f` or `g`, large letters for large ones. `alternate` keeps the point and zeros that
/// would be left out.
fn float(value: f64, kind: char, precision: usize, alternate: bool) -> Digits {
    let size = value.abs();
    let digits = if value.is_nan() {
        "nan".to_owned()
    } else if value.is_infinite() {
        "inf".to_owned()
    } else {
        match kind.to_ascii_lowercase() {
            'e' => exponential(size, precision, alternate),
            'g' => general(size, precision, alternate, false),
            _ => pointed(format!("{size:.precision$}"), alternate),
        }
    };
    Digits {
        negative: value.is_sign_negative() && !value.is_nan(),
        prefix: "",
        digits: if kind.is_ascii_uppercase() {
            digits.to_uppercase()
        } else {
            digits
        },
    }
}

/// Adds the point that a number without a fraction has in the alternate form.
fn pointed(mut digits: String, alternate: bool) -> String {
    if alternate && !digits.contains('.') {
        digits.push('.');
    }
    digits
}

/// Mantissa and exponent of a number that is not negative.
fn parts(size: f64, precision: usize) -> (String, i32) {
    let written = format!("{size:.precision$e}");
    match written.split_once('e') {
        Some((mantissa, exponent)) => (mantissa.to_owned(), exponent.parse().unwrap_or(0)),
        None => (written, 0),
    }
}

fn exponential(size: f64, precision: usize, alternate: bool) -> String {
    let (mantissa, exponent) = parts(size, precision);
    format!("{}e{exponent:+03}", pointed(mantissa, alternate))
}

/// So many digits that say something. `as_float` keeps one place after the point, so that it is seen to be no whole number.
fn general(size: f64, precision: usize, alternate: bool, as_float: bool) -> String {
    let precision = precision.max(1);
    let (mantissa, exponent) = parts(size, precision - 1);
    let short = |digits: String| match alternate {
        true => pointed(digits, true),
        false if digits.contains('.') => digits.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => digits,
    };
    let most = i32::try_from(precision).unwrap_or(i32::MAX);
    if !(-4..most - i32::from(as_float)).contains(&exponent) {
        return format!("{}e{exponent:+03}", short(mantissa));
    }
    let places = usize::try_from(most - 1 - exponent).unwrap_or(0);
    let mut digits = short(format!("{size:.places$}"));
    if as_float && !digits.contains('.') {
        digits.push_str(".0");
    }
    digits
}

/// The whole number that a value is; truth values are 0 and 1.
fn whole(value: &Value) -> Option<i128> {
    match value.kind() {
        ValueKind::Bool => Some(i128::from(value.is_true())),
        ValueKind::Number if value.is_integer() => i128::try_from(value.clone()).ok(),
        _ => None,
    }
}

/// The number that a value is, for a conversion that takes nothing else.
fn real(value: &Value, kind: char) -> Result<f64, Error> {
    number(value).ok_or_else(|| no_number(value, kind, "float"))
}

fn no_number(value: &Value, kind: char, filter: &str) -> Error {
    let instead = match value.kind() {
        ValueKind::String => format!("; make it a number with `| {filter}(0)`"),
        ValueKind::Undefined | ValueKind::None => "; say what to take then with `| default(0)`".to_owned(),
        _ => String::new(),
    };
    wrong(format!(
        "`{kind}` formats a number, and got {}{instead}",
        text::kind(value)
    ))
}

/// A character by its number, or a text of one.
fn character(value: &Value) -> Result<char, Error> {
    let told = || {
        wrong(format!(
            "`c` formats a text of one character or its number, and got {}",
            text::kind(value)
        ))
    };
    if let Some(number) = whole(value) {
        return u32::try_from(number)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| wrong(format!("no character has the number {number}")));
    }
    let mut chars = value.as_str().ok_or_else(told)?.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Ok(c),
        _ => Err(told()),
    }
}

/// How a value is made a text: `s`, `r` or `a`.
fn spelled(value: &Value, kind: char, session: &Session) -> Result<String, Error> {
    match kind {
        'r' => text::repr(value, session),
        'a' => Ok(ascii(&text::repr(value, session)?)),
        _ => text::text(value, session),
    }
}

/// As `ascii()` has it: what is not ASCII as an escape.
fn ascii(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in text.chars() {
        match c as u32 {
            0..0x80 => made.push(c),
            code @ 0x80..0x100 => made.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..0x1_0000 => made.push_str(&format!("\\u{code:04x}")),
            code => made.push_str(&format!("\\U{code:08x}")),
        }
    }
    made
}

/// The first characters of a text.
fn cut(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Takes a number's digits from the beginning of a text: a width or precision, within its bound.
fn size(rest: &mut &str) -> Result<Option<usize>, String> {
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    if digits.is_empty() {
        return Ok(None);
    }
    match digits.parse() {
        Ok(size) if size <= limits::WIDTH => Ok(Some(size)),
        _ => Err(too_wide()),
    }
}

fn too_wide() -> String {
    format!("a width or precision of a format is more than {}", limits::WIDTH)
}

/// Adds a piece to what was made so far, counted.
fn put(made: &mut String, piece: &str, session: &Session) -> Result<(), Error> {
    session.spend(piece.len())?;
    made.push_str(piece);
    if made.len() > limits::TEXT {
        return Err(wrong(format!("a text grows beyond {} KiB", limits::TEXT / 1024)));
    }
    Ok(())
}
