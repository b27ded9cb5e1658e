//! What is looked at before a template is parsed: a syntax tree that is too deep ends a thread when it is walked or dropped,
//! and the parser bounds brackets and blocks but not chains of operators.

use minijinja::machinery::{Token, tokenize};

use super::TemplateError;
use super::limits;

/// Refuses sources that are too long or stand too deep.
pub(super) fn check(source: &str) -> Result<(), TemplateError> {
    let wrong = |line: u16, what: String| TemplateError {
        line: u32::from(line).max(1),
        what,
    };
    if source.len() > limits::SOURCE {
        let what = format!("it has {} bytes, and {} are taken", source.len(), limits::SOURCE);
        return Err(wrong(1, what));
    }
    // For every bracket that is open, how many operators came since the last comma.
    let mut depths: Vec<usize> = vec![0];
    let mut elifs = 0;
    for token in tokenize(source, false, minijinja::syntax::SyntaxConfig::default()) {
        // What is no token is told by the parser.
        let Ok((token, span)) = token else { return Ok(()) };
        match token {
            Token::VariableStart | Token::BlockStart => depths = vec![0],
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => {
                count(&mut depths);
                depths.push(0);
            }
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                if depths.len() > 1 {
                    depths.pop();
                }
            }
            Token::Comma => {
                if let Some(last) = depths.last_mut() {
                    *last = 0;
                }
            }
            Token::Ident("elif") => elifs += 1,
            Token::Ident(word) if !matches!(word, "and" | "or" | "not" | "in" | "is" | "if" | "else") => {}
            Token::TemplateData(_) | Token::VariableEnd | Token::BlockEnd => {}
            Token::Str(_) | Token::String(_) | Token::Int(_) | Token::Int128(_) | Token::Float(_) => {}
            Token::Colon | Token::Assign => {}
            _ => count(&mut depths),
        }
        if depths.iter().sum::<usize>() > limits::OPERATORS {
            let what = format!("an expression has more than {} operators", limits::OPERATORS);
            return Err(wrong(span.start_line, what));
        }
        if elifs > limits::ELIFS {
            return Err(wrong(
                span.start_line,
                format!("there are more than {} `elif`s", limits::ELIFS),
            ));
        }
    }
    Ok(())
}

fn count(depths: &mut [usize]) {
    if let Some(last) = depths.last_mut() {
        *last += 1;
    }
}
