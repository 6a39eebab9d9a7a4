//! Telling the bus something on the side: whoever tells goes on, and decides for how long to look whether it has been
//! told.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::{BusError, Publisher};
use crate::config::directories::Directories;
use crate::model::event::Draft;

/// A publisher on a thread of its own. Drafts are made and committed in the order in which they were told. The end of
/// the process does not wait for it.
#[derive(Debug)]
pub struct Reporter(Sender<Errand>);

/// What makes a draft, and who wants to know what becomes of it.
struct Errand {
    draft: Box<dyn FnOnce() -> Draft + Send>,
    answer: Sender<Result<(), BusError>>,
}

/// The answer to what was told, when there is one.
#[derive(Debug)]
pub struct Receipt(Receiver<Result<(), BusError>>);

/// What is known of what was told.
#[derive(Debug)]
pub enum Told {
    /// It is committed.
    Committed,
    /// It is not yet, and may never be.
    NotYet,
    /// It could not be.
    Failed(BusError),
}

impl Reporter {
    /// Starts the thread. The log is opened when there is something to tell.
    #[must_use]
    pub fn start(directories: Directories) -> Reporter {
        let (tell, told) = channel();
        // Without a thread nothing is told, and every receipt says so.
        let _ = thread::Builder::new().name("reporter".into()).spawn(move || serve(&directories, &told));
        Reporter(tell)
    }

    /// Hands over what makes a draft that keeps the rules, which may take its time.
    #[must_use]
    pub fn tell(&self, draft: impl FnOnce() -> Draft + Send + 'static) -> Receipt {
        let (answer, receipt) = channel();
        let _ = self.0.send(Errand { draft: Box::new(draft), answer });
        Receipt(receipt)
    }
}

impl Receipt {
    /// Waits for the commit, but not for longer than that. May be asked again.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> Told {
        match self.0.recv_timeout(patience) {
            Ok(Ok(())) => Told::Committed,
            Ok(Err(error)) => Told::Failed(error),
            Err(_) => Told::NotYet,
        }
    }
}

fn serve(directories: &Directories, told: &Receiver<Errand>) {
    let mut publisher = None;
    for Errand { draft, answer } in told {
        let outcome = publish(directories, &mut publisher, &draft());
        if outcome.is_err() {
            publisher = None;
        }
        // Nobody may be waiting for it any more.
        let _ = answer.send(outcome);
    }
}

/// Opens the log if it is not open: one that could not be used may have been mended.
fn publish(directories: &Directories, publisher: &mut Option<Publisher>, draft: &Draft) -> Result<(), BusError> {
    let open = match publisher {
        Some(open) => open,
        None => publisher.insert(Publisher::open(directories)?),
    };
    open.publish(draft).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{LogPaths, Reader};

    fn directories(root: &std::path::Path) -> Directories {
        Directories { runtime: root.join("run"), state: root.join("state"), config: root.join("config") }
    }

    fn draft(id: &str) -> Draft {
        let (source, event_type) = ("run".to_owned(), "started".to_owned());
        Draft { source, event_type, delivery_id: Some(id.to_owned()), ingest_method: "emit", ..Draft::default() }
    }

    #[test]
    fn what_was_told_is_committed_once_and_in_order() {
        let root = tempfile::tempdir().unwrap();
        let reporter = Reporter::start(directories(root.path()));
        let receipts = ["a", "b", "a"].map(|id| reporter.tell(move || draft(id)));
        for receipt in receipts {
            assert!(matches!(receipt.wait(Duration::from_mins(1)), Told::Committed));
        }
        let reader = Reader::open(&LogPaths::new(root.path().join("state"))).unwrap();
        assert_eq!(reader.size().unwrap().rows, 2);
    }

    #[test]
    fn a_log_that_has_been_mended_is_used_again() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("state"), "in the way").unwrap();
        let reporter = Reporter::start(directories(root.path()));
        assert!(matches!(reporter.tell(|| draft("a")).wait(Duration::from_mins(1)), Told::Failed(_)));
        std::fs::remove_file(root.path().join("state")).unwrap();
        assert!(matches!(reporter.tell(|| draft("b")).wait(Duration::from_mins(1)), Told::Committed));
    }
}
