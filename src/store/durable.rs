//! Making commits survive a power cut, for those who promised it: one sync for everybody who waits.
//!
//! A commit is in the write-ahead log, so syncing that file is enough: if a checkpoint has moved the row on in the
//! meantime, the checkpoint synced both files before.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;

use tokio::sync::oneshot;

use super::LogPaths;
use super::checkpoint::Checkpoints;
use crate::model::limits::CHECKPOINT_LOOK_EVERY;

/// Handle of the thread that syncs. Dropping it ends the thread.
#[derive(Clone, Debug)]
pub struct Syncer {
    waiting: mpsc::Sender<oneshot::Sender<io::Result<()>>>,
    works: Arc<AtomicBool>,
}

impl Syncer {
    /// Starts the thread, and another one that checkpoints: a listener may be the only process there is.
    pub fn start(paths: &LogPaths) -> io::Result<Syncer> {
        let (waiting, requests) = mpsc::channel();
        let paths = paths.clone();
        let works = Arc::new(AtomicBool::new(true));
        let still_works = Arc::clone(&works);
        // One that fails is tried again after further commits; the rows are safe where they are.
        let checkpoints = Checkpoints::start(&paths, |_| {})?;
        thread::Builder::new().name("sync".into()).spawn(move || {
            run(&requests, &paths, &checkpoints);
            still_works.store(false, Ordering::Release);
        })?;
        Ok(Syncer { waiting, works })
    }

    /// Whether no sync has failed yet.
    #[must_use]
    pub fn works(&self) -> bool {
        self.works.load(Ordering::Acquire)
    }

    /// Returns when everything that was committed before the call is on stable storage. After one failure the
    /// thread is gone and every later call fails too: the kernel may have dropped the pages that it could not
    /// write, and a second sync would say that all is well.
    pub async fn sync(&self) -> io::Result<()> {
        let gone = || io::Error::other("an earlier sync of the event log failed");
        let (answer, answered) = oneshot::channel();
        self.waiting.send(answer).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

type Requests = mpsc::Receiver<oneshot::Sender<io::Result<()>>>;

fn run(requests: &Requests, paths: &LogPaths, checkpoints: &Checkpoints) {
    let mut wal = None;
    let mut since_look = 0;
    while let Ok(first) = requests.recv() {
        // Everybody who has asked by now has committed by now.
        let waiting: Vec<_> = std::iter::once(first).chain(requests.try_iter()).collect();
        let together = waiting.len();
        let outcome = sync_wal(&mut wal, paths);
        let failure = outcome.as_ref().err().map(|error| (error.kind(), error.to_string()));
        for answer in waiting {
            // Whoever gave up waiting needs no answer.
            let _ = answer.send(failure.clone().map_or(Ok(()), |(kind, text)| Err(io::Error::new(kind, text))));
        }
        if failure.is_some() {
            return;
        }
        if since_look == 0 {
            checkpoints.look();
        }
        since_look += together;
        if since_look >= CHECKPOINT_LOOK_EVERY {
            since_look = 0;
        }
    }
}

/// Syncs the write-ahead log. It exists as long as our process holds the database open, so it is opened once;
/// its directory entry is made durable then.
fn sync_wal(wal: &mut Option<File>, paths: &LogPaths) -> io::Result<()> {
    let file = match wal {
        Some(file) => file,
        None => {
            let file = File::open(paths.wal())?;
            File::open(paths.directory())?.sync_all()?;
            wal.insert(file)
        }
    };
    file.sync_data()
}
