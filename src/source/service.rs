//! Runs one source: its worker, the commits of what it hands over, and its announcement.
//!
//! The log is written on a thread of its own, because it may have to be waited for. The announcement holds for as long as
//! the worker works; when somebody asks the service to stop, what was handed over is committed before it says goodbye.

use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::outlet::{Batch, Outlet};
use super::{Broken, Setup};
use crate::client::{Announced, BusError, Options, Publisher};
use crate::config::directories::Directories;
use crate::model::event::Draft;
use crate::model::frame::Health;
use crate::model::limits::{GRACE, SOURCE_BATCHES, SOURCE_LOG_RETRY};
use crate::model::source::{Announcement, Detail};
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
    /// The command that would bring it back, for whoever waits for it when it is dead.
    pub start: String,
}

/// Why a source has ended without having been asked to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The worker cannot go on.
    #[error("the source {name} cannot go on: {broken}")]
    Broken {
        /// Its name.
        name: String,
        /// Why.
        broken: Broken,
    },
}

/// Runs a source until `stop` is done. `ready` is called once it is announced.
pub async fn run(plan: Plan, stop: impl Future<Output = ()>, ready: impl FnOnce()) -> Result<(), SourceError> {
    let Plan { directories, name, setup, start } = plan;
    let publisher = Publisher::open(&directories)?;
    let position = publisher.position(&name)?;
    let detail = Detail::from_iter([("start".to_owned(), start.into())]);
    let announcement =
        Announcement { source: name.clone(), detail, demand: setup.follows_demand(), ..Announcement::default() };
    let mut announced = Announced::open(&directories, announcement, Options { grace: GRACE }).await?;
    let (batches, handed_over) = mpsc::channel(SOURCE_BATCHES);
    let committing = commit(publisher, name.clone(), handed_over);
    let (health, demand) = (announced.health(), announced.demand());
    let mut healths = health.subscribe();
    let outlet = Outlet { name: name.clone(), directories, position, batches, health, demand };
    ready();
    let broken = tokio::select! {
        biased;
        () = stop => None,
        broken = setup.work(outlet) => Some(broken),
        () = keep(&mut announced) => None,
        () = tell(&name, &mut healths) => None,
    };
    // The worker is gone and with it its end of the channel, so this ends with the last commit.
    let committed = tokio::task::spawn_blocking(move || committing.join());
    let _ = committed.await;
    match broken {
        Some(broken) => Err(SourceError::Broken { name, broken }),
        None => {
            announced.bye().await;
            Ok(())
        }
    }
}

/// Keeps the source announced, also across a hub that cannot be had back for long: the worker does not need it.
async fn keep(announced: &mut Announced) {
    loop {
        let Err(problem) = announced.keep().await;
        warn!(%problem, "the source is not announced; its events are stored all the same");
    }
}

/// Tells how the worker is doing.
async fn tell(name: &str, healths: &mut watch::Receiver<Health>) {
    while healths.changed().await.is_ok() {
        match &*healths.borrow_and_update() {
            Health::Alive => {
                warn!(source = name, "sees again what it is for");
                manager::status("Watching");
            }
            Health::Silent { reason } => {
                warn!(source = name, reason, "sees nothing, and goes on trying");
                manager::status(&format!("Sees nothing: {reason}"));
            }
        }
    }
    std::future::pending::<()>().await;
}

fn commit(mut publisher: Publisher, name: String, mut handed_over: mpsc::Receiver<Batch>) -> JoinHandle<()> {
    thread::spawn(move || {
        while let Some(Batch { drafts, position, committed }) = handed_over.blocking_recv() {
            let drafts: Vec<Draft> = drafts.into_iter().filter(|draft| keeps_the_rules(&name, draft)).collect();
            let appended = loop {
                match publisher.publish_from(&name, &drafts, position.as_deref()) {
                    Ok(appended) => break appended,
                    Err(problem) => {
                        error!(%problem, source = name, "events wait for the log");
                        thread::sleep(SOURCE_LOG_RETRY);
                    }
                }
            };
            let _ = committed.send(appended);
        }
    })
}

fn keeps_the_rules(name: &str, draft: &Draft) -> bool {
    match draft.check() {
        Ok(()) => true,
        Err(bad) => {
            error!(source = name, %bad, "an event was left out");
            false
        }
    }
}
