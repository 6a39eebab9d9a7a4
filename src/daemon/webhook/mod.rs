//! The webhook listener: HTTP on loopback, one thread. A delivery is read, verified, committed, announced and, once it
//! is on stable storage, answered.

mod alertmanager;
mod body;
mod keyring;
mod metrics;
mod request;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Accepting;
use super::hub::{Ended, until};
use super::ringer::Ringer;
use super::watchdog::Pulse;
use crate::config::directories::Directories;
use crate::model::limits;
use crate::store::durable::Syncer;
use crate::store::{LogPaths, StoreError, Writer};
use crate::sys::place::Place;
use keyring::Keyring;
use metrics::Metrics;

/// The listener could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The log cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refuses a thread or a socket.
    #[error("the webhook listener failed: {0}")]
    Io(#[from] io::Error),
}

/// The log that deliveries go into.
#[derive(Debug)]
struct Log {
    writer: Writer,
    syncer: Syncer,
    place: Place,
}

impl Log {
    fn open(directories: &Directories) -> Result<Log, ListenError> {
        let paths = LogPaths::new(&directories.state);
        let writer = Writer::open(&paths)?;
        Ok(Log { writer, syncer: Syncer::start(&paths)?, place: Place::of(&paths.database())? })
    }
}

/// Everything that a request needs.
#[derive(Debug)]
pub struct Listener {
    directories: Directories,
    keyring: Keyring,
    log: Mutex<Log>,
    ringer: Ringer,
    pulse: Pulse,
    metrics: Metrics,
    /// When the heartbeat of an Alertmanager was last stored.
    heard: Mutex<Option<Instant>>,
}

impl Listener {
    /// Opens the log and reads the secrets. Without any it starts all the same, and says so to every delivery.
    pub fn open(directories: &Directories, ringer: Ringer, pulse: Pulse) -> Result<Listener, ListenError> {
        let log = Log::open(directories)?;
        let listener = Listener {
            directories: directories.clone(),
            keyring: Keyring::of(directories),
            log: Mutex::new(log),
            ringer,
            pulse,
            metrics: Metrics::default(),
            heard: Mutex::new(None),
        };
        for problem in listener.keyring.problems() {
            warn!("{problem}");
        }
        Ok(listener)
    }
}

/// How a listener gets along with the rest of its process and with its manager.
#[derive(Debug)]
pub struct Terms {
    /// Changes when it has to stop.
    pub stop: watch::Receiver<()>,
    /// Since when it has not been in use, which is without a connection; none while it is.
    pub unused_since: watch::Sender<Option<std::time::Instant>>,
    /// How long it stays without a connection. Only for a socket that a manager keeps: what comes later waits there.
    pub idle_exit: Option<Duration>,
}

/// Serves until it has to stop or nobody has come for long, then finishes the requests that are under way.
pub async fn serve(listener: Listener, socket: std::net::TcpListener, terms: Terms) -> io::Result<Ended> {
    let socket = TcpListener::from_std(socket)?;
    let listener = Arc::new(listener);
    let places = Arc::new(Semaphore::new(limits::MAX_HTTP_CONNECTIONS));
    let mut stopping = terms.stop.clone();
    let mut accepting = Accepting::on("webhook");
    let (mut connections, mut idle_since) = (JoinSet::new(), Instant::now());
    let ended = loop {
        let idle_exit = terms.idle_exit.filter(|_| connections.is_empty());
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => break Ended::Stopped,
            accepted = accept(&socket, &places) => accepted,
            Some(_) = connections.join_next() => {
                if connections.is_empty() {
                    idle_since = Instant::now();
                    terms.unused_since.send_replace(Some(idle_since.into_std()));
                }
                continue;
            }
            () = until(idle_exit.map(|after| idle_since + after)), if idle_exit.is_some() => break Ended::Idle,
        };
        match accepted {
            (Ok((stream, _)), Ok(place)) => {
                accepting.taken();
                let (listener, stop) = (Arc::clone(&listener), terms.stop.clone());
                connections.spawn(async move {
                    let _place = place;
                    connection(stream, listener, stop).await;
                });
                terms.unused_since.send_if_modified(|unused_since| unused_since.take().is_some());
            }
            (Err(error), _) => accepting.failed(error).await?,
            (_, Err(_closed)) => break Ended::Stopped,
        }
    };
    let all = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(limits::REQUEST_TIMEOUT, all).await;
    Ok(ended)
}

/// Waits for a place, then for a connection: without a place, further connections wait in the backlog.
async fn accept(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> (io::Result<(TcpStream, SocketAddr)>, Result<OwnedSemaphorePermit, AcquireError>) {
    let place = Arc::clone(places).acquire_owned().await;
    (socket.accept().await, place)
}

async fn connection(stream: TcpStream, listener: Arc<Listener>, mut stop: watch::Receiver<()>) {
    // The answer is one small write; without this it may wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let listener = Arc::clone(&listener);
        Box::pin(async move { listener.answer(request).await })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_headers(limits::MAX_HTTP_HEADERS)
        .max_buf_size(limits::HTTP_BUFFER_BYTES)
        // A client that has sent its request may close its sending side and still read the answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut stopped = false;
    let outcome = loop {
        tokio::select! {
            outcome = poll_fn(|context| connection.poll_without_shutdown(context)) => break outcome,
            _ = stop.changed(), if !stopped => {
                stopped = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let late = outcome.as_ref().is_err_and(hyper::Error::is_timeout);
    if let Err(error) = outcome {
        debug!(%error, "a webhook connection ended");
    }
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    // Half a head is a request, and gets an answer; a kept connection that was not used again does not.
    if late && !parts.read_buf.is_empty() {
        let _ = stream.write_all(request::HEAD_TOO_LATE.as_bytes()).await;
    }
    let _ = stream.shutdown().await;
}
