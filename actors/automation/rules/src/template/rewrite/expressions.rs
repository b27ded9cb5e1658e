//! Expressions: every operator becomes a call of ours, and what is called has to be known.

use minijinja::machinery::ast::{
    BinOpKind, CallArg, CallType, CompareOpKind, Expr, Filter, Spanned, UnaryOpKind,
};
use minijinja::machinery::{Span, ast};
use minijinja::value::{Value, ValueKind};

use super::{Done, Writer, refuse};
use crate::template::TemplateError;
use crate::template::format::{check_braces, check_printf};
use crate::template::functions::{FILTERS, FUNCTIONS, TESTS, Work, methods};

/// What Home Assistant or Jinja has and this does not, and why.
const UNSUPPORTED: &[(&[&str], &str)] = &[
    (
        &[
            "area_devices",
            "area_id",
            "area_name",
            "areas",
            "floor_areas",
            "floor_entities",
            "floor_id",
            "floor_name",
            "floors",
        ],
        "write the names out, or ask for an area's entities with `area_entities`",
    ),
    (
        &[
            "config_entry_attr",
            "config_entry_id",
            "device_attr",
            "device_id",
            "device_name",
            "integration_entities",
            "is_device_attr",
            "label_areas",
            "label_description",
            "label_devices",
            "label_id",
            "label_name",
            "labels",
        ],
        "write the ids out, or ask with `device_entities` and `label_entities`",
    ),
    (
        &[
            "aliases",
            "assist_exposed_entities",
            "is_hidden_entity",
            "issue",
            "issues",
        ],
        "Home Assistant alone knows that",
    ),
    (
        &["entity_name"],
        "write `states[x].name`, or `state_attr(x, 'friendly_name')`",
    ),
    (
        &["state_attr_translated", "state_translated"],
        "states are not translated: write your own words, as `{'on': 'open', 'off': 'closed'}[states(x)]`",
    ),
    (
        &["closest"],
        "use `distance` with `sort`, or a `zone` trigger or condition",
    ),
    (
        &["random", "shuffle"],
        "an answer that hangs on chance would differ from node to node",
    ),
    (
        &["from_hex", "pack", "unpack"],
        "there are no bytes here: have the device send text or JSON, or read a number with `int(base=16)`",
    ),
    (
        &["md5", "sha1", "sha256", "sha512"],
        "nothing is hashed here: write the hash itself",
    ),
    (
        &["apply", "as_function"],
        "call the macro by its name, and read what it writes with `| float(0)` or `| from_json`",
    ),
    (
        &["merge_response"],
        "take the entities' answers out of the response, as `response['weather.home']`",
    ),
    (
        &["version"],
        "compare the parts: `x.split('.') | map('int') | list < [2024, 6]`",
    ),
    (
        &["natural_sort"],
        "use `sort`, with numbers of a fixed width: `| map('int') | sort`",
    ),
    (
        &["filesizeformat"],
        "divide and round: `(x / 1000000) | round(1) ~ ' MB'`",
    ),
    (&["pprint"], "use `to_json(pretty_print=true)`"),
    (
        &["striptags", "urlize", "xmlattr"],
        "there is no HTML here: use `regex_replace('<[^>]*>', '')`, or `escape`",
    ),
    (&["wordwrap"], "lines are wrapped where they are shown"),
    (
        &["cycler", "joiner", "lipsum"],
        "use `loop.cycle`, `loop.first` or `join`",
    ),
    (&["set"], "sets are lists here: write `is list`"),
    (
        &["callable", "escaped", "filter", "test"],
        "templates cannot look at themselves",
    ),
];

impl<'s> Writer<'s> {
    /// An expression where operators may stand around it.
    pub(super) fn operand(&mut self, expr: &Expr<'s>) -> Done {
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

    pub(super) fn call<'e>(&mut self, name: &str, args: impl Iterator<Item = &'e Expr<'s>>) -> Done
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

    pub(super) fn expr(&mut self, expr: &Expr<'s>) -> Done {
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
                known(it.name, it.span(), "test", names(TESTS))?;
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

    pub(super) fn binary(&mut self, it: &ast::BinOp<'s>) -> Done {
        if let (BinOpKind::Rem, Expr::Const(pattern)) = (&it.op, &it.left) {
            readable(pattern, check_printf)?;
        }
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

    pub(super) fn filter(&mut self, it: &Filter<'s>, span: Span) -> Done {
        known(it.name, span, "filter", names(FILTERS))?;
        if let Some(Expr::Const(pattern)) = &it.expr
            && it.name == "format"
        {
            readable(pattern, check_printf)?;
        }
        // What they do with each item is named by a text.
        match it.name {
            "map" => named(&it.args, 0, "filter", FILTERS)?,
            "select" | "reject" => named(&it.args, 0, "test", TESTS)?,
            "selectattr" | "rejectattr" => named(&it.args, 1, "test", TESTS)?,
            _ => {}
        }
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

    pub(super) fn called(&mut self, it: &ast::Call<'s>, span: Span) -> Done {
        match it.identify_call() {
            CallType::Function(name) => {
                let own = ["loop", "caller", "states"];
                if !self.macros.contains(name) && !own.contains(&name) {
                    known(name, span, "function", names(FUNCTIONS).chain(["states"]))?;
                    if name == "dict" && self.splat(it, span)? {
                        return Ok(());
                    }
                }
                self.at(span);
                self.name(name, span)?;
            }
            CallType::Method(base, name) => {
                if let Some(instead) = methods::instead(name).filter(|_| !methods::all().any(|it| it == name))
                {
                    return refuse(span, format!("there is no method `{name}`: {instead}"));
                }
                known(name, span, "method", methods::all())?;
                if let Expr::Const(pattern) = base
                    && name == "format"
                {
                    readable(pattern, check_braces)?;
                }
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

    /// `dict(a, **b)` is a mapping with what another one has put in. Whether it was written so.
    fn splat(&mut self, it: &ast::Call<'s>, span: Span) -> Result<bool, TemplateError> {
        let is_splat = |arg: &CallArg<'s>| matches!(arg, CallArg::KwargSplat(_));
        if !it.args.iter().any(is_splat) {
            return Ok(false);
        }
        self.at(span);
        self.put("__merge(dict(");
        let mut first = true;
        for arg in it.args.iter().filter(|arg| !is_splat(arg)) {
            self.put(if first { "" } else { ", " });
            self.argument(arg, span)?;
            first = false;
        }
        self.put(")");
        for arg in &it.args {
            if let CallArg::KwargSplat(mapping) = arg {
                self.put(", ");
                self.expr(mapping)?;
            }
        }
        self.put(")");
        Ok(true)
    }

    pub(super) fn arguments(&mut self, args: &[CallArg<'s>], span: Span) -> Done {
        self.put("(");
        for (index, arg) in args.iter().enumerate() {
            self.put(if index > 0 { ", " } else { "" });
            self.argument(arg, span)?;
        }
        self.put(")");
        Ok(())
    }

    fn argument(&mut self, arg: &CallArg<'s>, span: Span) -> Done {
        match arg {
            CallArg::Pos(value) => self.expr(value),
            CallArg::Kwarg(name, value) => {
                self.put(name);
                self.put("=");
                self.expr(value)
            }
            CallArg::PosSplat(_) | CallArg::KwargSplat(_) => refuse(
                span,
                "`*` and `**` before arguments are supported by `dict(a, **b)` alone: write them out",
            ),
        }
    }

    pub(super) fn constant(&mut self, value: &Value, span: Span) -> Done {
        match value.kind() {
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Number if f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite()) => {
                return refuse(span, "this number is too large");
            }
            _ => self.put(&value.to_string()),
        }
        Ok(())
    }

    pub(super) fn string(&mut self, text: &str) {
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

fn names(table: &'static [(&'static str, Work)]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|(name, _)| *name)
}

/// Refuses a filter or test that is named by a text and not known.
fn named(args: &[CallArg<'_>], place: usize, kind: &str, table: &'static [(&'static str, Work)]) -> Done {
    match args.get(place) {
        Some(CallArg::Pos(Expr::Const(it))) => match it.value.as_str() {
            Some(name) => known(name, it.span(), kind, names(table)),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Refuses a pattern of a format that cannot be read.
fn readable(pattern: &Spanned<ast::Const>, check: fn(&str) -> Result<(), String>) -> Done {
    match pattern.value.as_str().map(check) {
        Some(Err(what)) => refuse(pattern.span(), what),
        _ => Ok(()),
    }
}

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
