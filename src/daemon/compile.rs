//! Reading what a subscriber asks for, beside the loop where that may take long: compiling a pattern or an expression
//! takes up to milliseconds, and a connection may bring dozens.
//!
//! One at a time for each lane, so that whoever brings expressions delays nobody who does not, and one for each
//! distinct expression, however many subscribers have it. What all patterns together take is bounded by their number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::hub::Lane;
use crate::model::expression::Expression;
use crate::model::filter::Filter;
use crate::model::frame::{RejectReason, Rejection, Subscribe};
use crate::model::limits::MAX_PATTERNS;
use crate::model::predicate::BadCondition;

/// What compiles, for all connections. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Compiler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    turns: [Semaphore; Lane::ALL.len()],
    /// Room for so many patterns more.
    patterns: Arc<Semaphore>,
    expressions: Mutex<Expressions>,
}

/// What somebody has asked for, compiled.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) subscribe: Subscribe,
    pub(super) filter: Filter,
    /// The room of its patterns, to be kept as long as the filter.
    pub(super) room: OwnedSemaphorePermit,
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
        let patterns = Arc::new(Semaphore::new(MAX_PATTERNS));
        Compiler(Arc::new(Shared { turns, patterns, expressions: Mutex::default() }))
    }

    /// Compiles what was asked for.
    pub(super) async fn compile(&self, subscribe: Subscribe) -> Result<Compiled, Rejection> {
        let patterns = subscribe.patterns();
        let room = self.room(patterns)?;
        let lane = match (&subscribe.where_, patterns) {
            (Some(_), _) => Lane::Expressions,
            (None, 1..) => Lane::Patterns,
            (None, 0) => return subscribe.filter().map(|filter| Compiled { subscribe, filter, room }),
        };
        // Nobody closes it.
        let _turn = self.0.turns[lane as usize].acquire().await;
        let compiler = self.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            let filter = subscribe.filter_with(&mut |text| compiler.expression(text))?;
            Ok(Compiled { subscribe, filter, room })
        });
        let broken = |_| Err(Rejection::new(RejectReason::BadField, "the conditions cannot be compiled"));
        compiled.await.unwrap_or_else(broken)
    }

    fn room(&self, patterns: usize) -> Result<OwnedSemaphorePermit, Rejection> {
        let wanted = u32::try_from(patterns).unwrap_or(u32::MAX);
        Arc::clone(&self.0.patterns).try_acquire_many_owned(wanted).map_err(|_| {
            let sentence = format!(
                "the hub holds as many patterns (`~`, `*=`) as it can, {MAX_PATTERNS} for all its subscribers: end some \
                 of them, or ask with `=`"
            );
            Rejection::new(RejectReason::TooManySubscribers, sentence)
        })
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
    use crate::model::limits::MAX_CONDITIONS;

    /// A connection may bring dozens of patterns of 256 KiB each: twenty of them took 300 MB of the hub.
    #[test]
    fn all_patterns_together_are_bounded_and_their_room_comes_back() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let compiler = Compiler::new();
        let compile = |conditions: Vec<String>| {
            let subscribe = Subscribe { alternatives: vec![conditions], ..Subscribe::default() };
            runtime.block_on(compiler.compile(subscribe))
        };
        let many = || compile((0..MAX_CONDITIONS).map(|n| format!("a{n}~x")).collect());
        let mut kept: Vec<_> = (0..MAX_PATTERNS / MAX_CONDITIONS).map(|_| many().unwrap()).collect();
        let refusal = compile(vec!["a*=x*".into()]).unwrap_err();
        assert_eq!(refusal.reason, RejectReason::TooManySubscribers);
        assert!(refusal.remediation.contains("patterns"), "{}", refusal.remediation);
        compile(vec!["a=x".into()]).unwrap();
        kept.pop();
        compile(vec!["a*=x*".into()]).unwrap();
        many().unwrap();
    }

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
