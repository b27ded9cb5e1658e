//! A template's source → another, in which every operator is a call of ours, every list is counted, and nothing is called that
//! is not known. Lines stay where they are, so that errors speak of what was written.

mod expressions;

use std::collections::BTreeSet;

use minijinja::machinery::ast::{Expr, Macro, Stmt};
use minijinja::machinery::{Span, parse};

use super::TemplateError;
use super::error::plain;

/// Rewrites a source that was seen to be within bounds.
pub(super) fn rewrite(source: &str) -> Result<String, TemplateError> {
    let tree = parse(source, "template", minijinja::syntax::SyntaxConfig::default())
        .map_err(|error| plain(&error))?;
    let mut writer = Writer {
        out: String::with_capacity(source.len() * 2),
        line: 1,
        macros: BTreeSet::new(),
    };
    writer.macros_of(std::slice::from_ref(&tree));
    writer.statement(&tree)?;
    Ok(writer.out)
}

type Done = Result<(), TemplateError>;

struct Writer<'s> {
    out: String,
    line: u32,
    macros: BTreeSet<&'s str>,
}

fn refuse<T>(span: Span, what: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError {
        line: u32::from(span.start_line).max(1),
        what: what.into(),
    })
}

impl<'s> Writer<'s> {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Goes on in the line that something stood in; within tags a line's end is space.
    fn at(&mut self, span: Span) {
        while self.line < u32::from(span.start_line) {
            self.out.push('\n');
            self.line += 1;
        }
    }

    fn open(&mut self, span: Span, words: &str) {
        self.put("{% ");
        self.at(span);
        self.put(words);
    }

    /// The names of all macros, which may be called before they stand.
    fn macros_of(&mut self, statements: &[Stmt<'s>]) {
        for statement in statements {
            match statement {
                Stmt::Template(it) => self.macros_of(&it.children),
                Stmt::ForLoop(it) => {
                    self.macros_of(&it.body);
                    self.macros_of(&it.else_body);
                }
                Stmt::IfCond(it) => {
                    self.macros_of(&it.true_body);
                    self.macros_of(&it.false_body);
                }
                Stmt::WithBlock(it) => self.macros_of(&it.body),
                Stmt::SetBlock(it) => self.macros_of(&it.body),
                Stmt::FilterBlock(it) => self.macros_of(&it.body),
                Stmt::Macro(it) => {
                    self.macros.insert(it.name);
                    self.macros_of(&it.body);
                }
                Stmt::CallBlock(it) => self.macros_of(&it.macro_decl.body),
                _ => {}
            }
        }
    }

    fn body(&mut self, statements: &[Stmt<'s>]) -> Done {
        statements
            .iter()
            .try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &Stmt<'s>) -> Done {
        match statement {
            Stmt::Template(it) => self.body(&it.children)?,
            Stmt::EmitExpr(it) => {
                self.put("{{ ");
                self.at(it.span());
                self.expr(&it.expr)?;
                self.put(" }}");
            }
            Stmt::EmitRaw(it) => {
                self.put("{{ ");
                self.string(it.raw);
                self.put(" }}");
            }
            Stmt::ForLoop(it) => {
                self.open(it.span(), "for ");
                self.target(&it.target)?;
                self.put(" in ");
                self.operand(&it.iter)?;
                if let Some(filter) = &it.filter_expr {
                    self.put(" if ");
                    self.operand(filter)?;
                }
                self.put(if it.recursive { " recursive %}" } else { " %}" });
                self.body(&it.body)?;
                if !it.else_body.is_empty() {
                    self.put("{% else %}");
                    self.body(&it.else_body)?;
                }
                self.put("{% endfor %}");
            }
            Stmt::IfCond(it) => {
                self.open(it.span(), "if ");
                self.operand(&it.expr)?;
                self.put(" %}");
                self.body(&it.true_body)?;
                if !it.false_body.is_empty() {
                    self.put("{% else %}");
                    self.body(&it.false_body)?;
                }
                self.put("{% endif %}");
            }
            Stmt::WithBlock(it) => {
                self.open(it.span(), "with ");
                for (index, (target, value)) in it.assignments.iter().enumerate() {
                    self.put(if index > 0 { ", " } else { "" });
                    self.target(target)?;
                    self.put(" = ");
                    self.operand(value)?;
                }
                self.put(" %}");
                self.body(&it.body)?;
                self.put("{% endwith %}");
            }
            Stmt::Set(it) => {
                self.open(it.span(), "set ");
                self.target(&it.target)?;
                self.put(" = ");
                if matches!(it.target, Expr::GetAttr(_)) {
                    self.call("__keep", std::iter::once(&it.expr))?;
                } else {
                    self.operand(&it.expr)?;
                }
                self.put(" %}");
            }
            Stmt::SetBlock(it) => {
                self.open(it.span(), "set ");
                self.target(&it.target)?;
                if let Some(filter) = &it.filter {
                    self.put(" | ");
                    self.expr(filter)?;
                }
                self.put(" %}");
                self.body(&it.body)?;
                self.put("{% endset %}");
            }
            Stmt::FilterBlock(it) => {
                self.open(it.span(), "filter ");
                self.expr(&it.filter)?;
                self.put(" %}");
                self.body(&it.body)?;
                self.put("{% endfilter %}");
            }
            Stmt::Macro(it) => {
                self.open(it.span(), "macro ");
                self.put(it.name);
                self.parameters(it)?;
                self.put(" %}");
                self.body(&it.body)?;
                self.put("{% endmacro %}");
            }
            Stmt::CallBlock(it) => {
                self.open(it.span(), "call");
                if !it.macro_decl.args.is_empty() {
                    self.parameters(&it.macro_decl)?;
                }
                self.put(" ");
                self.called(&it.call, it.call.span())?;
                self.put(" %}");
                self.body(&it.macro_decl.body)?;
                self.put("{% endcall %}");
            }
            Stmt::Do(it) => {
                self.open(it.span(), "do ");
                self.called(&it.call, it.call.span())?;
                self.put(" %}");
            }
            Stmt::Continue(it) => {
                self.open(it.span(), "continue %}");
            }
            Stmt::Break(it) => {
                self.open(it.span(), "break %}");
            }
            Stmt::AutoEscape(it) => return refuse(it.span(), "`autoescape` is not supported"),
            Stmt::Block(it) => return refuse(it.span(), "`block` is not supported"),
            Stmt::Extends(it) => return refuse(it.span(), "`extends` is not supported"),
            Stmt::Include(it) => return refuse(it.span(), "`include` is not supported: write it out"),
            Stmt::Import(it) => return refuse(it.span(), "`import` is not supported: write the macros out"),
            Stmt::FromImport(it) => {
                return refuse(it.span(), "`import` is not supported: write the macros out");
            }
        }
        Ok(())
    }

    fn parameters(&mut self, it: &Macro<'s>) -> Done {
        self.put("(");
        let without = it.args.len().saturating_sub(it.defaults.len());
        for (index, arg) in it.args.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" });
            self.target(arg)?;
            if let Some(default) = index
                .checked_sub(without)
                .and_then(|index| it.defaults.get(index))
            {
                self.put("=");
                self.operand(default)?;
            }
        }
        self.put(")");
        Ok(())
    }

    /// What something is assigned to.
    fn target(&mut self, target: &Expr<'s>) -> Done {
        match target {
            Expr::Var(it) => self.name(it.id, it.span()),
            Expr::GetAttr(it) => {
                self.target(&it.expr)?;
                self.put(".");
                self.name(it.name, it.span())
            }
            Expr::List(ast) => self.targets(&ast.items),
            Expr::Tuple(ast) => self.targets(&ast.items),
            other => refuse(other.span(), "nothing can be assigned to this"),
        }
    }

    fn targets(&mut self, items: &[Expr<'s>]) -> Done {
        for (index, item) in items.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" });
            let inner = matches!(item, Expr::List(_) | Expr::Tuple(_));
            self.put(if inner { "(" } else { "" });
            self.target(item)?;
            self.put(if inner { ")" } else { "" });
        }
        if items.len() == 1 {
            self.put(",");
        }
        Ok(())
    }

    fn name(&mut self, name: &str, span: Span) -> Done {
        if name.starts_with("__") {
            return refuse(
                span,
                format!("`{name}` cannot be used: names do not begin with `__`"),
            );
        }
        self.put(name);
        Ok(())
    }
}
