//! Parses and evaluates a calculation in one pass.
//!
//! ```text
//! sum     = product (("+" | "-") product)*        a percentage on the right is one of the left: 50 + 10 % = 55
//! product = signed (("*" | "/" | "mod" | "of") signed | "(" …)*
//! signed  = "-" signed | "+" signed | power
//! power   = postfix ("^" signed)?                 binds to the right: 2 ^ 3 ^ 2 = 512
//! postfix = primary "%"*                          "%" before an operand is the remainder instead
//! primary = number | "(" sum ")" | "√" power
//! ```

use super::lexer::Token;
use super::number::{MathError, Number};

/// How deep brackets, signs, roots and powers may nest.
const MAX_DEPTH: usize = 64;

/// The value of the calculation.
pub(super) fn evaluate(tokens: &[Token]) -> Result<Number, MathError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        depth: 0,
    };
    let (value, _) = parser.sum()?;
    if parser.at == tokens.len() {
        Ok(value)
    } else {
        Err(MathError::Malformed)
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

/// A value, and whether it was written as a bare percentage.
type Valued = Result<(Number, bool), MathError>;

impl Parser<'_> {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.at).copied()
    }

    fn take(&mut self, token: Token) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T, MathError>) -> Result<T, MathError> {
        if self.depth == MAX_DEPTH {
            return Err(MathError::TooComplex);
        }
        self.depth += 1;
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn sum(&mut self) -> Valued {
        let (mut left, mut percent) = self.product()?;
        loop {
            let minus = match self.peek() {
                Some(Token::Plus) => false,
                Some(Token::Minus) => true,
                _ => return Ok((left, percent)),
            };
            self.at += 1;
            let (mut right, of_left) = self.product()?;
            if of_left && !percent {
                right = left.mul(right)?;
            }
            left = if minus { left.sub(right)? } else { left.add(right)? };
            percent = percent && of_left;
        }
    }

    fn product(&mut self) -> Valued {
        let (mut left, mut percent) = self.signed()?;
        loop {
            let operation = match self.peek() {
                Some(Token::Times | Token::Of) => Number::mul,
                Some(Token::Over) => Number::div,
                Some(Token::Mod | Token::Percent) => Number::rem,
                // "2 (3 + 4)" multiplies without a sign.
                Some(Token::Open | Token::Root) => {
                    left = left.mul(self.power()?.0)?;
                    percent = false;
                    continue;
                }
                _ => return Ok((left, percent)),
            };
            self.at += 1;
            left = operation(left, self.signed()?.0)?;
            percent = false;
        }
    }

    fn signed(&mut self) -> Valued {
        if self.take(Token::Minus) {
            let (value, percent) = self.deeper(Self::signed)?;
            return Ok((value.neg()?, percent));
        }
        if self.take(Token::Plus) {
            return self.deeper(Self::signed);
        }
        self.power()
    }

    fn power(&mut self) -> Valued {
        let (base, percent) = self.postfix()?;
        if self.take(Token::Power) {
            let (exponent, _) = self.deeper(Self::signed)?;
            return Ok((base.pow(exponent)?, false));
        }
        Ok((base, percent))
    }

    fn postfix(&mut self) -> Valued {
        let mut value = self.primary()?;
        let mut percent = false;
        while self.peek() == Some(Token::Percent) && !self.operand_at(self.at + 1) {
            self.at += 1;
            value = value.div(Number::whole(100))?;
            percent = true;
        }
        Ok((value, percent))
    }

    fn operand_at(&self, at: usize) -> bool {
        matches!(
            self.tokens.get(at),
            Some(Token::Number(_) | Token::Open | Token::Root)
        )
    }

    fn primary(&mut self) -> Result<Number, MathError> {
        match self.peek() {
            Some(Token::Number(value)) => {
                self.at += 1;
                Ok(value)
            }
            Some(Token::Open) => {
                self.at += 1;
                let (value, _) = self.deeper(Self::sum)?;
                if self.take(Token::Close) {
                    Ok(value)
                } else {
                    Err(MathError::Malformed)
                }
            }
            Some(Token::Root) => {
                self.at += 1;
                let (value, _) = self.deeper(Self::power)?;
                value.sqrt()
            }
            _ => Err(MathError::Malformed),
        }
    }
}
