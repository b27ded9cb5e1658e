//! A template's source → another, in which every operator is a call of ours, every list is counted, and nothing is called that
//! is not known. Lines stay where they are, so that errors speak of what was written.

use std::collections::BTreeSet;

use minijinja::machinery::ast::{
    BinOpKind, CallArg, CallType, CompareOpKind, Expr, Filter, Macro, Stmt, UnaryOpKind,
};
use minijinja::machinery::{Span, ast, parse};
use minijinja::value::{Value, ValueKind};

use super::TemplateError;
use super::error::plain;
use super::functions::{FILTERS, FUNCTIONS, TESTS};

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

    /// An expression where operators may stand around it.
    fn operand(&mut self, expr: &Expr<'s>) -> Done {
        let simple = match expr {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) | Expr::Call(_) => true,
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) | Expr::Slice(_) => true,
            Expr::Const(it) => it.value.kind() == ValueKind::String,
            Expr::BinOp(it) => !matches!(it.op, BinOpKind::ScAnd | BinOpKind::ScOr),
            _ => false,
        };
        if simple {
            return self.expr(expr);
        }
        self.put("(");
        self.expr(expr)?;
        self.put(")");
        Ok(())
    }

    fn call<'e>(&mut self, name: &str, args: impl Iterator<Item = &'e Expr<'s>>) -> Done
    where
        's: 'e,
    {
        self.put(name);
        self.put("(");
        for (index, arg) in args.enumerate() {
            self.put(if index > 0 { ", " } else { "" });
            self.expr(arg)?;
        }
        self.put(")");
        Ok(())
    }

    fn expr(&mut self, expr: &Expr<'s>) -> Done {
        match expr {
            Expr::Var(it) => {
                self.at(it.span());
                self.name(it.id, it.span())
            }
            Expr::Const(it) => {
                self.at(it.span());
                self.constant(&it.value, it.span())
            }
            Expr::UnaryOp(it) => match it.op {
                UnaryOpKind::Not => {
                    self.put("not ");
                    self.operand(&it.expr)
                }
                UnaryOpKind::Neg => self.call("__neg", std::iter::once(&it.expr)),
            },
            Expr::BinOp(it) => self.binary(it),
            Expr::Compare(it) => {
                // Several in a row: what they look at is counted first.
                self.call("__keep", std::iter::once(&it.expr))?;
                for op in &it.ops {
                    self.put(match op.op {
                        CompareOpKind::Eq => " == ",
                        CompareOpKind::Ne => " != ",
                        CompareOpKind::Lt => " < ",
                        CompareOpKind::Lte => " <= ",
                        CompareOpKind::Gt => " > ",
                        CompareOpKind::Gte => " >= ",
                        CompareOpKind::In => " in ",
                        CompareOpKind::NotIn => " not in ",
                    });
                    self.call("__keep", std::iter::once(&op.expr))?;
                }
                Ok(())
            }
            Expr::IfExpr(it) => {
                self.operand(&it.true_expr)?;
                self.put(" if ");
                self.operand(&it.test_expr)?;
                if let Some(otherwise) = &it.false_expr {
                    self.put(" else ");
                    self.operand(otherwise)?;
                }
                Ok(())
            }
            Expr::Filter(it) => self.filter(it, it.span()),
            Expr::Test(it) => {
                known(it.name, it.span(), "test", TESTS.iter().map(|(name, _)| *name))?;
                self.operand(&it.expr)?;
                self.put(" is ");
                self.put(it.name);
                if it.args.is_empty() {
                    return Ok(());
                }
                self.arguments(&it.args, it.span())
            }
            Expr::GetAttr(it) => {
                self.operand(&it.expr)?;
                self.at(it.span());
                self.put(".");
                self.name(it.name, it.span())
            }
            Expr::GetItem(it) => {
                self.operand(&it.expr)?;
                self.put("[");
                self.expr(&it.subscript_expr)?;
                self.put("]");
                Ok(())
            }
            Expr::Slice(it) => {
                self.put("__slice(");
                self.expr(&it.expr)?;
                for bound in [&it.start, &it.stop, &it.step] {
                    self.put(", ");
                    match bound {
                        Some(bound) => self.expr(bound)?,
                        None => self.put("none"),
                    }
                }
                self.put(")");
                Ok(())
            }
            Expr::Call(it) => self.called(it, it.span()),
            Expr::List(it) => self.call("__list", it.items.iter()),
            Expr::Tuple(it) => self.call("__tuple", it.items.iter()),
            Expr::Map(it) => {
                let pairs = it
                    .keys
                    .iter()
                    .zip(&it.values)
                    .flat_map(|(key, value)| [key, value]);
                self.call("__dict", pairs)
            }
        }
    }

    fn binary(&mut self, it: &ast::BinOp<'s>) -> Done {
        let name = match it.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => {
                let word = if matches!(it.op, BinOpKind::ScAnd) {
                    " and "
                } else {
                    " or "
                };
                // A chain of the same stays a chain, without brackets that grow with it.
                match &it.left {
                    Expr::BinOp(left)
                        if std::mem::discriminant(&left.op) == std::mem::discriminant(&it.op) =>
                    {
                        self.expr(&it.left)?;
                    }
                    left => self.operand(left)?,
                }
                self.put(word);
                return self.operand(&it.right);
            }
            op => operator(op),
        };
        // So does `a ~ b ~ c`: operators of the same kind are called once.
        let mut operands = vec![&it.right];
        let mut left = &it.left;
        while let Expr::BinOp(inner) = left
            && chains(it.op)
            && std::mem::discriminant(&inner.op) == std::mem::discriminant(&it.op)
        {
            operands.push(&inner.right);
            left = &inner.left;
        }
        operands.push(left);
        self.call(name, operands.into_iter().rev())
    }

    fn filter(&mut self, it: &Filter<'s>, span: Span) -> Done {
        known(it.name, span, "filter", FILTERS.iter().map(|(name, _)| *name))?;
        if let Some(inner) = &it.expr {
            match inner {
                // A chain of filters needs no brackets.
                Expr::Filter(_) => self.expr(inner)?,
                inner => self.operand(inner)?,
            }
            self.at(span);
            self.put("|");
        }
        self.put(it.name);
        if it.args.is_empty() {
            return Ok(());
        }
        self.arguments(&it.args, span)
    }

    fn called(&mut self, it: &ast::Call<'s>, span: Span) -> Done {
        match it.identify_call() {
            CallType::Function(name) => {
                let own = ["loop", "caller", "states"];
                if !self.macros.contains(name) && !own.contains(&name) {
                    let all = FUNCTIONS.iter().map(|(name, _)| *name).chain(["states"]);
                    known(name, span, "function", all)?;
                }
                self.at(span);
                self.name(name, span)?;
            }
            CallType::Method(base, name) => {
                self.operand(base)?;
                self.at(span);
                self.put(".");
                self.name(name, span)?;
            }
            CallType::Block(_) => return refuse(span, "`self` is not supported"),
            CallType::Object(_) => return refuse(span, "only functions and methods can be called"),
        }
        self.arguments(&it.args, span)
    }

    fn arguments(&mut self, args: &[CallArg<'s>], span: Span) -> Done {
        self.put("(");
        for (index, arg) in args.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" });
            match arg {
                CallArg::Pos(value) => self.expr(value)?,
                CallArg::Kwarg(name, value) => {
                    self.put(name);
                    self.put("=");
                    self.expr(value)?;
                }
                CallArg::PosSplat(_) | CallArg::KwargSplat(_) => {
                    return refuse(
                        span,
                        "`*` and `**` before arguments are not supported: write them out",
                    );
                }
            }
        }
        self.put(")");
        Ok(())
    }

    fn constant(&mut self, value: &Value, span: Span) -> Done {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Number if f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite()) => {
                return refuse(span, "this number is too large");
            }
            _ => self.put(&value.to_string()),
        }
        Ok(())
    }

    fn string(&mut self, text: &str) {
        self.put("\"");
        for c in text.chars() {
            match c {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\n' => self.put("\\n"),
                '\r' => self.put("\\r"),
                '\t' => self.put("\\t"),
                c if c.is_control() && (c as u32) < 0x100 => self.put(&format!("\\u{:04x}", c as u32)),
                c => self.out.push(c),
            }
        }
        self.put("\"");
    }
}

/// Whether `a ∘ b ∘ c` may be worked out in one call.
fn chains(op: BinOpKind) -> bool {
    matches!(
        op,
        BinOpKind::Add | BinOpKind::Sub | BinOpKind::Mul | BinOpKind::Concat
    )
}

fn operator(op: BinOpKind) -> &'static str {
    match op {
        BinOpKind::Eq => "__eq",
        BinOpKind::Ne => "__ne",
        BinOpKind::Lt => "__lt",
        BinOpKind::Lte => "__le",
        BinOpKind::Gt => "__gt",
        BinOpKind::Gte => "__ge",
        BinOpKind::Add => "__add",
        BinOpKind::Sub => "__sub",
        BinOpKind::Mul => "__mul",
        BinOpKind::Div => "__div",
        BinOpKind::FloorDiv => "__intdiv",
        BinOpKind::Rem => "__rem",
        BinOpKind::Pow => "__pow",
        BinOpKind::Concat => "__concat",
        BinOpKind::In | BinOpKind::ScAnd | BinOpKind::ScOr => "__in",
    }
}

/// What Home Assistant has and this does not, and why.
const UNSUPPORTED: [(&[&str], &str); 4] = [
    (
        &[
            "area_name",
            "area_id",
            "areas",
            "area_devices",
            "floor_name",
            "floor_id",
            "floors",
            "floor_areas",
            "floor_entities",
        ],
        "write the names out, or ask for an area's entities with `area_entities`",
    ),
    (
        &[
            "device_id",
            "device_attr",
            "is_device_attr",
            "device_name",
            "config_entry_id",
            "integration_entities",
            "labels",
        ],
        "write the ids out, or ask with `device_entities` and `label_entities`",
    ),
    (&["distance", "closest"], "use a `zone` trigger or condition"),
    (
        &["random", "shuffle"],
        "an answer that hangs on chance would differ from node to node",
    ),
];

/// Refuses what is called and not known, with what was meant most likely.
fn known(name: &str, span: Span, kind: &str, all: impl Iterator<Item = &'static str>) -> Done {
    const LIKE: f64 = 0.8;
    let all: Vec<_> = all.filter(|known| !known.starts_with("__")).collect();
    if all.contains(&name) {
        return Ok(());
    }
    if let Some((_, why)) = UNSUPPORTED.iter().find(|(names, _)| names.contains(&name)) {
        return refuse(span, format!("`{name}` is not supported: {why}"));
    }
    let like = |known: &&str| strsim::jaro_winkler(name, known);
    let best = all.into_iter().max_by(|a, b| like(a).total_cmp(&like(b)));
    let mut what = format!("there is no {kind} `{name}`");
    if let Some(best) = best.filter(|best| name.len() < 64 && like(best) >= LIKE) {
        what.push_str(&format!("; did you mean `{best}`?"));
    }
    refuse(span, what)
}
