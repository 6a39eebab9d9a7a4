//! Runs one source: its worker, the commits of what it hands over, and its announcement.
//!
//! The order matters. The lock comes first, because two of the same source would each go on from the same position. The
//! source is announced before its worker begins, so that whoever started it can wait for it at once; a worker that cannot
//! begin ends, and that is the source's death, which is the truth. When somebody asks the service to stop, the worker is
//! cancelled, what it has handed over is committed, and only then the source says goodbye.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tracing::{info, warn};

use super::commits::Commits;
use super::flood;
use super::outlet::Outlet;
use super::{Broken, Setup};
use crate::client::{Announced, BusError, Options, Publisher};
use crate::config::directories::Directories;
use crate::model::frame::Health;
use crate::model::limits::{BYE_TIMEOUT, GRACE, SOURCE_BATCHES, SOURCE_STOP_TIMEOUT};
use crate::model::source::{Announcement, Detail};
use crate::sys::lock::HubLock;
use crate::sys::manager;

/// A source to run.
#[derive(Debug)]
pub struct Plan {
    /// Where the bus is.
    pub directories: Directories,
    /// The source of the events.
    pub name: String,
    /// What it was told.
    pub setup: Setup,
    /// The command that would bring it back, for whoever waits for it when it is dead; empty if nobody may be told.
    pub start: String,
}

/// Why a source has ended without having been asked to, or not as it should.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// Another process is this source.
    #[error("the source {name} runs already{}: stop that one first", holder.map_or_else(String::new, |pid| format!(" (process {pid})")))]
    Taken {
        /// Its name.
        name: String,
        /// The other process, if the kernel names it.
        holder: Option<u32>,
    },
    /// Its lock or its threads cannot be had.
    #[error("the source {name} cannot begin: {problem}")]
    System {
        /// Its name.
        name: String,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The worker cannot go on.
    #[error("the source {name} cannot go on: {broken}")]
    Broken {
        /// Its name.
        name: String,
        /// Why.
        broken: Broken,
    },
    /// It was asked to stop, and its last events could not be stored in time.
    #[error(
        "the source {0} has stopped before its last events could be stored, because the log could not be written; it looks \
         at them again when it starts"
    )]
    Unstored(String),
}

impl SourceError {
    /// Why it has ended, for whoever knows which source it is.
    fn why(&self) -> String {
        match self {
            SourceError::Broken { broken, .. } => broken.to_string(),
            other => other.to_string(),
        }
    }
}

/// Runs a source until `stop` is done. `ready` is called once it is announced.
pub async fn run(plan: Plan, stop: impl Future<Output = ()>, ready: impl FnOnce()) -> Result<(), SourceError> {
    let Plan { directories, name, setup, start } = plan;
    let mut stop = pin!(stop);
    let mut publisher = Publisher::open(&directories)?;
    // Held until the process ends, or this does.
    let _lock = take_lock(&directories, &name)?;
    let position = publisher.position(&name)?;
    let start = (!start.is_empty()).then(|| ("start".to_owned(), start.into()));
    let announcement = Announcement {
        source: name.clone(),
        detail: Detail::from_iter(start),
        demand: setup.follows_demand(),
        silent: None,
    };
    let mut opening = pin!(Announced::open(&directories, announcement, Options { grace: GRACE }));
    let mut announced = tokio::select! {
        biased;
        () = &mut stop => {
            // The hub may have heard it already, and would take the end of the connection for a death.
            if let Ok(Ok(announced)) = timeout(BYE_TIMEOUT, opening).await {
                announced.bye().await;
            }
            return Ok(());
        }
        announced = &mut opening => announced?,
    };
    let (outlet, handed) = Outlet::new(name.clone(), directories.clone(), position, announced.demand(), SOURCE_BATCHES);
    let (log, log_health) = watch::channel(Health::Alive);
    let commits = Commits { directories: directories.clone(), name: name.clone(), publisher, health: log };
    let system = |problem| SourceError::System { name: name.clone(), problem };
    let mut committed = commits.start(handed.batches).map_err(system)?;
    let said = announced.health();
    ready();
    let ended = {
        let floods = flood::announce(&name, outlet.batches(), handed.calm_at);
        let work = caught(setup.work(outlet));
        tokio::select! {
            biased;
            () = &mut stop => Ok(()),
            broken = work => Err(SourceError::Broken { name: name.clone(), broken }),
            lost = &mut committed => Err(lost_log(&name, lost)),
            () = keep(&mut announced) => Ok(()),
            () = tell(&name, handed.health, log_health, &said) => Ok(()),
            () = floods => Ok(()),
        }
    };
    // The worker is gone and with it its end of the channel, so the thread ends with the last commit.
    match ended {
        Ok(()) => {
            let stored = timeout(SOURCE_STOP_TIMEOUT, committed).await;
            announced.bye().await;
            match stored {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(lost) => Err(lost_log(&name, lost)),
                Err(_late) => Err(SourceError::Unstored(name)),
            }
        }
        Err(error) => {
            if let SourceError::Broken { .. } = error {
                let _ = timeout(SOURCE_STOP_TIMEOUT, committed).await;
            }
            announced.fail(error.why()).await;
            Err(error)
        }
    }
}

fn take_lock(directories: &Directories, name: &str) -> Result<HubLock, SourceError> {
    let path = directories.source_lock(name);
    let system = |problem: std::io::Error| {
        let problem = std::io::Error::new(problem.kind(), format!("{}: {problem}", path.display()));
        SourceError::System { name: name.to_owned(), problem }
    };
    let lock = HubLock::open(&path).map_err(system)?;
    if lock.try_take().map_err(system)? {
        return Ok(lock);
    }
    let holder = lock.holder().map_err(system)?;
    Err(SourceError::Taken { name: name.to_owned(), holder })
}

/// The thread that commits has ended although the worker has not.
fn lost_log(name: &str, lost: Result<Result<(), BusError>, oneshot::error::RecvError>) -> SourceError {
    match lost {
        Ok(Err(problem)) => SourceError::Bus(problem),
        Ok(Ok(())) | Err(_) => {
            let broken = Broken("the thread that writes into the log has ended; this is a fault of waitbus".to_owned());
            SourceError::Broken { name: name.to_owned(), broken }
        }
    }
}

/// A worker whose panic is its end, with the words of the panic.
async fn caught(work: impl Future<Output = Broken>) -> Broken {
    let mut work = pin!(work);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll,
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            Poll::Ready(Broken(format!("{words}; this is a fault of waitbus")))
        }
    })
    .await
}

/// Keeps the source announced, also across a hub that cannot be had back for long: the worker does not need it.
async fn keep(announced: &mut Announced) {
    loop {
        let Err(problem) = announced.keep().await;
        warn!(%problem, "the source is not announced; its events are stored all the same");
    }
}

/// Tells how the source is doing: how well its log can be written, or else how well its worker sees.
async fn tell(
    name: &str,
    mut worker: watch::Receiver<Health>,
    mut log: watch::Receiver<Health>,
    said: &watch::Sender<Health>,
) {
    loop {
        tokio::select! {
            Ok(()) = worker.changed() => {}
            Ok(()) = log.changed() => {}
            else => std::future::pending().await,
        }
        let health = match log.borrow_and_update().clone() {
            Health::Alive => worker.borrow_and_update().clone(),
            silent @ Health::Silent { .. } => silent,
        };
        if *said.borrow() == health {
            continue;
        }
        match &health {
            Health::Alive => {
                info!(source = name, "sees again what it is for");
                manager::status("Watching");
            }
            Health::Silent { reason } => {
                warn!(source = name, reason, "sees nothing, and goes on trying");
                manager::status(&format!("Sees nothing: {reason}"));
            }
        }
        said.send_replace(health);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_panics_has_ended_with_its_words() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let panics = async {
            tokio::task::yield_now().await;
            panic!("{} engines", 7)
        };
        assert_eq!(runtime.block_on(caught(panics)).0, "7 engines; this is a fault of waitbus");
    }
}
