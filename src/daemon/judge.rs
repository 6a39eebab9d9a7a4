//! Deciding beside the loop: the threads that ask costly filters, and that read payloads for them.
//!
//! Two lanes, each a thread that is made when it is first needed, so that a hub that nobody asks anything costly has
//! none: whoever uses expressions slows nobody who does not. Questions are answered in the order in which they come,
//! and each subscriber has one at a time, so whoever asks much waits like everybody else. A payload is read and parsed
//! at most once for each event, and an expression evaluated once, however many ask for it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as thread_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc;
use tracing::error;

use super::connection::Fact;
use crate::hub::{Lane, Opinion, Question};
use crate::model::event::Record;
use crate::model::filter::Filter;
use crate::model::id::Seq;
use crate::model::limits::{JUDGED_WORK, KEPT_ANSWERS, KEPT_PAYLOADS};
use crate::model::row::Row;
use crate::store::{LogPaths, Reader, StoreError};

/// The lanes, seen from the loop.
#[derive(Debug)]
pub(super) struct Judge {
    lanes: [Option<thread_mpsc::Sender<Question>>; Lane::ALL.len()],
    payloads: Arc<Mutex<Payloads>>,
    facts: mpsc::UnboundedSender<Fact>,
}

impl Judge {
    pub(super) fn new(paths: &LogPaths, facts: mpsc::UnboundedSender<Fact>) -> Judge {
        Judge { lanes: [None, None], payloads: Arc::new(Mutex::new(Payloads::new(paths))), facts }
    }

    /// Hands a question to its lane. The answer comes as a fact.
    pub(super) fn ask(&mut self, question: Question) -> io::Result<()> {
        let lane = &mut self.lanes[question.lane as usize];
        if lane.is_none() {
            let bench = Bench { answers: Answers::default(), payloads: Arc::clone(&self.payloads) };
            *lane = Some(start(question.lane, bench, self.facts.clone())?);
        }
        match lane.as_ref().map(|lane| lane.send(question)) {
            Some(Ok(())) => Ok(()),
            _ => Err(io::Error::other("a thread that decides what subscribers want has ended")),
        }
    }
}

/// Starts the thread of a lane. It ends when the loop does.
fn start(
    lane: Lane,
    mut bench: Bench,
    facts: mpsc::UnboundedSender<Fact>,
) -> io::Result<thread_mpsc::Sender<Question>> {
    let (ask, questions) = thread_mpsc::channel();
    let name = match lane {
        Lane::Patterns => "patterns",
        Lane::Expressions => "expressions",
    };
    thread::Builder::new().name(name.into()).spawn(move || {
        loop {
            let question: Question = match questions.try_recv() {
                Ok(question) => question,
                Err(_) => {
                    // Nobody asks for now: nothing is kept for nobody.
                    bench.rest();
                    match questions.recv() {
                        Ok(question) => question,
                        Err(_) => return,
                    }
                }
            };
            let opinions = bench.judge(&question);
            if facts.send(Fact::Judged(Box::new(question), opinions)).is_err() {
                return;
            }
        }
    })?;
    Ok(ask)
}

/// What the thread of a lane works with.
#[derive(Debug)]
struct Bench {
    answers: Answers,
    payloads: Arc<Mutex<Payloads>>,
}

impl Bench {
    /// Opinions on the first rows of a question: one at least, and as many as one turn may take.
    fn judge(&mut self, question: &Question) -> Result<Vec<Opinion>, StoreError> {
        let filter = &*question.filter;
        let conditions = filter.alternatives.iter().map(|all| all.conditions().count()).sum::<usize>().max(1);
        let (mut opinions, mut work) = (Vec::new(), 0_usize);
        for row in question.rows() {
            if work > JUDGED_WORK {
                break;
            }
            let (opinion, bytes) = match row {
                Row::Event(record) => self.opinion(filter, record)?,
                Row::Unreadable(_) | Row::Lost(_) => (Opinion::Wanted, 0),
            };
            work = work.saturating_add(bytes.saturating_mul(conditions));
            opinions.push(opinion);
        }
        Ok(opinions)
    }

    /// What is found about an event, and how many bytes were looked at.
    fn opinion(&mut self, filter: &Filter, record: &Record) -> Result<(Opinion, usize), StoreError> {
        let wanted = |wanted| if wanted { Opinion::Wanted } else { Opinion::Unwanted };
        if !filter.reads_payload() {
            return Ok((wanted(self.wants(filter, record)), record.weight()));
        }
        let whole = self.payloads.lock().unwrap_or_else(PoisonError::into_inner).record(record.seq)?;
        Ok(match whole {
            Some(whole) => (wanted(self.wants(filter, &whole)), whole.weight()),
            None => (Opinion::Lost, 0),
        })
    }

    fn wants(&mut self, filter: &Filter, record: &Record) -> bool {
        filter.matches(record)
            && filter.where_.as_ref().is_none_or(|expression| {
                self.answers.get_or(expression.text(), record.seq, || {
                    expression.evaluate(record).unwrap_or_else(|panicked| {
                        static SAID: AtomicBool = AtomicBool::new(false);
                        if !SAID.swap(true, Ordering::Relaxed) {
                            error!(%panicked, expression = expression.text(), "counted as no match; said once");
                        }
                        false
                    })
                })
            })
    }

    fn rest(&mut self) {
        self.answers = Answers::default();
        self.payloads.lock().unwrap_or_else(PoisonError::into_inner).forget();
    }
}

/// What expressions have said about events.
#[derive(Debug, Default)]
struct Answers {
    known: HashMap<String, HashMap<Seq, bool>>,
    count: usize,
}

impl Answers {
    fn get_or(&mut self, expression: &str, event: Seq, answer: impl FnOnce() -> bool) -> bool {
        if let Some(&known) = self.known.get(expression).and_then(|events| events.get(&event)) {
            return known;
        }
        let answer = answer();
        if self.count >= KEPT_ANSWERS {
            *self = Answers::default();
        }
        self.count += 1;
        self.known.entry(expression.to_owned()).or_default().insert(event, answer);
        answer
    }
}

/// Events with their payloads, as long as somebody asks for them.
#[derive(Debug)]
struct Payloads {
    paths: LogPaths,
    reader: Option<Reader>,
    kept: HashMap<Seq, Arc<Record>>,
    bytes: usize,
}

impl Payloads {
    fn new(paths: &LogPaths) -> Payloads {
        Payloads { paths: paths.clone(), reader: None, kept: HashMap::new(), bytes: 0 }
    }

    /// The event at a place, or nothing if it is not in the log any more.
    fn record(&mut self, place: Seq) -> Result<Option<Arc<Record>>, StoreError> {
        if let Some(record) = self.kept.get(&place) {
            return Ok(Some(Arc::clone(record)));
        }
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(Reader::open(&self.paths)?),
        };
        let Some(record) = reader.at(place)?.map(Arc::new) else { return Ok(None) };
        if self.bytes > KEPT_PAYLOADS {
            self.forget();
        }
        self.bytes += record.weight();
        self.kept.insert(place, Arc::clone(&record));
        Ok(Some(record))
    }

    fn forget(&mut self) {
        self.kept = HashMap::new();
        self.bytes = 0;
    }
}
