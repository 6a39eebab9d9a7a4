//! The event as an expression sees it: as on the wire, borrowed, and measured.
//!
//! Scalars become values of CEL when they are looked at; lists and objects are looked into. Every text that is looked
//! at is charged to a meter with its length, and a list that is searched with its elements; when the meter is empty
//! the evaluation is over, and is no match. That is what bounds an evaluation whatever the event holds.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use cel::common::traits::{Container, Indexer, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use cel::{DeclarationError, Env, ExecutionError};
use serde_json::Value;

use crate::model::event::{Event, Fields, Record};
use crate::model::limits::MAX_EVALUATION_BYTES;

/// The names that an event has.
pub(super) const NAMES: [&str; 10] =
    ["source", "event_type", "owner", "repo", "received_at", "delivery_id", "event_id", "summary", "fields", PAYLOAD];
pub(super) const PAYLOAD: &str = "payload";

/// One event, for one evaluation.
pub(super) struct Document<'a> {
    record: &'a Record,
    id: String,
    meter: Meter,
}

#[derive(Debug)]
struct Meter {
    left: AtomicUsize,
    /// Whether something was asked that has no answer where CEL has no error.
    unanswerable: AtomicBool,
}

impl Meter {
    fn charge(&self, bytes: usize) -> Result<(), ExecutionError> {
        // One thread evaluates; the type is atomic because values have to be `Sync`.
        let left = self.left.load(Ordering::Relaxed);
        let rest = left.checked_sub(bytes.max(1)).ok_or_else(|| error("too much text"))?;
        self.left.store(rest, Ordering::Relaxed);
        Ok(())
    }
}

fn error(problem: &str) -> ExecutionError {
    ExecutionError::function_error("event", problem)
}

impl<'a> Document<'a> {
    pub(super) fn new(record: &'a Record) -> Document<'a> {
        let meter = Meter { left: AtomicUsize::new(MAX_EVALUATION_BYTES), unanswerable: AtomicBool::new(false) };
        Document { record, id: record.event.id.to_string(), meter }
    }

    /// Whether everything that was asked had an answer.
    pub(super) fn is_answerable(&self) -> bool {
        !self.meter.unanswerable.load(Ordering::Relaxed)
    }
}

impl VariableResolver for Document<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        let Event { source, event_type, owner, repo, delivery_id, summary, received_at, .. } = &self.record.event;
        let text = |text: &'b str| Some(CowVal::owned(CelString::from(text)));
        match name {
            "source" => text(source),
            "event_type" => text(event_type),
            "owner" => text(owner),
            "repo" => text(repo),
            "received_at" => Some(CowVal::owned(CelInt::from(*received_at))),
            "delivery_id" => text(delivery_id),
            "event_id" => text(&self.id),
            "summary" => text(summary),
            "fields" => Some(CowVal::owned(Part { what: What::Fields(&self.record.event), meter: &self.meter })),
            PAYLOAD => value(self.record.payload()?, &self.meter).ok(),
            _ => None,
        }
    }
}

/// A value of the event.
fn value<'d>(json: &'d Value, meter: &'d Meter) -> Result<CowVal<'d, 'd>, ExecutionError> {
    Ok(match json {
        Value::Null => CowVal::owned(CelNull),
        Value::Bool(truth) => CowVal::owned(CelBool::from(*truth)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => CowVal::owned(CelInt::from(number)),
            (None, Some(number)) => CowVal::owned(CelUInt::from(number)),
            (None, None) => CowVal::owned(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(text) => {
            meter.charge(text.len())?;
            CowVal::owned(CelString::from(&**text))
        }
        Value::Array(items) => CowVal::owned(Part { what: What::List(items), meter }),
        Value::Object(map) => CowVal::owned(Part { what: What::Map(map), meter }),
    })
}

/// A list or an object of the event.
#[derive(Clone, Copy)]
struct Part<'d> {
    what: What<'d>,
    meter: &'d Meter,
}

#[derive(Clone, Copy)]
enum What<'d> {
    /// `fields`, which also has the names of the event itself.
    Fields(&'d Event),
    Map(&'d Fields),
    List(&'d [Value]),
}

static PART: Type = Type::new_unspecified_type("json");

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("part of an event")
    }
}

impl Val for Part<'_> {
    fn get_type(&self) -> &Type {
        &PART
    }

    fn cel_type() -> &'static Type {
        &PART
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn equals(&self, _other: &dyn Val) -> bool {
        // Neither yes nor no: its cost would be that of the larger of two values, and `!=` must not hold either.
        self.meter.unanswerable.store(true, Ordering::Relaxed);
        false
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl<'d> Part<'d> {
    fn at(&self, index: &dyn Val) -> Result<CowVal<'d, 'd>, ExecutionError> {
        let missing = || ExecutionError::no_such_key("");
        let found = match (self.what, index.downcast_ref::<CelString>()) {
            (What::Fields(event), Some(name)) => match event.own(name.inner()) {
                Some(text) => return Ok(CowVal::owned(CelString::from(text))),
                None => event.fields.get(name.inner()),
            },
            (What::Map(map), Some(name)) => map.get(name.inner()),
            (What::List(items), None) => {
                let signed = index.downcast_ref::<CelInt>().and_then(|index| usize::try_from(*index.inner()).ok());
                let place = signed.or_else(|| usize::try_from(*index.downcast_ref::<CelUInt>()?.inner()).ok());
                items.get(place.ok_or_else(missing)?)
            }
            _ => None,
        };
        value(found.ok_or_else(missing)?, self.meter)
    }
}

impl Indexer for Part<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.at(index)
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.at(index).map(CowVal::into_owned)
    }
}

impl Container for Part<'_> {
    fn contains(&self, wanted: &dyn Val) -> Result<bool, ExecutionError> {
        match self.what {
            What::List(items) => {
                for item in items {
                    self.meter.charge(size_of::<Value>())?;
                    if value(item, self.meter)?.equals(wanted) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            What::Fields(_) | What::Map(_) if wanted.downcast_ref::<CelString>().is_some() => {
                Ok(self.at(wanted).is_ok())
            }
            What::Fields(_) | What::Map(_) => Err(error("keys are texts")),
        }
    }
}

impl Sizer for Part<'_> {
    fn size(&self) -> CelInt {
        let size = match self.what {
            What::Fields(event) => event.fields.len() + crate::model::event::ENVELOPE.len(),
            What::Map(map) => map.len(),
            What::List(items) => items.len(),
        };
        CelInt::from(i64::try_from(size).unwrap_or(i64::MAX))
    }
}

/// Makes `size` known for parts of the event.
pub(super) fn declare(environment: &mut Env) -> Result<(), DeclarationError> {
    #[expect(clippy::needless_pass_by_value, reason = "what an overload is")]
    fn size<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
        let part = arguments.first().and_then(|part| part.as_sizer()).ok_or_else(|| error("it has no size"))?;
        Ok(CowVal::owned(part.size()))
    }
    environment.add_overload("size", "size_json", vec![Type::new_unspecified_type("json")], size)?;
    environment.add_member_overload("size", "json_size", Type::new_unspecified_type("json"), vec![], size)
}
