//! One subscriber's connection, from accept to hang-up, as facts for the hub.
//!
//! The peer's uid is the kernel's word and is looked at before a byte is read or written. A connection then has to
//! send its subscribe frame in time; afterwards all that is read from it is whether it is still there.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;

use super::Accepting;
use super::compile::Compiler;
use crate::hub::{Opinion, Question, SubscriberId};
use crate::model::codec;
use crate::model::filter::Filter;
use crate::model::frame::{Control, RejectReason, Rejection, Said, Subscribe};
use crate::model::limits::SUBSCRIBE_TIMEOUT;
use crate::model::vocabulary::Vocabulary;
use crate::store::StoreError;
use crate::sys::peer::Peer;

/// What a connection tells the hub.
#[derive(Debug)]
pub enum Fact {
    /// It has come, and will subscribe or go.
    Came,
    /// It has subscribed, or gone without.
    Went,
    /// It wants to subscribe. The answer is its name; none means that the hub stops.
    Subscribe {
        /// What it asked for.
        subscribe: Box<Subscribe>,
        /// The same, compiled.
        filter: Filter,
        /// Where to write to.
        peer: Arc<Peer>,
        /// Where the name goes.
        answer: oneshot::Sender<SubscriberId>,
    },
    /// It is a source, and says something.
    Said(SubscriberId, Said),
    /// It is gone.
    Gone(SubscriberId),
    /// Its socket was full and has room again.
    Writable(SubscriberId),
    /// What is decided beside the loop has been, or the log cannot be read there.
    Judged(Box<Question>, Result<Vec<Opinion>, StoreError>),
    /// The names of rows that the hub has not read itself.
    Names(Vocabulary),
}

/// Serves the broadcast socket until it breaks. Each connection is one of `connections`.
pub async fn serve(
    listener: &UnixListener,
    places: usize,
    facts: mpsc::UnboundedSender<Fact>,
    connections: &mut JoinSet<()>,
) -> io::Error {
    let uid = rustix::process::geteuid().as_raw();
    let places = Arc::new(Semaphore::new(places));
    let compiler = Compiler::new();
    let mut accepting = Accepting::on("broadcast");
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => match accepting.failed(error).await {
                Ok(()) => continue,
                Err(error) => return error,
            },
        };
        accepting.taken();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == uid => {}
            Ok(peer) => {
                warn!(uid = peer.uid(), "a connection of another user was closed");
                continue;
            }
            Err(error) => {
                warn!(%error, "a connection was closed, because its user is unknown");
                continue;
            }
        }
        let place = Arc::clone(&places).try_acquire_owned();
        let (guest, facts, compiler) = (Guest::of(&facts), facts.clone(), compiler.clone());
        connections.spawn(run(stream, place.ok(), compiler, facts, guest));
    }
}

/// Somebody who has been let in and has not subscribed yet. The hub knows, so that it does not leave in between.
struct Guest(mpsc::UnboundedSender<Fact>);

impl Guest {
    fn of(facts: &mpsc::UnboundedSender<Fact>) -> Guest {
        // A hub that is gone need not be told.
        let _ = facts.send(Fact::Came);
        Guest(facts.clone())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.send(Fact::Went);
    }
}

async fn run(
    mut stream: UnixStream,
    place: Option<OwnedSemaphorePermit>,
    compiler: Compiler,
    facts: mpsc::UnboundedSender<Fact>,
    guest: Guest,
) {
    let late = || {
        let seconds = SUBSCRIBE_TIMEOUT.as_secs();
        Err(Rejection::new(RejectReason::Timeout, format!("no whole subscribe frame came within {seconds} s")))
    };
    let mut buffer = BytesMut::new();
    let frame = match timeout(SUBSCRIBE_TIMEOUT, read_frame(&mut stream, &mut buffer)).await.unwrap_or_else(|_| late())
    {
        Ok(Some(frame)) => frame,
        // It went without having asked for anything.
        Ok(None) => return,
        Err(rejection) => return reject(&stream, &rejection).await,
    };
    // Not before its frame has been read: a client that still writes when we close may never see why.
    if place.is_none() {
        let sentence = "the hub has as many subscribers as it can serve: end some of them";
        return reject(&stream, &Rejection::new(RejectReason::TooManySubscribers, sentence)).await;
    }
    let subscribe = Subscribe::parse(&frame);
    drop(frame);
    let compiled = match subscribe {
        Ok(subscribe) => compiler.compile(subscribe).await,
        Err(rejection) => Err(rejection),
    };
    let (subscribe, filter) = match compiled {
        Ok(compiled) => compiled,
        Err(rejection) => return reject(&stream, &rejection).await,
    };
    let words = if subscribe.announce.is_some() { Words::Heard(buffer) } else { Words::Ignored };
    // A client whose socket cannot be watched finds it closed, and comes again.
    let Ok(peer) = Peer::new(stream).map(Arc::new) else { return };
    let (answer, answered) = oneshot::channel();
    let fact = Fact::Subscribe { subscribe: Box::new(subscribe), filter, peer: Arc::clone(&peer), answer };
    if facts.send(fact).is_err() {
        return;
    }
    // Not before the hub has its subscription to see: in between it would be idle.
    drop(guest);
    let Ok(id) = answered.await else { return };
    hung_up(&peer, words, |said| {
        let _ = facts.send(Fact::Said(id, said));
    })
    .await;
    // A hub that is gone need not be told.
    let _ = facts.send(Fact::Gone(id));
}

/// Reads the first frame, or `None` if the client hangs up before it has sent anything.
async fn read_frame(stream: &mut UnixStream, buffer: &mut BytesMut) -> Result<Option<Bytes>, Rejection> {
    let bad = |problem: String| Rejection::new(RejectReason::BadFrame, problem);
    loop {
        if let Some(frame) = codec::next_frame(buffer).map_err(|error| bad(error.to_string()))? {
            return Ok(Some(frame));
        }
        match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return Ok(None),
            Ok(0) => return Err(bad("the connection ended within the subscribe frame".into())),
            Ok(_) => {}
            Err(_) => return Ok(None),
        }
    }
}

/// Says why, and closes. A client that does not read it learns nothing, and holds nothing up.
async fn reject(stream: &UnixStream, rejection: &Rejection) {
    let frame = Control::from(rejection).encode();
    // A new socket's buffer has room for one frame.
    if stream.writable().await.is_ok() {
        let _ = stream.try_write(&frame);
    }
}

/// What becomes of what a client sends after its subscription.
enum Words {
    /// It is thrown away.
    Ignored,
    /// It comes from a source, which may have something to say; this much of it has come.
    Heard(BytesMut),
}

impl Words {
    /// Takes what has come, and hands on what it says. After what is no frame nothing is understood.
    fn hear(&mut self, bytes: &[u8], said: &mut impl FnMut(Said)) {
        let Words::Heard(buffer) = self else { return };
        buffer.extend_from_slice(bytes);
        loop {
            match codec::next_frame(buffer) {
                Ok(Some(frame)) => serde_json::from_slice(&frame).into_iter().for_each(&mut *said),
                Ok(None) => return,
                Err(_) => {
                    *self = Words::Ignored;
                    return;
                }
            }
        }
    }
}

/// Returns when the client has hung up. What it still sends is read and, but for what a source says, thrown away. One
/// that has only closed its sending side, as a shell's pipe does, still listens.
async fn hung_up(peer: &Peer, mut words: Words, mut said: impl FnMut(Said)) {
    let mut read = [0; 1_024];
    words.hear(&[], &mut said);
    loop {
        match peer.read(&mut read).await {
            Ok(0) => return peer.gone_for_good().await,
            // One that never stops sending takes its turn like everybody else.
            Ok(bytes) => {
                words.hear(&read[..bytes], &mut said);
                tokio::task::yield_now().await;
            }
            Err(_) => return,
        }
    }
}
