//! The MCP server: the bus for agents, on a pair of streams.
//!
//! The SDK speaks the protocol, in every revision that is in use; what an agent may ask, how long it waits for it and
//! what of the world outside it gets to read is decided here. Waiting is [`Waiter`](crate::client::Waiter)'s, as it is
//! for the command line.

mod address;
mod answers;
mod arguments;
mod channel;
mod clients;
mod completion;
mod handler;
mod misread;
mod progress;
mod resources;
mod rings;
mod scope;
mod shown;
mod tools;
mod transport;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use rmcp::service::{ServerInitializeError, serve_server};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio::time::timeout;

pub use scope::Scope;

use self::answers::{Answers, Unsettled};
use self::rings::Ring;
use crate::client::Publisher;
use crate::config::directories::Directories;
use crate::model::frame::Subscribe;
use crate::model::id::EventId;
use crate::model::limits::LAST_WORDS;
use crate::model::message::AgentName;

/// What a server does and shows.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether its tools that write are switched off.
    pub read_only: bool,
    /// What it shows.
    pub scope: Scope,
    /// Under which name its client sends and reads messages, if it says no other.
    pub name: Option<AgentName>,
    /// What it pushes into the session of a client that takes pushes, if it does.
    pub channel: Option<Subscribe>,
}

/// Says something to the person who looks at the server's standard error.
pub type Complain = Arc<dyn Fn(&str) + Send + Sync>;

/// One client's server.
struct Server {
    directories: Directories,
    scope: Scope,
    read_only: bool,
    name: Option<AgentName>,
    channel: Option<Subscribe>,
    complain: Complain,
    /// Opened by the first event that is emitted.
    publisher: Arc<Mutex<Option<Publisher>>>,
    /// Whether the client has gone.
    ended: watch::Receiver<bool>,
    /// What becomes of the answers.
    answers: Answers,
    /// What was told and still has to be written down …
    unsettled: Unsettled,
    /// … and why it could not be, since the client was told last.
    problem: Rc<RefCell<Option<String>>>,
    /// Whether what happens is pushed already.
    pushes: Cell<bool>,
    /// What follows the log for each resource to which a client of the handshake has subscribed.
    rings: RefCell<HashMap<String, Ring>>,
    /// For each listen stream that is about to begin, its resources and the place from which they are listened to.
    listening: RefCell<VecDeque<(Vec<String>, Option<EventId>)>>,
}

impl Server {
    /// Returns when the client has gone.
    async fn closing(&self) {
        // Without a sender it is gone as well.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Serves one client until its input ends, or until it is asked to end; then it returns what it was told. What is waited
/// for ends at once.
pub async fn serve<R, W, T>(
    directories: &Directories,
    options: Options,
    streams: (R, W),
    complain: Complain,
    asked_to_end: impl Future<Output = T>,
) -> Result<Option<T>, ServerInitializeError>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let (end, mut ended) = watch::channel(false);
    let (answers, unsettled) = (Answers::default(), Unsettled::new());
    let settled = unsettled.clone();
    let server = Server {
        directories: directories.clone(),
        scope: options.scope,
        read_only: options.read_only,
        name: options.name,
        channel: options.channel,
        complain,
        publisher: Arc::default(),
        ended: ended.clone(),
        answers: answers.clone(),
        unsettled,
        problem: Rc::default(),
        pushes: Cell::default(),
        rings: RefCell::default(),
        listening: RefCell::default(),
    };
    let transport = transport::Lines::new(streams.0, streams.1, answers, end.clone());
    let work = LocalSet::new();
    work.run_until(async move {
        let mut serving = pin!(async move {
            let running = match serve_server(server, transport).await {
                Ok(running) => running,
                // It has gone before it asked for anything.
                Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            let _ = ended.wait_for(|ended| *ended).await;
            // The SDK would give its handlers seconds; what they still have to say is said by now or has no reader.
            let last_words = async {
                let _ = running.waiting().await;
                settled.settled().await;
            };
            let _ = timeout(LAST_WORDS, last_words).await;
            Ok(())
        });
        tokio::select! {
            biased;
            asked = asked_to_end => {
                end.send_replace(true);
                let _ = timeout(LAST_WORDS, serving).await;
                Ok(Some(asked))
            }
            served = &mut serving => served.map(|()| None),
        }
    })
    .await
}
