//! What an expression may consist of, decided before it runs: names that an event has, functions whose cost is that of
//! reading their arguments, and not too much of anything.

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo, operators};
use serde_json::Value;

use super::document::{NAMES, PAYLOAD};
use crate::model::limits;
use crate::model::nearest::nearest;
use crate::model::predicate::{BadCondition, Condition, Test, bad};

/// What an expression says about the events that it could be true of.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) payload: bool,
    /// Fields that it names.
    pub(super) fields: Vec<String>,
    /// One of the event's names, and a value that it is compared with.
    pub(super) values: Vec<(String, String)>,
    /// Equalities without which it cannot be true.
    pub(super) required: Vec<Condition>,
}

const OPERATORS: [&str; 19] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::HAS,
];

/// Functions that read their arguments once.
const FUNCTIONS: [&str; 8] = ["size", "contains", "startsWith", "endsWith", "string", "int", "uint", "double"];

/// Macros that walk a list or a map: what they cost is the product of two lengths, and more when they are nested.
const WALKERS: [&str; 7] =
    [operators::ALL, operators::EXISTS, operators::EXISTS_ONE, "existsOne", operators::MAP, operators::FILTER, "bind"];

/// Checks a whole expression, and collects what it is about.
pub(super) fn check(text: &str, tree: &IdedExpr, places: &SourceInfo) -> Result<Names, BadCondition> {
    let mut check = Check { text, places, nodes: 0, additions: 0, names: Names::default() };
    check.node(tree, 0)?;
    check.required(tree);
    Ok(check.names)
}

struct Check<'a> {
    text: &'a str,
    places: &'a SourceInfo,
    nodes: usize,
    additions: usize,
    names: Names,
}

impl Check<'_> {
    fn node(&mut self, node: &IdedExpr, depth: usize) -> Result<(), BadCondition> {
        self.nodes += 1;
        if self.nodes > limits::MAX_EXPRESSION_NODES {
            return Err(self.bad(node, format!("more than {} parts", limits::MAX_EXPRESSION_NODES)));
        }
        if depth > limits::MAX_EXPRESSION_DEPTH {
            return Err(
                self.bad(node, format!("more than {} operations upon each other", limits::MAX_EXPRESSION_DEPTH))
            );
        }
        match &node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => Err(self.bad(node, "events have no bytes: write a text")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(node, name),
            Expr::Select(select) => {
                self.field(select);
                self.node(&select.operand, depth + 1)
            }
            Expr::Call(call) => self.call(node, call, depth),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.node(element, depth + 1)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.node(&entry.key, depth + 1)?;
                    self.node(&entry.value, depth + 1)
                }
                EntryExpr::StructField(_) => Err(self.bad(node, "events have no messages")),
            }),
            Expr::Struct(_) => Err(self.bad(node, "events have no messages")),
            Expr::Comprehension(_) | Expr::Unspecified => {
                Err(self.bad(node, "it may take longer than is known before"))
            }
        }
    }

    fn name(&mut self, node: &IdedExpr, name: &str) -> Result<(), BadCondition> {
        self.names.payload |= name == PAYLOAD;
        if NAMES.contains(&name) {
            return Ok(());
        }
        let meant = match nearest(name, NAMES) {
            Some(near) => format!("did you mean `{near}`? "),
            None => String::new(),
        };
        let problem =
            format!("an event has no `{name}`: {meant}What its source knows is in `fields`, as in `fields.{name}`");
        Err(self.bad(node, problem))
    }

    /// Takes note of a field of the event that is named, for the warning that no event has ever had it.
    fn field(&mut self, select: &SelectExpr) {
        if matches!(&select.operand.expr, Expr::Ident(name) if name == "fields") {
            self.names.fields.push(select.field.clone());
        }
    }

    fn call(&mut self, node: &IdedExpr, call: &CallExpr, depth: usize) -> Result<(), BadCondition> {
        let name = &*call.func_name;
        if WALKERS.contains(&name) {
            let problem = format!(
                "`{name}` is refused, because what it costs is not known before it runs; `x in list` is allowed"
            );
            return Err(self.bad(node, problem));
        }
        if name == "matches" {
            return Err(self.bad(node, "`matches` is refused here: a pattern is asked for with `--match KEY~REGEX`"));
        }
        if !OPERATORS.contains(&name) && !FUNCTIONS.contains(&name) {
            let near = nearest(name, FUNCTIONS).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            let problem = format!("there is no function `{name}`: {near}There are {} and `has`", FUNCTIONS.join(", "));
            return Err(self.bad(node, problem));
        }
        if name == operators::ADD {
            self.additions += 1;
            if self.additions > limits::MAX_EXPRESSION_ADDITIONS {
                let most = limits::MAX_EXPRESSION_ADDITIONS;
                return Err(self.bad(node, format!("more than {most} additions, each of which may copy texts")));
            }
        }
        if matches!(name, operators::EQUALS | operators::NOT_EQUALS) {
            if call.args.iter().any(|side| matches!(side.expr, Expr::List(_) | Expr::Map(_))) {
                return Err(self.bad(node, "lists and objects are looked into, not compared: compare their elements"));
            }
            self.compared(&call.args);
        }
        let target = call.target.iter().map(|target| &**target);
        target.chain(&call.args).try_for_each(|part| self.node(part, depth + 1))
    }

    /// Takes note of what is compared with a text or an integer and joined to all the rest by `&&`: what is equal to it
    /// here is equal to it for a condition.
    fn required(&mut self, node: &IdedExpr) {
        let Expr::Call(call) = &node.expr else { return };
        match (&*call.func_name, &*call.args) {
            (operators::LOGICAL_AND, sides) => sides.iter().for_each(|side| self.required(side)),
            (operators::EQUALS, [a, b]) => {
                for (place, value) in [(a, b), (b, a)] {
                    if let (Some(key), Some(value)) = (path(place), literal(value)) {
                        self.names.required.push(Condition { key, test: Test::Equals(value) });
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes note of `source == "x"`, for the same warning.
    fn compared(&mut self, sides: &[IdedExpr]) {
        let [a, b] = sides else { return };
        for (name, value) in [(a, b), (b, a)] {
            if let (Expr::Ident(name), Expr::Literal(LiteralValue::String(value))) = (&name.expr, &value.expr) {
                self.names.values.push((name.clone(), value.inner().to_owned()));
            }
        }
    }

    fn bad(&self, node: &IdedExpr, problem: impl Into<String>) -> BadCondition {
        let characters = self.places.offset_for(node.id).map_or(0, |(start, _)| start as usize);
        let byte = self.text.char_indices().nth(characters).map_or(0, |(byte, _)| byte);
        bad(self.text, byte, problem)
    }
}

/// A text or an integer that is written out. An integer that a double may not hold is left out, because here it is made
/// one before it is compared with one.
fn literal(node: &IdedExpr) -> Option<Value> {
    const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner().to_owned().into()),
        Expr::Literal(LiteralValue::Int(n)) if n.inner().unsigned_abs() <= EXACT => Some((*n.inner()).into()),
        _ => None,
    }
}

/// Under which path a condition finds what an expression names, where that is the same for both.
fn path(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) if matches!(&**name, "source" | "event_type" | "owner" | "repo") => Some(name.clone()),
        Expr::Select(SelectExpr { operand, field, test: false }) => {
            // Bare, because `fields.x` is also the path of what a field called `fields` has.
            matches!(&operand.expr, Expr::Ident(name) if name == "fields").then(|| field.clone())
        }
        _ => None,
    }
}
