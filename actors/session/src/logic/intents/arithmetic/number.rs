//! Numbers that stay exact as long as they can: fractions of 128-bit integers, and floating point where a root or the
//! size asks for it.

use std::cmp::Ordering;

/// Largest integer exponent that is multiplied out; anything above overflows for every base but 0, 1 and -1.
const MAX_EXACT_EXPONENT: u128 = 4_096;

/// Decimal places shown of an exact fraction that ends.
const MAX_DECIMAL_PLACES: usize = 12;

/// Why a calculation has no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MathError {
    /// Something was divided by zero.
    DivisionByZero,
    /// The result is larger than any number here.
    TooLarge,
    /// The root of a negative number, or the like.
    NotReal,
    /// The brackets nest too deep, or the expression is too long.
    TooComplex,
    /// Something is missing or too much.
    Malformed,
}

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Numerator and positive denominator, in lowest terms.
    Exact(i128, i128),
    /// Rounded; always finite.
    Approx(f64),
}

type Result = std::result::Result<Number, MathError>;

impl Number {
    /// A whole number.
    pub(super) fn whole(value: i128) -> Self {
        Self::Exact(value, 1)
    }

    /// The number that the digits `whole` and `fraction` write; too many of them make it a rounded one.
    pub(super) fn from_digits(whole: &str, fraction: &str) -> Result {
        let fraction = fraction.trim_end_matches('0');
        let all = format!("{whole}{fraction}");
        let exact = all
            .parse::<i128>()
            .ok()
            .zip(10i128.checked_pow(fraction.len() as u32));
        match exact {
            Some((num, den)) => ratio(num, den),
            None => approx(
                format!("{whole}.{fraction}0")
                    .parse()
                    .map_err(|_| MathError::Malformed)?,
            ),
        }
    }

    /// As floating point.
    pub(super) fn to_f64(self) -> f64 {
        match self {
            Self::Exact(num, den) => num as f64 / den as f64,
            Self::Approx(value) => value,
        }
    }

    fn is_zero(self) -> bool {
        match self {
            Self::Exact(num, _) => num == 0,
            Self::Approx(value) => value == 0.0,
        }
    }

    fn exact_or(
        self,
        other: Self,
        exact: impl Fn((i128, i128), (i128, i128)) -> Option<(i128, i128)>,
        rounded: impl Fn(f64, f64) -> f64,
    ) -> Result {
        if let (Self::Exact(a, b), Self::Exact(c, d)) = (self, other)
            && let Some((num, den)) = exact((a, b), (c, d))
        {
            return ratio(num, den);
        }
        approx(rounded(self.to_f64(), other.to_f64()))
    }

    /// The sum.
    pub(super) fn add(self, other: Self) -> Result {
        self.exact_or(
            other,
            |(a, b), (c, d)| {
                Some((
                    a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?,
                    b.checked_mul(d)?,
                ))
            },
            |a, b| a + b,
        )
    }

    /// The difference.
    pub(super) fn sub(self, other: Self) -> Result {
        self.add(other.neg()?)
    }

    /// The product.
    pub(super) fn mul(self, other: Self) -> Result {
        self.exact_or(
            other,
            |(a, b), (c, d)| {
                // Reducing crosswise first keeps the intermediate products small.
                let (g, h) = (gcd(a, d), gcd(c, b));
                Some(((a / g).checked_mul(c / h)?, (b / h).checked_mul(d / g)?))
            },
            |a, b| a * b,
        )
    }

    /// The quotient.
    pub(super) fn div(self, other: Self) -> Result {
        if other.is_zero() {
            return Err(MathError::DivisionByZero);
        }
        match other {
            Self::Exact(num, den) => match num.checked_abs() {
                Some(abs) => self.mul(Self::Exact(den * num.signum(), abs)),
                None => approx(self.to_f64() / other.to_f64()),
            },
            Self::Approx(value) => approx(self.to_f64() / value),
        }
    }

    /// The remainder, never negative for a positive divisor, as clocks and calendars count.
    pub(super) fn rem(self, other: Self) -> Result {
        if other.is_zero() {
            return Err(MathError::DivisionByZero);
        }
        self.exact_or(
            other,
            |(a, b), (c, d)| {
                let (left, right) = (a.checked_mul(d)?, c.checked_mul(b)?);
                Some((left.checked_rem_euclid(right)?, b.checked_mul(d)?))
            },
            f64::rem_euclid,
        )
    }

    /// The number with the other sign.
    pub(super) fn neg(self) -> Result {
        match self {
            Self::Exact(num, den) => match num.checked_neg() {
                Some(num) => Ok(Self::Exact(num, den)),
                None => approx(-self.to_f64()),
            },
            Self::Approx(value) => approx(-value),
        }
    }

    /// The power.
    pub(super) fn pow(self, exponent: Self) -> Result {
        if let Self::Exact(power, 1) = exponent {
            if self.is_zero() {
                return match power.cmp(&0) {
                    Ordering::Less => Err(MathError::DivisionByZero),
                    Ordering::Equal => Ok(Self::whole(1)),
                    Ordering::Greater => Ok(Self::whole(0)),
                };
            }
            if let (Self::Exact(num, den), true) = (self, power.unsigned_abs() <= MAX_EXACT_EXPONENT)
                && let Some((num, den)) = num
                    .checked_pow(power.unsigned_abs() as u32)
                    .zip(den.checked_pow(power.unsigned_abs() as u32))
            {
                return if power < 0 {
                    Self::whole(1).div(ratio(num, den)?)
                } else {
                    ratio(num, den)
                };
            }
        } else if exponent == Self::Exact(1, 2) {
            return self.sqrt();
        }
        if self.is_zero() && exponent.to_f64() < 0.0 {
            return Err(MathError::DivisionByZero);
        }
        let value = self.to_f64().powf(exponent.to_f64());
        if value.is_nan() {
            Err(MathError::NotReal)
        } else {
            approx(value)
        }
    }

    /// The square root.
    pub(super) fn sqrt(self) -> Result {
        if self.to_f64() < 0.0 {
            return Err(MathError::NotReal);
        }
        if let Self::Exact(num, den) = self {
            let (a, b) = (num.isqrt(), den.isqrt());
            if a * a == num && b * b == den {
                return Ok(Self::Exact(a, b));
            }
        }
        approx(self.to_f64().sqrt())
    }

    /// As people write it, with `decimal` between whole and fraction, and whether that is the whole truth.
    pub(super) fn display(self, decimal: char) -> (String, bool) {
        let (text, exact) = match self {
            Self::Exact(num, 1) => (num.to_string(), true),
            Self::Exact(num, den) => match terminating(num, den) {
                Some(text) => (text, true),
                None => (rounded(self.to_f64()), false),
            },
            Self::Approx(value) => (rounded(value), false),
        };
        (text.replace('.', &decimal.to_string()), exact)
    }
}

fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.unsigned_abs(), b.unsigned_abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    // i128::MIN has no positive counterpart; leaving the pair unreduced is right as well.
    i128::try_from(a).unwrap_or(1).max(1)
}

fn ratio(num: i128, den: i128) -> Result {
    if den == 0 {
        return Err(MathError::DivisionByZero);
    }
    let g = gcd(num, den);
    let (num, den) = (num / g, den / g);
    if den > 0 {
        return Ok(Number::Exact(num, den));
    }
    match num.checked_neg().zip(den.checked_neg()) {
        Some((num, den)) => Ok(Number::Exact(num, den)),
        None => approx(num as f64 / den as f64),
    }
}

fn approx(value: f64) -> Result {
    if value.is_nan() {
        Err(MathError::NotReal)
    } else if value.is_infinite() {
        Err(MathError::TooLarge)
    } else {
        Ok(Number::Approx(value))
    }
}

/// The decimal form of a fraction, if it ends within [`MAX_DECIMAL_PLACES`].
fn terminating(num: i128, den: i128) -> Option<String> {
    let sign = if num < 0 { "-" } else { "" };
    let (num, den) = (num.unsigned_abs(), den.unsigned_abs());
    let mut remainder = num % den;
    let mut places = String::new();
    while remainder != 0 {
        if places.len() == MAX_DECIMAL_PLACES {
            return None;
        }
        remainder = remainder.checked_mul(10)?;
        places.push(char::from(b'0' + (remainder / den) as u8));
        remainder %= den;
    }
    Some(format!("{sign}{}.{places}", num / den))
}

/// Ten significant digits, without trailing zeros.
fn rounded(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-6..1e15).contains(&size) {
        let text = format!("{value:.9e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        return format!(
            "{}e{exponent}",
            digits.trim_end_matches('0').trim_end_matches('.')
        );
    }
    let whole_digits = if size < 1.0 { 0 } else { size.log10() as usize + 1 };
    let text = format!("{value:.*}", 10usize.saturating_sub(whole_digits));
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}
