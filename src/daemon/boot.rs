//! From nothing to ready, and from ready to gone: the order in which a service takes its lock, its sockets and its
//! log, tells that it is ready, runs, and leaves.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::UnixListener;
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::arrivals::Arrivals;
use super::bind::{self, BindError};
use super::hub::{Company, Ended, HubError, Service};
use super::reload::Reload;
use super::ringer::Ringer;
use super::signals::{Asked, Signals};
use super::watchdog::{Pulse, Watchdog};
use super::webhook::{self, ListenError, Listener, Terms};
use super::{connection, doorbell};
use crate::config::directories::{BadDirectory, Directories};
use crate::model::limits;
use crate::store::LogPaths;
use crate::sys::activation::Passed;
use crate::sys::bell::{Bell, bell};
use crate::sys::lock::{HubLock, LockError};
use crate::sys::manager;
use crate::sys::place::Place;
use crate::sys::ring::Doorbell;

/// What to run, and with what.
#[derive(Debug)]
pub struct Plan {
    /// Where everything is.
    pub directories: Directories,
    /// The sockets of a service manager.
    pub passed: Passed,
    /// Whether to be the hub.
    pub hub: bool,
    /// Whether to be the webhook listener, and where if no socket was passed.
    pub webhook: Option<SocketAddr>,
    /// How long to stay without subscribers and connections.
    pub idle_exit: Option<Duration>,
}

/// Where a service that is ready can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// The broadcast socket.
    pub broadcast: Option<PathBuf>,
    /// The doorbell.
    pub doorbell: Option<PathBuf>,
    /// The webhook listener.
    pub webhook: Option<SocketAddr>,
}

/// A service could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// Another hub serves this runtime directory.
    #[error("a hub is already running for {} (process {})", runtime.display(), pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string()))]
    AlreadyRunning {
        /// The runtime directory.
        runtime: PathBuf,
        /// The process, if the kernel can tell.
        pid: Option<u32>,
    },
    /// The lock file cannot be used.
    #[error("the hub's lock {} cannot be taken: {source}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why.
        source: LockError,
    },
    /// A directory cannot be used.
    #[error(transparent)]
    Directory(#[from] BadDirectory),
    /// A socket cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The listener failed.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system refuses something that every process may have.
    #[error("the system refused: {0}")]
    Io(#[from] io::Error),
}

/// Runs what is planned until it is asked to stop. `on_ready` is called once everything accepts connections.
pub fn run(plan: Plan, on_ready: impl FnOnce(&Ready)) -> Result<Ended, DaemonError> {
    let watchdog = Watchdog::of_this_process();
    let pulse = watchdog.pulse();
    let ended = event_loop(&pulse)?.block_on(boot(plan, &watchdog, pulse, on_ready));
    manager::stopping(match &ended {
        Ok(Ended::Idle) => "Nobody is here; the next connection starts it again",
        Ok(_) => "Stopping",
        Err(_) => "Failed",
    });
    ended
}

fn event_loop(pulse: &Pulse) -> io::Result<runtime::Runtime> {
    let mut builder = runtime::Builder::new_current_thread();
    pulse.attend(&mut builder);
    builder.enable_all().build()
}

async fn boot(
    mut plan: Plan,
    watchdog: &Watchdog,
    pulse: Pulse,
    on_ready: impl FnOnce(&Ready),
) -> Result<Ended, DaemonError> {
    let mut signals = Signals::listen(Reload::of(&plan.directories))?;
    tokio::spawn(pulse.clone().beat());
    let mut ready = Ready::default();
    let (unused_since, elsewhere) = watch::channel(Some(Instant::now()));
    let company = Company { pulse, elsewhere };
    let hub = if plan.hub { Some(HubRole::take(&mut plan, company, &mut ready)?) } else { None };
    let bell_file = LogPaths::new(&plan.directories.state).bell();
    let doorbell = Doorbell::at(plan.directories.doorbell().ok(), bell_file);
    let ringer = Ringer::new(hub.as_ref().map(|hub| hub.bell.clone()), doorbell);
    let listener = match plan.webhook {
        Some(address) => Some(ListenerRole::take(&mut plan, address, ringer.clone(), watchdog.pulse(), &mut ready)?),
        None => None,
    };
    manager::ready("Ready");
    on_ready(&ready);
    info!(broadcast = ?ready.broadcast, webhook = ?ready.webhook, "ready");

    // Beside a hub the listener does not leave by itself; the hub leaves with it when both are idle.
    let idle_exit = plan.idle_exit.filter(|_| hub.is_none());
    let (stop, _) = watch::channel(());
    let mut listening = listener
        .map(|listener| listener.start(Terms { stop: stop.subscribe(), unused_since, idle_exit }))
        .transpose()?;
    let hub_ended = match hub {
        Some(hub) => Some(hub.run(&mut signals, listening.as_mut()).await),
        None => None,
    };
    let ended = match (hub_ended, &mut listening) {
        (None, Some(listening)) => listening.until_stopped(&mut signals).await,
        (Some(Ok(Ended::HandedOver)), Some(listening)) => {
            ringer.hub_has_left();
            warn!("another hub has taken over; this process goes on as the webhook listener");
            listening.until_stopped(&mut signals).await
        }
        (Some(ended), _) => ended,
        (None, None) => Ok(Ended::Stopped),
    };
    // Also when the hub has failed: what was committed is made durable and answered.
    let _ = stop.send(());
    let finished = match listening {
        Some(listening) => listening.finish(&mut signals).await,
        None => Ok(()),
    };
    ended.and_then(|ended| finished.map(|()| ended))
}

/// The hub's part: lock, sockets, log.
struct HubRole {
    lock: HubLock,
    service: Service,
    bell: Bell,
    heard: crate::sys::bell::BellReceiver,
    broadcast: UnixListener,
    doorbell: UnixListener,
}

impl HubRole {
    fn take(plan: &mut Plan, company: Company, ready: &mut Ready) -> Result<HubRole, DaemonError> {
        let directories = &plan.directories;
        directories.prepare_runtime()?;
        let activated = plan.passed.broadcast.is_some();
        let lock = take_lock(directories, activated)?;
        let (broadcast_path, doorbell_path) = (directories.broadcast()?, directories.doorbell()?);
        let broadcast = plan.passed.broadcast.take().map_or_else(|| bind::unix(&broadcast_path), Ok)?;
        let doorbell = plan.passed.doorbell.take().map_or_else(|| bind::unix(&doorbell_path), Ok)?;
        // A passed socket is the manager's to watch over.
        let place = (!activated).then(|| Place::of(&broadcast_path)).transpose()?;
        (ready.broadcast, ready.doorbell) = (Some(broadcast_path), Some(doorbell_path));
        let (bell, heard) = bell();
        Ok(HubRole {
            lock,
            service: Service::open(&LogPaths::new(&directories.state), place, plan.idle_exit, company)?,
            bell,
            heard,
            broadcast: UnixListener::from_std(broadcast)?,
            doorbell: UnixListener::from_std(doorbell)?,
        })
    }

    async fn run(self, signals: &mut Signals, listening: Option<&mut Listening>) -> Result<Ended, DaemonError> {
        let places = limits::MAX_SUBSCRIBERS
            .min(crate::sys::limits::raise_open_files().saturating_sub(limits::RESERVED_DESCRIPTORS));
        let (mut subscribers, mut ringers) = (JoinSet::new(), JoinSet::new());
        let HubRole { lock, service, bell, heard, broadcast, doorbell } = self;
        let facts = service.facts();
        let arrivals = Arrivals { bell: &heard, sockets: [&broadcast, &doorbell] };
        let broken = |error: io::Error| HubError::Io(error).into();
        let listener_ends = async {
            match listening {
                Some(listening) => listening.ended().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            ended = service.run(arrivals, signals) => ended.map_err(DaemonError::from),
            ended = listener_ends => ended,
            error = connection::serve(&broadcast, places, facts, &mut subscribers) => Err(broken(error)),
            error = doorbell::serve(&doorbell, bell, &mut ringers) => Err(broken(error)),
        };
        // This process may live on as the listener. Whoever is still connected has to notice that the hub is gone,
        // and a ring has to fail rather than be heard by nobody, before the lock lets the next hub read the log.
        drop((broadcast, doorbell));
        ringers.shutdown().await;
        subscribers.shutdown().await;
        drop(lock);
        outcome
    }
}

/// Takes the lock. A hub that a service manager has activated takes over from whoever has it; one that was started
/// by hand or by a client does not.
fn take_lock(directories: &Directories, activated: bool) -> Result<HubLock, DaemonError> {
    let path = directories.hub_lock();
    let failed = |source: LockError| DaemonError::Lock { path: path.clone(), source };
    let lock = HubLock::open(&path).map_err(|error| failed(error.into()))?;
    if activated {
        lock.take_over(limits::HANDOVER_TIMEOUT).map_err(failed)?;
    } else if !lock.try_take().map_err(|error| failed(error.into()))? {
        let pid = lock.holder().map_err(|error| failed(error.into()))?;
        return Err(DaemonError::AlreadyRunning { runtime: directories.runtime.clone(), pid });
    }
    Ok(lock)
}

/// The listener's part: socket, log, secret.
struct ListenerRole {
    socket: std::net::TcpListener,
    listener: Listener,
    pulse: Pulse,
}

impl ListenerRole {
    fn take(
        plan: &mut Plan,
        address: SocketAddr,
        ringer: Ringer,
        pulse: Pulse,
        ready: &mut Ready,
    ) -> Result<ListenerRole, DaemonError> {
        let socket = plan.passed.webhook.take().map_or_else(|| bind::loopback(address), Ok)?;
        ready.webhook = Some(bind::check_loopback(&socket)?);
        let listener = Listener::open(&plan.directories, ringer, pulse.clone())?;
        Ok(ListenerRole { socket, listener, pulse })
    }

    /// Starts the listener on a thread of its own: what it waits for, the disk above all, delays no subscriber.
    fn start(self, terms: Terms) -> Result<Listening, DaemonError> {
        let (over, ended) = oneshot::channel();
        thread::Builder::new().name("webhook".into()).spawn(move || {
            let ListenerRole { socket, listener, pulse } = self;
            let serve = async {
                tokio::spawn(pulse.clone().beat());
                webhook::serve(listener, socket, terms).await
            };
            let outcome = event_loop(&pulse).and_then(|event_loop| event_loop.block_on(serve)).map_err(ListenError::Io);
            // Whoever does not wait any more need not know.
            let _ = over.send(outcome);
        })?;
        Ok(Listening { ended: Some(ended) })
    }
}

/// A listener that runs.
struct Listening {
    /// None once it has been seen to end.
    ended: Option<oneshot::Receiver<Result<Ended, ListenError>>>,
}

impl Listening {
    /// Returns when it ends although nobody has told it to: it is idle, or it has failed.
    async fn ended(&mut self) -> Result<Ended, DaemonError> {
        let Some(ended) = &mut self.ended else { return std::future::pending().await };
        let outcome = ended.await;
        self.ended = None;
        match outcome {
            Ok(Ok(Ended::Idle)) => Ok(Ended::Idle),
            Ok(Err(error)) => Err(error.into()),
            Ok(Ok(_)) | Err(_) => Err(io::Error::other("the webhook listener ended by itself").into()),
        }
    }

    async fn until_stopped(&mut self, signals: &mut Signals) -> Result<Ended, DaemonError> {
        loop {
            tokio::select! {
                asked = signals.next() => if asked == Asked::Stop { return Ok(Ended::Stopped) },
                ended = self.ended() => return ended,
            }
        }
    }

    /// Waits until it has answered what was under way, or until it is told to stop once more.
    async fn finish(self, signals: &mut Signals) -> Result<(), DaemonError> {
        let Some(ended) = self.ended else { return Ok(()) };
        tokio::select! {
            ended = ended => match ended {
                Ok(Err(error)) => Err(error.into()),
                Ok(Ok(_)) | Err(_) => Ok(()),
            },
            _ = signals.next() => {
                warn!("told to stop again: requests under way are cut off");
                Ok(())
            }
        }
    }
}
