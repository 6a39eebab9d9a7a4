//! One engine behind its socket: what it is asked, and its stream of events. HTTP/1.1 over a UNIX socket, a connection
//! for each question, because there are few.

use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::Builder;
use hyper::header::{HOST, SERVER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::ingest::docker::container;
use crate::ingest::docker::reconcile::Look;
use crate::ingest::docker::{Container, EVENTS, Engine as Kind, Senseless};
use crate::model::limits::{
    ENGINE_TIMEOUT, HTTP_BUFFER_BYTES, MAX_ENGINE_ANSWER_BYTES, MAX_ENGINE_WORDS, MAX_WATCHED_CONTAINERS,
};
use crate::model::text::one_line;

/// Why an engine does not tell what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// There is no socket.
    #[error("there is no engine at {}: start Docker (systemctl start docker) or Podman (systemctl --user start podman.socket)", .0.display())]
    Absent(PathBuf),
    /// There is a socket, and nobody behind it.
    #[error("no engine answers at {}: it does not run", .0.display())]
    NotRunning(PathBuf),
    /// The socket is not for this user.
    #[error(
        "{} is closed to this user: join its group (which makes whoever is in it root of this machine) and log in again, \
         or use an engine of your own (rootless Docker or Podman)", .0.display()
    )]
    Forbidden(PathBuf),
    /// Somebody else answers.
    #[error("whoever listens at {} has the uid {uid}, and is neither root nor you: it is not believed", path.display())]
    Foreign { path: PathBuf, uid: u32 },
    /// The engine refuses.
    #[error("the engine at {} answers {status}: {words}", path.display())]
    Refused { path: PathBuf, status: StatusCode, words: String },
    /// The answer is none.
    #[error("the engine at {} answers what makes no sense: {problem}", path.display())]
    Senseless { path: PathBuf, problem: String },
    /// The answer does not come.
    #[error("the engine at {} does not answer", .0.display())]
    Slow(PathBuf),
    /// The stream has ended.
    #[error("the engine at {} has stopped or closed the stream of its events", .0.display())]
    Ended(PathBuf),
}

/// An engine.
pub(super) struct Engine {
    path: PathBuf,
}

/// The events of an engine, as they come.
pub(super) struct Events {
    path: PathBuf,
    body: Incoming,
}

impl Engine {
    pub(super) fn at(path: &Path) -> Engine {
        Engine { path: path.to_owned() }
    }

    /// Opens the stream of events from a time on, and tells who speaks.
    pub(super) async fn events(&self, since: i64) -> Result<(Kind, Events), Problem> {
        let seconds = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        let answer = self.ask(&format!("/events?since={seconds}&filters={}", filters())).await?;
        let server = answer.headers().get(SERVER).and_then(|server| server.to_str().ok()).unwrap_or_default();
        let kind = Kind::of_server(server);
        Ok((kind, Events { path: self.path.clone(), body: answer.into_body() }))
    }

    /// What time it is for the engine, which may run on a machine of its own.
    pub(super) async fn time(&self) -> Result<i64, Problem> {
        container::time(&self.get("/info").await?).map_err(|problem| self.senseless(&problem))
    }

    /// The container of this id, unless it is gone.
    pub(super) async fn container(&self, id: &str) -> Result<Option<Container>, Problem> {
        match self.get(&format!("/containers/{id}/json")).await {
            Ok(body) => Container::read(&body).map(Some).map_err(|problem| self.senseless(&problem)),
            Err(Problem::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    /// All containers, up to a bound. The newest come first.
    pub(super) async fn look(&self) -> Result<Look, Problem> {
        let ids =
            container::list(&self.get("/containers/json?all=1").await?).map_err(|problem| self.senseless(&problem))?;
        let mut look = Look { complete: ids.len() <= MAX_WATCHED_CONTAINERS, ..Look::default() };
        for id in ids.into_iter().take(MAX_WATCHED_CONTAINERS) {
            if let Some(container) = self.container(&id).await? {
                look.containers.insert(id, container);
            }
        }
        Ok(look)
    }

    fn senseless(&self, problem: &Senseless) -> Problem {
        Problem::Senseless { path: self.path.clone(), problem: problem.to_string() }
    }

    async fn get(&self, path: &str) -> Result<Bytes, Problem> {
        self.body(self.ask(path).await?).await
    }

    async fn body(&self, answer: Response<Incoming>) -> Result<Bytes, Problem> {
        let body = Limited::new(answer.into_body(), MAX_ENGINE_ANSWER_BYTES).collect();
        match timeout(ENGINE_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => {
                Err(Problem::Senseless { path: self.path.clone(), problem: one_line(&error.to_string()) })
            }
            Err(_) => Err(Problem::Slow(self.path.clone())),
        }
    }

    /// Asks, and returns the answer once its head has come and says that all is well.
    async fn ask(&self, path: &str) -> Result<Response<Incoming>, Problem> {
        let asked = timeout(ENGINE_TIMEOUT, self.send(path)).await;
        let answer = asked.map_err(|_| Problem::Slow(self.path.clone()))??;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let body = self.body(answer).await.unwrap_or_default();
        let said: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let words = said.as_ref().and_then(|said| said.get("message")?.as_str()).unwrap_or("without a reason");
        let words = one_line(words).chars().take(MAX_ENGINE_WORDS).collect();
        Err(Problem::Refused { path: self.path.clone(), status, words })
    }

    async fn send(&self, path: &str) -> Result<Response<Incoming>, Problem> {
        let broken = |error: hyper::Error| {
            if error.is_parse() || error.is_parse_too_large() {
                return Problem::Senseless { path: self.path.clone(), problem: error.to_string() };
            }
            Problem::Ended(self.path.clone())
        };
        let stream = self.connect().await?;
        let mut builder = Builder::new();
        let handshake = builder.max_buf_size(HTTP_BUFFER_BYTES).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(broken)?;
        // It ends with the answer, or when nobody wants that any more. What goes wrong with it the answer tells.
        tokio::spawn(connection);
        let request = Request::get(path).header(HOST, "localhost").body(Empty::<Bytes>::new());
        let request =
            request.map_err(|error| Problem::Senseless { path: self.path.clone(), problem: error.to_string() })?;
        sender.send_request(request).await.map_err(broken)
    }

    /// Whoever may listen in a directory that others write to may be anybody, so the kernel is asked who it is.
    async fn connect(&self) -> Result<UnixStream, Problem> {
        let path = || self.path.clone();
        let stream = UnixStream::connect(&self.path).await.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Problem::Absent(path()),
            io::ErrorKind::PermissionDenied => Problem::Forbidden(path()),
            _ => Problem::NotRunning(path()),
        })?;
        let uid = stream.peer_cred().map_err(|_| Problem::Ended(path()))?.uid();
        if uid != 0 && uid != rustix::process::geteuid().as_raw() {
            return Err(Problem::Foreign { path: path(), uid });
        }
        Ok(stream)
    }
}

impl Events {
    /// The next piece of the stream, however many lines it is. Cancelled, it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Bytes, Problem> {
        loop {
            match poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await {
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data() {
                        return Ok(piece);
                    }
                }
                Some(Err(_)) | None => return Err(Problem::Ended(self.path.clone())),
            }
        }
    }
}

/// The parameter that keeps an engine from telling what nobody wants: health checks alone are three events each time, and
/// name their commands.
fn filters() -> String {
    let filters = serde_json::json!({"type": ["container"], "event": EVENTS}).to_string();
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    filters.bytes().map(encode).collect()
}
