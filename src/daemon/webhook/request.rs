//! One request to one answer. Whatever comes, the answer is JSON that says what is wrong and what to do, and nothing is
//! stored before the signature has been verified.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tracing::{error, info, warn};

use super::body::{self, BadBody};
use super::keyring::SENDERS;
use super::{ListenError, Listener, Log};
use crate::config::secret::{GITHUB_WEBHOOK, Known, Secret};
use crate::ingest::github::{self, Accepted, Delivery};
use crate::ingest::signature;
use crate::model::limits::REQUEST_TIMEOUT;
use crate::store::{Appended, StoreError, Writer};

/// The answer to half a head, as it goes over the wire: the HTTP library has given up on the connection by then.
pub(super) const HEAD_TOO_LATE: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: \
    close\r\ncontent-length: 74\r\n\r\n{\"error\":\"the request's head was not complete in time\",\"reason\":\"timeout\"}";

/// The signature over the body.
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");

/// An answer before it is a response: status, what is counted, and the JSON object.
pub(super) struct Answer {
    status: StatusCode,
    outcome: &'static str,
    body: Value,
}

impl Answer {
    pub(super) fn ok(outcome: &'static str, body: Value) -> Answer {
        Answer { status: StatusCode::OK, outcome, body }
    }

    fn error(status: StatusCode, reason: &'static str, problem: impl std::fmt::Display) -> Answer {
        Answer { status, outcome: reason, body: json!({"error": problem.to_string(), "reason": reason}) }
    }

    /// A sender that is not believed.
    pub(super) fn refused(reason: &'static str, problem: impl std::fmt::Display) -> Answer {
        warn!(reason, "a delivery was refused");
        Answer::error(StatusCode::UNAUTHORIZED, reason, problem)
    }

    /// A delivery that makes no sense.
    pub(super) fn rejected(reason: &'static str, problem: impl std::fmt::Display) -> Answer {
        warn!(reason, "a delivery was refused");
        Answer::error(StatusCode::BAD_REQUEST, reason, problem)
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        respond(self.status, "application/json", self.body.to_string())
    }
}

impl From<BadBody> for Answer {
    fn from(bad: BadBody) -> Answer {
        match bad {
            BadBody::TooLarge => Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too_large", bad),
            BadBody::TooLate => Answer::error(StatusCode::REQUEST_TIMEOUT, "timeout", bad),
            BadBody::Broken => Answer::error(StatusCode::BAD_REQUEST, "broken_body", bad),
        }
    }
}

impl From<&StoreError> for Answer {
    fn from(failure: &StoreError) -> Answer {
        let (status, reason) = match failure {
            StoreError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "log_busy"),
            StoreError::Full(_) => (StatusCode::INSUFFICIENT_STORAGE, "log_full"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "log_failed"),
        };
        Answer::error(status, reason, failure)
    }
}

impl Listener {
    /// Answers one request, in any case and in time.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let response = match (&*path, &method) {
            ("/webhook" | "/alertmanager", &Method::POST) => {
                let answer =
                    tokio::time::timeout(REQUEST_TIMEOUT, self.deliver(&path, request)).await.unwrap_or_else(|_| {
                        let problem = format!("the request was not finished within {} s", REQUEST_TIMEOUT.as_secs());
                        Answer::error(StatusCode::REQUEST_TIMEOUT, "timeout", problem)
                    });
                self.metrics.count(answer.outcome);
                answer.into_response()
            }
            ("/healthz", &(Method::GET | Method::HEAD)) => match body::read(request).await {
                Ok(_) => self.health().into_response(),
                Err(bad) => Answer::from(bad).into_response(),
            },
            ("/metrics", &(Method::GET | Method::HEAD)) => {
                // Nobody sends a body with this, but whoever does has to read the answer.
                let _ = body::read(request).await;
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                respond(StatusCode::OK, kind, self.metrics.text())
            }
            _ => self.refuse(&path, request).await,
        };
        Ok(response)
    }

    /// A path or a method that is not served. What comes with it is read first, so that the answer is.
    async fn refuse(&self, path: &str, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let allowed = match path {
            "/webhook" | "/alertmanager" => Some("POST"),
            "/healthz" | "/metrics" => Some("GET, HEAD"),
            _ => None,
        };
        let answer = match (body::read(request).await, allowed) {
            (Err(bad @ (BadBody::TooLarge | BadBody::TooLate)), _) => bad.into(),
            (_, Some(methods)) => {
                let problem = format!("this path takes {methods}");
                Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", problem)
            }
            (_, None) => {
                let problem = "there is nothing here; deliveries go to /webhook or /alertmanager";
                Answer::error(StatusCode::NOT_FOUND, "not_found", problem)
            }
        };
        self.metrics.count(answer.outcome);
        let mut response = answer.into_response();
        if let Some(methods) = allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
        }
        response
    }

    fn health(&self) -> Answer {
        let has_one = SENDERS.into_iter().any(|known| matches!(self.keyring.get(known), Ok(Some(_))));
        let status = match has_one {
            _ if !self.log.lock().unwrap_or_else(PoisonError::into_inner).syncer.works() => "sync_failed",
            true => "ok",
            false => "no_secret",
        };
        Answer::ok("health", json!({"status": status, "version": env!("CARGO_PKG_VERSION")}))
    }

    async fn deliver(&self, path: &str, request: Request<Incoming>) -> Answer {
        match body::read(request).await {
            Ok((headers, body)) if path == "/alertmanager" => self.deliver_alerts(&headers, &body).await,
            Ok((headers, body)) => match self.verify(&headers, &body) {
                Ok(()) => self.accept(&headers, &body).await,
                Err(answer) => answer,
            },
            Err(bad) => bad.into(),
        }
    }

    /// The secret of a sender; without one nothing is believed.
    pub(super) fn secret_of(&self, known: Known) -> Result<Secret, Answer> {
        let problem = match self.keyring.get(known) {
            Ok(Some(secret)) => return Ok(secret),
            Ok(None) => known.remedy(),
            Err(error) => error.to_string(),
        };
        Err(Answer::error(StatusCode::SERVICE_UNAVAILABLE, "no_secret", problem))
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Answer> {
        let secret = self.secret_of(GITHUB_WEBHOOK)?;
        let header = headers.get(SIGNATURE).map(HeaderValue::as_bytes);
        signature::verify(secret.expose(), header, body)
            .map_err(|unsigned| Answer::refused(unsigned.reason(), unsigned))
    }

    async fn accept(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let delivery = Delivery {
            event: text(HeaderName::from_static("x-github-event")).unwrap_or_default(),
            id: text(HeaderName::from_static("x-github-delivery")).unwrap_or_default(),
            content_type: headers.contains_key(CONTENT_TYPE).then(|| text(CONTENT_TYPE).unwrap_or_default()),
            body,
        };
        match github::accept(&delivery) {
            Ok(Accepted::Event(draft)) => self.store(&draft).await,
            Ok(Accepted::Ping) => Answer::ok("ping", json!({"status": "pong"})),
            Err(reject) => {
                warn!(reason = reject.reason(), "a delivery was refused");
                let status = match reject {
                    github::Reject::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                    github::Reject::BadContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    _ => StatusCode::BAD_REQUEST,
                };
                Answer::error(status, reject.reason(), reject)
            }
        }
    }

    async fn store(&self, draft: &crate::model::event::Draft) -> Answer {
        let append = |writer: &mut Writer| writer.append(draft, SystemTime::now()).map(|appended| vec![appended]);
        let appended = match self.commit(append).await {
            Ok(appended) => appended,
            Err(answer) => return answer,
        };
        let (outcome, event_id) = match appended[..] {
            [Appended::Duplicate { id }] => ("duplicate", Some(id)),
            _ => ("stored", appended.first().map(Appended::id)),
        };
        info!(event_id = event_id.map(tracing::field::display), event_type = %draft.event_type, outcome, "delivery");
        Answer::ok(outcome, json!({"status": outcome, "event_id": event_id}))
    }

    /// Commit, ring, make it durable: a waiter is awake before the disk is done, and the sender is told only when nothing
    /// can be lost any more. A duplicate waits for the disk as well, because the first of the two may still be on its way
    /// there.
    pub(super) async fn commit(
        &self,
        append: impl FnOnce(&mut Writer) -> Result<Vec<Appended>, StoreError>,
    ) -> Result<Vec<Appended>, Answer> {
        let (appended, syncer) = {
            let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            // What goes into a log that was moved away is read by nobody.
            if log.place.is_lost() {
                *log = Log::open(&self.directories).map_err(|failure| {
                    error!(%failure, "a delivery could not be stored");
                    match failure {
                        ListenError::Store(failure) => (&failure).into(),
                        ListenError::Io(_) => {
                            Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "sync_failed", failure.to_string())
                        }
                    }
                })?;
            }
            (append(&mut log.writer), log.syncer.clone())
        };
        // It may have waited for another process's write lock, and those behind it wait in turn.
        self.pulse.has_waited();
        let appended = match appended {
            Ok(appended) => appended,
            Err(failure) => {
                error!(%failure, "a delivery could not be stored");
                return Err((&failure).into());
            }
        };
        if appended.iter().any(|one| matches!(one, Appended::Stored { .. })) {
            self.ringer.ring();
        }
        if let Err(failure) = syncer.sync().await {
            error!(%failure, "a delivery is committed, but not known to be on stable storage");
            let problem = format!("the event log could not be synced: {failure}");
            return Err(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "sync_failed", problem));
        }
        Ok(appended)
    }
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_half_a_head_announces_its_own_length() {
        let (head, body) = HEAD_TOO_LATE.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        serde_json::from_str::<Value>(body).unwrap();
    }
}
