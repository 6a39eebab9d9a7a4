//! Reading what a subscriber asks for, beside the loop where that may take long: compiling a pattern or an expression
//! takes up to milliseconds, and a connection may bring dozens.
//!
//! One at a time for each lane, so that whoever brings expressions delays nobody who does not, and one for each
//! distinct expression, however many subscribers have it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::hub::Lane;
use crate::model::expression::Expression;
use crate::model::filter::Filter;
use crate::model::frame::{RejectReason, Rejection, Subscribe};
use crate::model::predicate::BadCondition;

/// What compiles, for all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Compiler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    turns: [Semaphore; Lane::ALL.len()],
    expressions: Mutex<Expressions>,
}

/// Those that some subscriber has.
#[derive(Debug, Default)]
struct Expressions {
    known: HashMap<String, Weak<Expression>>,
    /// When to look for those that nobody has any more.
    sweep_at: usize,
}

impl Compiler {
    pub(super) fn new() -> Compiler {
        let turns = Lane::ALL.map(|_| Semaphore::new(1));
        Compiler(Arc::new(Shared { turns, expressions: Mutex::default() }))
    }

    /// Compiles what was asked for.
    pub(super) async fn compile(&self, subscribe: Subscribe) -> Result<(Subscribe, Filter), Rejection> {
        let lane = match (&subscribe.where_, subscribe.has_patterns()) {
            (Some(_), _) => Lane::Expressions,
            (None, true) => Lane::Patterns,
            (None, false) => return subscribe.filter().map(|filter| (subscribe, filter)),
        };
        // Nobody closes it.
        let _turn = self.0.turns[lane as usize].acquire().await;
        let compiler = self.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let filter = subscribe.filter_with(&mut |text| compiler.expression(text))?;
            Ok((subscribe, filter))
        });
        let broken = |_| Err(Rejection::new(RejectReason::BadField, "the conditions cannot be compiled"));
        compiled.await.unwrap_or_else(broken)
    }

    fn expression(&self, text: &str) -> Result<Arc<Expression>, BadCondition> {
        let lock = || self.0.expressions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().known.get(text).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let compiled = Arc::new(Expression::compile(text)?);
        lock().keep(text, &compiled);
        Ok(compiled)
    }
}

impl Expressions {
    fn keep(&mut self, text: &str, compiled: &Arc<Expression>) {
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, expression| expression.strong_count() > 0);
            // Each one is looked at once for each one that comes, on average.
            self.sweep_at = 2 * self.known.len() + 1;
        }
        self.known.insert(text.to_owned(), Arc::downgrade(compiled));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_expression_is_compiled_once_and_forgotten_with_its_last_subscriber() {
        let compiler = Compiler::new();
        let first = compiler.expression("fields.x == 1").unwrap();
        assert!(Arc::ptr_eq(&first, &compiler.expression("fields.x == 1").unwrap()));
        assert!(compiler.expression("sorce == 1").is_err());
        drop(first);
        for n in 0..1_000 {
            compiler.expression(&format!("fields.x == {n}")).unwrap();
        }
        let known = compiler.0.expressions.lock().unwrap().known.len();
        assert!(known < 10, "{known}");
    }
}
