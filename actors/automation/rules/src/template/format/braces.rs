//! `"{:.1f}".format(x)`, by Python's rules.

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::{Align, Digits, Sign};
use crate::template::arguments::Arguments;
use crate::template::session::{Session, wrong};
use crate::template::text;
use crate::template::time::Moment;

/// A part of a pattern.
enum Piece<'p> {
    Text(&'p str),
    Field(Field<'p>),
}

/// `{name.attribute[0]!r:>8.2f}`.
struct Field<'p> {
    path: &'p str,
    conversion: Option<char>,
    spec: &'p str,
}

/// Takes a pattern apart.
struct Pieces<'p>(&'p str);

impl<'p> Iterator for Pieces<'p> {
    type Item = Result<Piece<'p>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0;
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with("{{") || rest.starts_with("}}") {
            self.0 = &rest[2..];
            return Some(Ok(Piece::Text(&rest[..1])));
        }
        let single =
            |mark| format!("a single `{mark}` stands in a format; write `{mark}{mark}` for the sign itself");
        match rest.find(['{', '}']) {
            Some(0) if rest.starts_with('}') => Some(Err(single('}'))),
            Some(0) => Some(match closing(&rest[1..]) {
                Some(end) => {
                    self.0 = &rest[end + 2..];
                    field(&rest[1..=end]).map(Piece::Field)
                }
                None => Err(single('{')),
            }),
            at => {
                let (text, rest) = rest.split_at(at.unwrap_or(rest.len()));
                self.0 = rest;
                Some(Ok(Piece::Text(text)))
            }
        }
    }
}

/// Where the brace that stands before a text is closed.
fn closing(inner: &str) -> Option<usize> {
    let mut open = 1;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn field(inner: &str) -> Result<Field<'_>, String> {
    // An index may hold anything but its own end.
    let mut within = false;
    let end = inner.find(|c| {
        match c {
            '[' => within = true,
            ']' => within = false,
            _ => {}
        }
        !within && matches!(c, '!' | ':')
    });
    let (path, rest) = inner.split_at(end.unwrap_or(inner.len()));
    let (conversion, rest) = match rest.strip_prefix('!') {
        None => (None, rest),
        Some(after) => {
            let mut chars = after.chars();
            match chars.next() {
                Some(kind @ ('r' | 's' | 'a')) => (Some(kind), chars.as_str()),
                _ => return Err("`!` in a format is followed by `s`, `r` or `a`".to_owned()),
            }
        }
    };
    let spec = match rest.strip_prefix(':') {
        Some(spec) => spec,
        None if rest.is_empty() => rest,
        None => return Err("after `!s` in a format `:` or `}` follows".to_owned()),
    };
    Ok(Field {
        path,
        conversion,
        spec,
    })
}

/// Whether a pattern can be read, as far as that hangs on the pattern alone.
///
/// # Errors
/// What is wrong with it.
pub(in crate::template) fn check(pattern: &str) -> Result<(), String> {
    Pieces(pattern).try_for_each(|piece| piece.map(drop))
}

/// Fills a pattern.
///
/// # Errors
/// What is wrong with the pattern or with what it is filled with.
pub(in crate::template) fn format(
    pattern: &str,
    args: &Arguments<'_>,
    session: &Session,
) -> Result<String, Error> {
    Filling {
        args,
        session,
        taken: 0,
        counts: None,
    }
    .filled(pattern, 0)
}

struct Filling<'v> {
    args: &'v Arguments<'v>,
    session: &'v Session,
    taken: usize,
    /// Whether fields are counted, or say their number.
    counts: Option<bool>,
}

impl Filling<'_> {
    fn filled(&mut self, pattern: &str, depth: usize) -> Result<String, Error> {
        self.session.spend(pattern.len())?;
        let mut made = String::new();
        for piece in Pieces(pattern) {
            match piece.map_err(wrong)? {
                Piece::Text(text) => super::put(&mut made, text, self.session)?,
                Piece::Field(field) => {
                    let text = self.field(&field, depth)?;
                    super::put(&mut made, &text, self.session)?;
                }
            }
        }
        Ok(made)
    }

    fn field(&mut self, field: &Field<'_>, depth: usize) -> Result<String, Error> {
        let mut value = self.value(field.path)?;
        if let Some(kind) = field.conversion {
            value = Value::from(super::spelled(&value, kind, self.session)?);
        }
        if !field.spec.contains('{') {
            return formatted(&value, field.spec, self.session);
        }
        // As in Python, a format may hold fields, and these hold none.
        if depth > 0 {
            return Err(wrong("fields stand too deep in one another in a format"));
        }
        let spec = self.filled(field.spec, depth + 1)?;
        formatted(&value, &spec, self.session)
    }

    /// `0`, `name`, `name.attribute`, `name[key]`, or the next one.
    fn value(&mut self, path: &str) -> Result<Value, Error> {
        let end = path.find(['.', '[']).unwrap_or(path.len());
        let (name, mut rest) = path.split_at(end);
        let mut value = self.first(name)?;
        while !rest.is_empty() {
            self.session.spend(1)?;
            let missing = || wrong(format!("a format asks for `{{{path}}}`, which is not there"));
            let (key, after) = match rest.strip_prefix('[') {
                Some(inner) => inner.split_once(']').ok_or_else(missing)?,
                None => {
                    let inner = rest.strip_prefix('.').ok_or_else(missing)?;
                    inner.split_at(inner.find(['.', '[']).unwrap_or(inner.len()))
                }
            };
            let key = match key.parse::<u32>() {
                Ok(index) if rest.starts_with('[') => Value::from(index),
                _ => Value::from(key),
            };
            value = value.get_item(&key)?;
            if value.is_undefined() {
                return Err(missing());
            }
            rest = after;
        }
        Ok(value)
    }

    fn first(&mut self, name: &str) -> Result<Value, Error> {
        let number = name.parse::<usize>();
        let index = match (name.is_empty(), number) {
            (false, Err(_)) => {
                let found = self.args.named(name).cloned();
                return found
                    .ok_or_else(|| wrong(format!("a format asks for `{name}`, which it is not given")));
            }
            (counts, number) => {
                if *self.counts.get_or_insert(counts) != counts {
                    return Err(wrong(
                        "a format has fields with a number and without: write `{}` or `{0}` alike",
                    ));
                }
                self.taken += usize::from(counts);
                number.unwrap_or(self.taken.saturating_sub(1))
            }
        };
        let given = self.args.ordered;
        given.get(index).cloned().ok_or_else(|| {
            wrong(format!(
                "a format takes more than the {} values that it is given",
                given.len()
            ))
        })
    }
}

/// `>+#010,.2f`.
#[derive(Debug, Default)]
struct Spec {
    fill: Option<char>,
    align: Option<Align>,
    plus: Sign,
    signed: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    fn read(given: &str) -> Result<Self, String> {
        let mut spec = Self::default();
        let align = |c: char| match c {
            '<' => Some(Align::Left),
            '>' => Some(Align::Right),
            '^' => Some(Align::Middle),
            '=' => Some(Align::Within),
            _ => None,
        };
        let mut chars = given.chars();
        let mut rest = given;
        match (chars.next(), chars.next().and_then(align)) {
            (Some(fill), Some(aligned)) => {
                (spec.fill, spec.align) = (Some(fill), Some(aligned));
                rest = chars.as_str();
            }
            (Some(first), None) if align(first).is_some() => {
                spec.align = align(first);
                rest = &given[1..];
            }
            _ => {}
        }
        let mut take = |mark: char| match rest.strip_prefix(mark) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        };
        (spec.plus, spec.signed) = match () {
            () if take('+') => (Sign::Plus, true),
            () if take(' ') => (Sign::Space, true),
            () => (Sign::Bare, take('-')),
        };
        spec.alternate = take('#');
        spec.zero = take('0');
        spec.width = super::size(&mut rest)?.unwrap_or(0);
        if let Some(mark) = rest.chars().next().filter(|mark| matches!(mark, ',' | '_')) {
            spec.group = Some(mark);
            rest = &rest[1..];
        }
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            spec.precision = Some(super::size(&mut rest)?.ok_or("a format lacks its precision after `.`")?);
        }
        let mut chars = rest.chars();
        spec.kind = chars.next();
        let known = spec.kind.is_none_or(|kind| "bcdeEfFgGnosxX%".contains(kind));
        if !known || !chars.as_str().is_empty() {
            let shown: String = given.chars().take(40).collect();
            return Err(format!(
                "`:{}` is no format of Python's",
                shown.replace(char::is_control, " ")
            ));
        }
        Ok(spec)
    }
}

/// One value by one format.
fn formatted(value: &Value, given: &str, session: &Session) -> Result<String, Error> {
    if given.is_empty() {
        return text::text(value, session);
    }
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return moment.format(given);
    }
    let spec = Spec::read(given).map_err(wrong)?;
    if let Some(number) = super::whole(value) {
        return whole(number, value, &spec);
    }
    match value.kind() {
        ValueKind::Number => real(super::real(value, 'f')?, &spec, session),
        ValueKind::String => string(value, &spec),
        ValueKind::Undefined | ValueKind::None => {
            Err(super::no_number(value, spec.kind.unwrap_or('s'), "float"))
        }
        _ => Err(wrong(format!(
            "{} has no format `:{}`: write `!s` before it",
            text::kind(value),
            given.chars().take(40).collect::<String>()
        ))),
    }
}

fn string(value: &Value, spec: &Spec) -> Result<String, Error> {
    if let Some(kind) = spec.kind.filter(|kind| *kind != 's') {
        let filter = if "bcdoxXn".contains(kind) { "int" } else { "float" };
        return Err(super::no_number(value, kind, filter));
    }
    if spec.signed || spec.alternate || spec.group.is_some() || spec.align == Some(Align::Within) {
        return Err(wrong(
            "a text has no sign, no base and no thousands: leave them out of its format",
        ));
    }
    let text = super::cut(
        value.as_str().unwrap_or_default(),
        spec.precision.unwrap_or(usize::MAX),
    );
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    Ok(super::padded(
        text,
        spec.width,
        fill,
        spec.align.unwrap_or(Align::Left),
    ))
}

fn whole(number: i128, value: &Value, spec: &Spec) -> Result<String, Error> {
    let kind = match spec.kind {
        Some('c') => {
            let c = super::character(value)?;
            let align = spec.align.unwrap_or(Align::Left);
            return Ok(super::padded(
                c.encode_utf8(&mut [0; 4]),
                spec.width,
                spec.fill.unwrap_or(' '),
                align,
            ));
        }
        Some('s') => {
            return Err(wrong(
                "`s` formats a text, and got a number: write `!s` before it",
            ));
        }
        None | Some('d' | 'n') => 'd',
        Some(kind @ ('b' | 'o' | 'x' | 'X')) => kind,
        Some(_) => return float(number as f64, spec),
    };
    if spec.precision.is_some() {
        return Err(wrong("a whole number has no precision: write `f` after it"));
    }
    if kind != 'd' && spec.group == Some(',') {
        return Err(wrong(format!("`,` cannot stand with `{kind}`: write `_`")));
    }
    Ok(grouped(super::integer(number, kind, spec.alternate), spec))
}

fn real(number: f64, spec: &Spec, session: &Session) -> Result<String, Error> {
    match (spec.kind, spec.precision) {
        (Some(kind @ ('b' | 'c' | 'd' | 'o' | 's' | 'x' | 'X')), _) => Err(wrong(format!(
            "`{kind}` does not format a number with a point: write `| int` after it, or `f`"
        ))),
        (None, None) => {
            let shown = text::text(&Value::from(number.abs()), session)?;
            let digits = Digits {
                negative: number.is_sign_negative() && !number.is_nan(),
                prefix: "",
                digits: shown,
            };
            Ok(grouped(digits, spec))
        }
        (None, Some(precision)) if number.is_finite() => {
            let digits = Digits {
                negative: number.is_sign_negative(),
                prefix: "",
                digits: super::general(number.abs(), precision, spec.alternate, true),
            };
            Ok(grouped(digits, spec))
        }
        _ => float(number, spec),
    }
}

fn float(number: f64, spec: &Spec) -> Result<String, Error> {
    let precision = spec.precision.unwrap_or(6);
    let digits = match spec.kind {
        Some('%') => {
            let mut digits = super::float(number * 100.0, 'f', precision, spec.alternate);
            digits.digits.push('%');
            digits
        }
        Some('n') | None => super::float(number, 'g', precision, spec.alternate),
        Some(kind) => super::float(number, kind, precision, spec.alternate),
    };
    Ok(grouped(digits, spec))
}

/// A number with its thousands, at its width.
fn grouped(mut number: Digits, spec: &Spec) -> String {
    let align = spec
        .align
        .unwrap_or(if spec.zero { Align::Within } else { Align::Right });
    let fill = spec.fill.unwrap_or(if spec.zero { '0' } else { ' ' });
    if let Some(mark) = spec.group {
        let every = match spec.kind {
            Some('b' | 'o' | 'x' | 'X') => 4,
            _ => 3,
        };
        let is_digit = |c: char| c.is_ascii_digit() || (every == 4 && c.is_ascii_hexdigit());
        let end = number
            .digits
            .find(|c| !is_digit(c))
            .unwrap_or(number.digits.len());
        let after = number.digits.split_off(end);
        let sign = usize::from(number.negative || spec.plus != Sign::Bare) + number.prefix.len();
        let mut digits = number.digits;
        // Zeros that fill it up have their marks as well.
        if align == Align::Within && fill == '0' && !digits.is_empty() {
            let least = spec.width.saturating_sub(sign + after.len());
            let with_marks = |digits: usize| digits + (digits - 1) / every;
            let mut wanted = digits.len();
            while with_marks(wanted) < least {
                wanted += 1;
            }
            digits = "0".repeat(wanted - digits.len()) + &digits;
        }
        let mut made = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(every) {
                made.push(mark);
            }
            made.push(digit);
        }
        number.digits = made + &after;
    }
    number.at(spec.width, fill, align, spec.plus)
}
