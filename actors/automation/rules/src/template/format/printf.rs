//! `"%.1f"|format(x)` and `"%s: %d" % (a, b)`, by Python's rules.

use std::slice;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

use super::{Align, Digits, Sign};
use crate::template::session::{Session, wrong};
use crate::template::{limits, numbers, ops, text};

/// What a pattern is filled with.
pub(in crate::template) enum Given<'v> {
    /// One conversion after the other takes one.
    Ordered(&'v [Value]),
    /// What stands behind `%`: a tuple's items in order, or one value, which `%(name)s` looks into if it is a mapping.
    One(&'v Value),
    /// `%(name)s` takes them by name.
    Named(&'v [(String, Value)]),
}

/// A part of a pattern.
enum Piece<'p> {
    Text(&'p str),
    Conversion(Conversion<'p>),
}

/// `%(name)-08.3f`.
#[derive(Debug, Default)]
struct Conversion<'p> {
    name: Option<&'p str>,
    left: bool,
    zero: bool,
    alternate: bool,
    plus: Sign,
    width: Size,
    precision: Size,
    kind: char,
}

#[derive(Debug, Clone, Copy, Default)]
enum Size {
    #[default]
    Unsaid,
    Said(usize),
    /// `*`: the next value says it.
    Asked,
}

/// Takes a pattern apart.
struct Pieces<'p>(&'p str);

impl<'p> Iterator for Pieces<'p> {
    type Item = Result<Piece<'p>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.0.find('%') {
            _ if self.0.is_empty() => None,
            Some(0) => Some(self.conversion().map(Piece::Conversion)),
            at => {
                let (text, rest) = self.0.split_at(at.unwrap_or(self.0.len()));
                self.0 = rest;
                Some(Ok(Piece::Text(text)))
            }
        }
    }
}

impl<'p> Pieces<'p> {
    fn conversion(&mut self) -> Result<Conversion<'p>, String> {
        let whole = self.0;
        let mut rest = &whole[1..];
        let mut made = Conversion::default();
        if let Some(inner) = rest.strip_prefix('(') {
            let end = closing(inner).ok_or("`%(` is not closed by `)`")?;
            made.name = Some(&inner[..end]);
            rest = &inner[end + 1..];
        }
        loop {
            match rest.bytes().next() {
                Some(b'-') => made.left = true,
                Some(b'0') => made.zero = true,
                Some(b'#') => made.alternate = true,
                Some(b'+') => made.plus = Sign::Plus,
                Some(b' ') if made.plus == Sign::Bare => made.plus = Sign::Space,
                Some(b' ') => {}
                _ => break,
            }
            rest = &rest[1..];
        }
        made.width = asked(&mut rest)?;
        if let Some(after) = rest.strip_prefix('.') {
            rest = after;
            made.precision = match asked(&mut rest)? {
                Size::Unsaid => Size::Said(0),
                size => size,
            };
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let Some(kind) = rest.chars().next() else {
            return Err("a format ends within a `%`; write `%%` for a per cent sign".to_owned());
        };
        self.0 = &rest[kind.len_utf8()..];
        if !"diuoxXeEfFgGcrsa%".contains(kind) {
            let shown: String = whole[..whole.len() - self.0.len()].chars().take(40).collect();
            return Err(format!(
                "`{}` is no format of Python's; write `%s`, `%d`, `%.1f` … and `%%` for a per cent sign",
                shown.replace(char::is_control, " ")
            ));
        }
        made.kind = kind;
        Ok(made)
    }
}

/// Where the bracket that stands before a text is closed.
fn closing(inner: &str) -> Option<usize> {
    let mut open = 1;
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            b'(' => open += 1,
            b')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(at);
        }
    }
    None
}

fn asked(rest: &mut &str) -> Result<Size, String> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        return Ok(Size::Asked);
    }
    Ok(super::size(rest)?.map_or(Size::Unsaid, Size::Said))
}

/// Whether a pattern can be read.
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
    given: &Given<'_>,
    session: &Session,
) -> Result<String, Error> {
    session.spend(pattern.len())?;
    let items = match given {
        Given::One(value) if value.is_tuple() => ops::list(value, session)?,
        _ => Vec::new(),
    };
    let mut values = Values {
        ordered: match given {
            Given::Ordered(values) => values,
            Given::One(value) if value.is_tuple() => &items,
            Given::One(value) => slice::from_ref(*value),
            Given::Named(_) => &[],
        },
        taken: 0,
        given,
    };
    let mut made = String::new();
    for piece in Pieces(pattern) {
        match piece.map_err(wrong)? {
            Piece::Text(text) => super::put(&mut made, text, session)?,
            Piece::Conversion(it) => {
                let text = values.converted(&it, session)?;
                super::put(&mut made, &text, session)?;
            }
        }
    }
    values.end()?;
    Ok(made)
}

struct Values<'v> {
    given: &'v Given<'v>,
    ordered: &'v [Value],
    taken: usize,
}

impl Values<'_> {
    fn next(&mut self) -> Result<Value, Error> {
        let next = self.ordered.get(self.taken).cloned();
        self.taken += 1;
        next.ok_or_else(|| {
            wrong(format!(
                "a format takes more than the {} values that it is given",
                self.ordered.len()
            ))
        })
    }

    fn named(&mut self, name: &str) -> Result<Value, Error> {
        let missing = || {
            wrong(format!(
                "`%({name})` is not among the values that the format is given"
            ))
        };
        match self.given {
            Given::Named(values) => {
                let found = values.iter().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).ok_or_else(missing)
            }
            Given::One(value) if value.kind() == ValueKind::Map => {
                let found = value.get_item(&Value::from(name))?;
                self.taken = self.ordered.len();
                Some(found)
                    .filter(|found| !found.is_undefined())
                    .ok_or_else(missing)
            }
            _ => Err(wrong(
                "`%(name)s` takes values by name: write `\"…\"|format(name=…)`, or `\"…\" % mapping`",
            )),
        }
    }

    /// The number that a `*` asks for.
    fn size(&mut self, size: Size) -> Result<Option<i64>, Error> {
        match size {
            Size::Unsaid => Ok(None),
            Size::Said(size) => Ok(i64::try_from(size).ok()),
            Size::Asked => {
                let value = self.next()?;
                let most = limits::WIDTH as i128;
                match super::whole(&value) {
                    Some(size) if (-most..=most).contains(&size) => Ok(i64::try_from(size).ok()),
                    Some(_) => Err(wrong(super::too_wide())),
                    None => Err(wrong(format!(
                        "`*` in a format takes a whole number, and got {}",
                        text::kind(&value)
                    ))),
                }
            }
        }
    }

    fn converted(&mut self, it: &Conversion<'_>, session: &Session) -> Result<String, Error> {
        if it.kind == '%' {
            return Ok("%".to_owned());
        }
        let named = it.name.map(|name| self.named(name)).transpose()?;
        let width = self.size(it.width)?.unwrap_or(0);
        let precision = self
            .size(it.precision)?
            .map(|precision| usize::try_from(precision).unwrap_or(0));
        let value = match named {
            Some(value) => value,
            None => self.next()?,
        };
        let left = it.left || width < 0;
        let width = usize::try_from(width.unsigned_abs()).unwrap_or(0);
        let align = if left { Align::Left } else { Align::Right };
        let number = match it.kind {
            'd' | 'i' | 'u' => decimal(&value, it.kind)?,
            'o' | 'x' | 'X' => match super::whole(&value) {
                Some(number) => super::integer(number, it.kind, it.alternate),
                None => return Err(super::no_number(&value, it.kind, "int")),
            },
            'c' => {
                let c = super::character(&value)?;
                return Ok(super::padded(c.encode_utf8(&mut [0; 4]), width, ' ', align));
            }
            'r' | 's' | 'a' => {
                let text = super::spelled(&value, it.kind, session)?;
                let text = super::cut(&text, precision.unwrap_or(usize::MAX));
                return Ok(super::padded(text, width, ' ', align));
            }
            kind => {
                let number = super::real(&value, kind)?;
                let float = super::float(number, kind, precision.unwrap_or(6), it.alternate);
                return Ok(at(&float, it, width, left));
            }
        };
        let missing = precision.unwrap_or(0).saturating_sub(number.digits.len());
        let digits = "0".repeat(missing) + &number.digits;
        Ok(at(&Digits { digits, ..number }, it, width, left))
    }

    /// All has to have been taken, unless it is something that values are looked for in.
    fn end(&self) -> Result<(), Error> {
        let is_looked_into = match self.given {
            Given::One(value) => {
                !value.is_tuple()
                    && matches!(
                        value.kind(),
                        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable
                    )
            }
            Given::Named(_) => true,
            Given::Ordered(_) => false,
        };
        if self.taken < self.ordered.len() && !is_looked_into {
            return Err(wrong(format!(
                "a format takes {} values, and is given {}",
                self.taken,
                self.ordered.len()
            )));
        }
        Ok(())
    }
}

fn at(number: &Digits, it: &Conversion<'_>, width: usize, left: bool) -> String {
    let (fill, align) = match (left, it.zero) {
        (true, _) => (' ', Align::Left),
        (false, true) => ('0', Align::Within),
        (false, false) => (' ', Align::Right),
    };
    number.at(width, fill, align, it.plus)
}

/// A number without what comes after its point.
fn decimal(value: &Value, kind: char) -> Result<Digits, Error> {
    if let Some(number) = super::whole(value) {
        return Ok(super::integer(number, 'd', false));
    }
    let number = numbers::number(value).ok_or_else(|| super::no_number(value, kind, "int"))?;
    if !number.is_finite() {
        return Err(wrong(format!("`{kind}` cannot format {number}")));
    }
    let mut digits = super::float(number.trunc(), 'f', 0, false);
    digits.negative &= number.trunc() != 0.0;
    Ok(digits)
}
