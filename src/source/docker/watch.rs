//! Follows one engine for ever: from where the source was when it last knew, through what the engine still remembers and
//! a look at what it does not, to its live stream; and again, whenever that ends.

use std::convert::Infallible;
use std::future::pending;
use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::bus::Bus;
use super::engine::{Engine, Events, Problem};
use crate::ingest::docker::lines::Lines;
use crate::ingest::docker::{Engine as Kind, Told, Tracker};
use crate::model::event::Draft;
use crate::model::limits::{ENGINE_NEVER_QUIET, ENGINE_QUIET, ENGINE_RETRY_MAX, ENGINE_RETRY_MIN};
use crate::sys::wake::WakeWatch;

/// Watches the engine behind a socket, whether it is there or not.
pub(super) async fn watch(host: &Path, bus: &Bus) -> Infallible {
    let mut next = Next { pause: ENGINE_RETRY_MIN, coming: None };
    loop {
        let problem = match follow(host, bus, &mut next).await {
            Ok(never) => match never {},
            Err(problem) => problem,
        };
        let is_absent = matches!(problem, Problem::Absent(_));
        bus.misses(host, problem);
        match next.coming.take() {
            // It is tried once more when it is watched for, so that it does not come unnoticed in between.
            None => {
                next.coming = WakeWatch::of_coming(host).ok();
                if next.coming.is_none() {
                    let _ = timeout(next.pause, pending::<()>()).await;
                    next.lengthen();
                }
            }
            Some(coming) if is_absent => {
                coming.touched().await;
                next.pause = ENGINE_RETRY_MIN;
            }
            Some(coming) => match timeout(next.pause, coming.touched()).await {
                Ok(()) => next.pause = ENGINE_RETRY_MIN,
                Err(_) => next.lengthen(),
            },
        }
    }
}

/// What an engine that is not there is tried by next.
struct Next {
    /// How long to wait where nobody tells.
    pause: Duration,
    /// The kernel's word that its socket has come; none while it is followed.
    coming: Option<WakeWatch>,
}

impl Next {
    fn lengthen(&mut self) {
        self.pause = (2 * self.pause).min(ENGINE_RETRY_MAX);
    }
}

/// Follows an engine until it cannot be followed any more.
async fn follow(host: &Path, bus: &Bus, next: &mut Next) -> Result<Infallible, Problem> {
    let engine = Engine::at(host);
    let tracker = match bus.known(host) {
        Some(tracker) => tracker,
        None => Tracker::new(engine.time().await?),
    };
    let (kind, events) = engine.events(tracker.resume_at()).await?;
    bus.sees(host);
    next.coming = None;
    let mut session = Session { host, bus, engine, kind, events, lines: Lines::default(), tracker, doubt: true };
    let ended = session.run(&mut next.pause).await;
    bus.keep(host, &session.tracker);
    ended
}

/// One stream of events.
struct Session<'a> {
    host: &'a Path,
    bus: &'a Bus,
    engine: Engine,
    kind: Kind,
    events: Events,
    lines: Lines,
    tracker: Tracker,
    /// Whether something may have happened that the stream does not tell.
    doubt: bool,
}

impl Session<'_> {
    async fn run(&mut self, pause: &mut Duration) -> Result<Infallible, Problem> {
        loop {
            if std::mem::take(&mut self.doubt) {
                self.look().await?;
                *pause = ENGINE_RETRY_MIN;
                info!(host = %self.host.display(), engine = self.kind.name(), "watches its containers");
            }
            let piece = self.events.next().await?;
            self.take(&piece).await;
        }
    }

    /// Finds what the stream does not tell. What the engine still remembers comes first, because it knows more.
    async fn look(&mut self) -> Result<(), Problem> {
        self.tracker.begin_look();
        self.until_quiet().await?;
        let look = self.engine.look().await?;
        if !look.complete {
            warn!(host = %self.host.display(), "so many containers that not all of them are looked at after an outage");
        }
        self.until_quiet().await?;
        let drafts = self.tracker.end_look(self.kind, &look);
        self.bus.publish(self.host, &self.tracker, drafts).await;
        Ok(())
    }

    /// Takes in what comes until nothing does for a while.
    async fn until_quiet(&mut self) -> Result<(), Problem> {
        let enough = Instant::now() + ENGINE_NEVER_QUIET;
        while let Ok(piece) = timeout(ENGINE_QUIET, self.events.next()).await {
            self.take(&piece?).await;
            if Instant::now() > enough {
                break;
            }
        }
        Ok(())
    }

    /// Takes in a piece of the stream. It fails at nothing, so that events and what is known stay together.
    async fn take(&mut self, piece: &[u8]) {
        let mut drafts = Vec::new();
        for line in self.lines.feed(piece) {
            drafts.extend(self.line(line.as_deref()).await);
        }
        if !drafts.is_empty() {
            self.bus.publish(self.host, &self.tracker, drafts).await;
        }
    }

    async fn line(&mut self, line: Option<&[u8]>) -> Vec<Draft> {
        let told = match line.map(Told::read) {
            Some(Ok(Some(told))) => told,
            Some(Ok(None)) => return Vec::new(),
            unreadable => {
                // Once for each look: a flood of nonsense is no flood of log lines.
                if !self.doubt {
                    let bad = unreadable.and_then(Result::err).map(|bad| bad.to_string());
                    let problem = bad.unwrap_or_else(|| "it is too long".to_owned());
                    warn!(host = %self.host.display(), problem, "an event cannot be read, so all containers are looked at");
                }
                self.doubt = true;
                return Vec::new();
            }
        };
        let answer = if self.tracker.must_ask(self.kind, &told) {
            // Without an answer what happened is told as far as it is known.
            self.engine.container(&told.container).await.ok().flatten()
        } else {
            None
        };
        self.tracker.apply(self.kind, &told, answer.as_ref())
    }
}
