//! The webhook listener: HTTP on loopback, one thread. A delivery is read, verified, committed, announced and, once it
//! is on stable storage, answered.

mod body;
mod metrics;
mod request;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch};
use tracing::{debug, warn};

use super::Accepting;
use super::ringer::Ringer;
use crate::config::directories::Directories;
use crate::config::secret::{self, BadSecret, Secret};
use crate::model::limits;
use crate::store::checkpoint::Checkpointer;
use crate::store::durable::Syncer;
use crate::store::{LogPaths, StoreError, Writer};
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

/// Everything that a request needs.
#[derive(Debug)]
pub struct Listener {
    directories: Directories,
    secret: Mutex<Option<Secret>>,
    writer: Mutex<Writer>,
    syncer: Syncer,
    ringer: Ringer,
    metrics: Metrics,
}

impl Listener {
    /// Opens the log and reads the secret. Without one it starts all the same, and says so to every delivery.
    pub fn open(directories: &Directories, ringer: Ringer) -> Result<Listener, ListenError> {
        let paths = LogPaths::new(&directories.state);
        let writer = Writer::open(&paths)?;
        let listener = Listener {
            directories: directories.clone(),
            secret: Mutex::new(None),
            syncer: Syncer::start(&paths, Checkpointer::open(&paths)?)?,
            writer: Mutex::new(writer),
            ringer,
            metrics: Metrics::default(),
        };
        match listener.secret() {
            Ok(Some(_)) => {}
            Ok(None) => warn!("{}", listener.secret_remedy()),
            Err(error) => warn!("{error}"),
        }
        Ok(listener)
    }

    /// The secret. One that is found is kept; while there is none, each delivery looks for it, so that setting it
    /// needs no restart.
    fn secret(&self) -> Result<Option<Secret>, BadSecret> {
        let mut known = self.secret.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = secret::load(&self.directories)?;
        }
        Ok(known.clone())
    }

    fn secret_remedy(&self) -> String {
        let path = self.directories.credentials().join(secret::WEBHOOK_SECRET);
        format!(
            "no webhook secret is configured: write the one that you gave GitHub to {} (mode 0600), or pass the \
             credential {} from the service manager",
            path.display(),
            secret::WEBHOOK_SECRET
        )
    }
}

/// Serves until `stop` changes, then finishes the requests that are under way.
pub async fn serve(listener: Listener, socket: std::net::TcpListener, stop: watch::Receiver<()>) -> io::Result<()> {
    let socket = TcpListener::from_std(socket)?;
    let listener = Arc::new(listener);
    let places = Arc::new(Semaphore::new(limits::MAX_HTTP_CONNECTIONS));
    let mut stopping = stop.clone();
    let mut accepting = Accepting::on("webhook");
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stopping.changed() => break,
            accepted = accept(&socket, &places) => accepted,
        };
        match accepted {
            (Ok((stream, _)), Ok(place)) => {
                accepting.taken();
                let (listener, stop) = (Arc::clone(&listener), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    connection(stream, listener, stop).await;
                });
            }
            (Err(error), _) => accepting.failed(error).await?,
            (_, Err(_closed)) => break,
        }
    }
    // Every connection gives its place back when it is over.
    let all = u32::try_from(limits::MAX_HTTP_CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(limits::REQUEST_TIMEOUT, places.acquire_many(all)).await;
    Ok(())
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
