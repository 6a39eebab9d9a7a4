//! The expressions of `where`: CEL over the event as it is on the wire, for what the conditions of `match` cannot say.
//!
//! An expression comes from a client and is evaluated by the hub, so what it may cost is bounded before it runs: by
//! its length, by how deep and how large it is ([`check`]), by what it may call (nothing that walks a list or compiles
//! a pattern), and while it runs by the bytes of text that it looks at ([`document`]). Nothing of the event is copied.
//! An evaluation that fails, for whatever reason, is no match. PROTOCOL.md, "Expressions", is the normative text.

mod check;
mod document;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::{Expr, IdedExpr, SelectExpr};
use cel::common::types::CelBool;
use cel::parser::{Macro, ParseErrors};
use cel::{Context, Env, Value};

use super::event::Record;
use super::limits;
use super::predicate::{BadCondition, Condition, bad};
use document::Document;

/// An expression that may run.
#[derive(Debug)]
pub struct Expression {
    text: String,
    tree: IdedExpr,
    names: check::Names,
}

/// An evaluation that ended as no evaluation should: the expression's interpreter has a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation of an expression panicked")]
pub struct Panicked;

impl Expression {
    /// Reads an expression and checks that it is one that may run.
    pub fn compile(text: &str) -> Result<Expression, BadCondition> {
        if text.len() > limits::MAX_EXPRESSION_BYTES {
            let problem =
                format!("{} bytes long, but at most {} are allowed", text.len(), limits::MAX_EXPRESSION_BYTES);
            return Err(bad(text, 0, problem));
        }
        if text.trim().is_empty() {
            return Err(bad(text, 0, "an expression is expected, as in `fields.exit_code != 0`"));
        }
        let parse = || {
            let parser = ENVIRONMENT.parser().max_recursion_depth(limits::MAX_EXPRESSION_NESTING);
            parser.parse_with_source_info(text)
        };
        let (tree, places) = catch_unwind(AssertUnwindSafe(parse))
            .map_err(|_| bad(text, 0, "not an expression that can be read"))?
            .map_err(|errors| unreadable(text, &errors))?;
        let names = check::check(text, &tree, &places)?;
        Ok(Expression { text: text.to_owned(), tree, names })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it reads the stored payload.
    #[must_use]
    pub fn reads_payload(&self) -> bool {
        self.names.payload
    }

    /// The fields that it looks at, as far as it names them.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.names.fields.iter().map(String::as_str)
    }

    /// Equalities without which it cannot be true.
    #[must_use]
    pub fn required(&self) -> &[Condition] {
        &self.names.required
    }

    /// The values that it compares with one of the event's own names, such as `source`.
    pub fn values_of(&self, name: &str) -> impl Iterator<Item = &str> {
        self.names.values.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// Whether it is true of this event.
    #[must_use]
    pub fn holds(&self, record: &Record) -> bool {
        self.evaluate(record).unwrap_or(false)
    }

    /// Whether it is true of this event; whatever cannot be evaluated is not.
    pub fn evaluate(&self, record: &Record) -> Result<bool, Panicked> {
        let document = Document::new(record);
        let run = || {
            let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
            context.set_variable_resolver(&document);
            let value = Value::resolve_val(&self.tree, &context);
            value.is_ok_and(|value| value.downcast_ref::<CelBool>().is_some_and(|truth| *truth.inner()))
        };
        // Without unwinding, one event would end a fault of the interpreter together with everybody's hub.
        let truth = catch_unwind(AssertUnwindSafe(run)).map_err(|_| Panicked)?;
        Ok(truth && document.is_answerable())
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

/// The functions and the one macro that an expression may use; [`check`] refuses the others, so that it can say why.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    let has = Macro::global("has", 1, |helper, _, arguments| match arguments.pop() {
        Some(IdedExpr { expr: Expr::Select(SelectExpr { operand, field, .. }), .. }) => {
            Ok(Some(helper.next_expr(Expr::Select(SelectExpr { operand, field, test: true }))))
        }
        other => {
            let place = other.map_or(0, |argument| argument.id);
            Err(helper.new_error(place, "`has` asks for a field, as in `has(fields.exit_code)`"))
        }
    });
    // Neither is there yet.
    let _ = environment.add_macro(has);
    let _ = document::declare(&mut environment);
    Arc::new(environment)
});

/// The first thing that the parser stumbled over.
fn unreadable(text: &str, errors: &ParseErrors) -> BadCondition {
    let Some(error) = errors.errors.iter().min_by_key(|error| error.pos) else {
        return bad(text, 0, "not an expression");
    };
    let byte = byte_at(text, error.pos);
    if error.msg.contains("Recursion limit") {
        return bad(text, byte, format!("nested more than {} deep", limits::MAX_EXPRESSION_NESTING));
    }
    let rest = text.get(byte..).unwrap_or_default();
    let word = rest.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
    let problem = match word {
        "and" => "write `&&` for and".to_owned(),
        "or" => "write `||` for or".to_owned(),
        "not" => "write `!` for not".to_owned(),
        _ if rest.starts_with('=') => "equality is `==`".to_owned(),
        _ => {
            // What would have been possible instead is a list of every token there is.
            let told = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
            let told = told.split(" expecting ").next().unwrap_or(told);
            if told.starts_with('`') { told.to_owned() } else { format!("not an expression: {told}") }
        }
    };
    bad(text, byte, problem)
}

/// The byte at a line and a column, both from 1, columns in characters.
fn byte_at(text: &str, (line, column): (isize, isize)) -> usize {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let column = usize::try_from(column - 1).unwrap_or(0);
    let rest = text.get(start..).unwrap_or_default();
    start + rest.char_indices().nth(column).map_or(rest.len(), |(byte, _)| byte)
}

#[cfg(test)]
mod tests;
