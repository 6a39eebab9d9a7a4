//! One delivery of GitHub's, already verified, to one event.
//!
//! Every event type is accepted under its own name, also those that did not exist when this was written. What a
//! payload says becomes typed fields (`fields`, by the rows of `tables`), and the fields become a line for a
//! person (`summary`). A payload that is signed but odd (a number where a text belongs, a title of a megabyte) is still
//! somebody's event: what does not fit is left out, and the payload is stored as it was received.
//!
//! What a run, a job or a check comes to is told by deliveries and by the API ([`api`]), so its key is made of what it says
//! (`transition`), and whoever tells it second tells nothing new.

use std::borrow::Cow;

use serde_json::Value;

use super::form::{self, BadForm};
use crate::model::event::{Draft, ingest_method};
use crate::model::limits::{MAX_GITHUB_DELIVERY_BYTES, MAX_NAME_BYTES, MAX_PAYLOAD_BYTES, MAX_REPO_BYTES};

pub mod api;
mod fields;
mod payload;
mod summary;
mod tables;
#[cfg(test)]
mod tests;
mod transition;

/// The `source` of every event from here.
pub const SOURCE: &str = "github";

/// What a verified request says: the header values as text, the body as received.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// `X-GitHub-Event`.
    pub event: &'a str,
    /// `X-GitHub-Delivery`: the same for a redelivery, so it is the idempotency key of an event that has no better one.
    pub id: &'a str,
    /// `Content-Type`; without one the body is taken for JSON.
    pub content_type: Option<&'a str>,
    /// The exact bytes that were signed.
    pub body: &'a [u8],
}

/// What an acceptable delivery asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Accepted {
    /// Store this; it passes [`Draft::check`].
    Event(Box<Draft>),
    /// The greeting of a new webhook: answer it and store nothing.
    Ping,
}

/// Why a verified delivery is refused. The messages are for its sender.
#[derive(Debug, thiserror::Error)]
pub enum Reject {
    /// `X-GitHub-Event` is not a name.
    #[error("the X-GitHub-Event header must have 1 to {MAX_NAME_BYTES} of a-z, 0-9 and `_`")]
    BadEventName,
    /// `X-GitHub-Delivery` is not an id.
    #[error("the X-GitHub-Delivery header must have 1 to {MAX_GITHUB_DELIVERY_BYTES} printable ASCII characters")]
    BadDeliveryId,
    /// `Content-Type` is neither of the two that GitHub offers.
    #[error("the content type must be application/json or application/x-www-form-urlencoded")]
    BadContentType,
    /// The form does not give a payload.
    #[error("the form cannot be read: {0}")]
    BadForm(#[from] BadForm),
    /// The payload would not fit into the log.
    #[error("the payload has more than {MAX_PAYLOAD_BYTES} bytes")]
    TooLarge,
    /// The body is no text at all.
    #[error("the body is not JSON: it is not UTF-8")]
    NotUtf8,
    /// The payload is not JSON, or nested too deeply to be read safely.
    #[error("the payload is not JSON: {0}")]
    BadJson(serde_json::Error),
    /// The payload is JSON, but a list or a single value.
    #[error("the payload must be a JSON object")]
    NotAnObject,
}

impl Reject {
    /// A stable label for metrics, from a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Reject::BadEventName => "bad_event_name",
            Reject::BadDeliveryId => "bad_delivery_id",
            Reject::BadContentType => "bad_content_type",
            Reject::BadForm(_) => "bad_form",
            Reject::TooLarge => "too_large",
            Reject::NotUtf8 | Reject::BadJson(_) => "bad_json",
            Reject::NotAnObject => "not_an_object",
        }
    }
}

/// Reads a delivery whose signature has been verified.
pub fn accept(delivery: &Delivery<'_>) -> Result<Accepted, Reject> {
    if !is_event_name(delivery.event) {
        return Err(Reject::BadEventName);
    }
    if !is_delivery_id(delivery.id) {
        return Err(Reject::BadDeliveryId);
    }
    let text = payload_text(delivery)?;
    if text.len() > MAX_PAYLOAD_BYTES {
        return Err(Reject::TooLarge);
    }
    let payload = payload::read(delivery.event, &text).map_err(Reject::BadJson)?;
    if !payload.is_object() {
        return Err(Reject::NotAnObject);
    }
    // Not earlier: a ping is how a person learns whether the webhook is set up well.
    if delivery.event == "ping" {
        return Ok(Accepted::Ping);
    }
    Ok(Accepted::Event(Box::new(draft(delivery, &payload, text.into_owned()))))
}

fn draft(delivery: &Delivery<'_>, payload: &Value, text: String) -> Draft {
    let (event, method) = (delivery.event, ingest_method::WEBHOOK);
    let mut draft = Draft { payload: Some(text), ..told(event, payload, method) };
    draft.delivery_id.get_or_insert_with(|| delivery.id.to_owned());
    draft
}

/// What a payload says, without the payload. It has a key if it is a transition.
fn told(event: &str, payload: &Value, ingest_method: &'static str) -> Draft {
    let (owner, repo) = repository(payload);
    let fields = fields::extract(event, payload);
    Draft {
        source: SOURCE.to_owned(),
        event_type: event.to_owned(),
        delivery_id: transition::key(event, payload, owner, repo, &fields),
        is_certain: false,
        ingest_method,
        summary: summary::summary(event, owner, repo, &fields),
        owner: owner.to_owned(),
        repo: repo.to_owned(),
        fields,
        payload: None,
    }
}

fn is_event_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_delivery_id(id: &str) -> bool {
    (1..=MAX_GITHUB_DELIVERY_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

fn payload_text<'a>(delivery: &Delivery<'a>) -> Result<Cow<'a, str>, Reject> {
    let media_type = delivery.content_type.map(|value| value.split(';').next().unwrap_or_default().trim());
    match media_type.map(str::to_ascii_lowercase).as_deref() {
        None | Some("application/json") => {
            str::from_utf8(delivery.body).map(Cow::Borrowed).map_err(|_| Reject::NotUtf8)
        }
        Some("application/x-www-form-urlencoded") => Ok(Cow::Owned(form::payload(delivery.body)?)),
        Some(_) => Err(Reject::BadContentType),
    }
}

/// Owner and name of the repository. Deliveries of an organization have none; their owner is the organization.
fn repository(payload: &Value) -> (&str, &str) {
    let text = |pointer| payload.pointer(pointer).and_then(Value::as_str).filter(|name| is_repository_name(name));
    let full = payload.pointer("/repository/full_name").and_then(Value::as_str).and_then(|name| name.split_once('/'));
    let (full_owner, full_repo) = full.unzip();
    let owner = text("/repository/owner/login")
        .or_else(|| text("/repository/owner/name"))
        .or(full_owner.filter(|name| is_repository_name(name)))
        .or_else(|| text("/organization/login"));
    let repo = text("/repository/name").or(full_repo.filter(|name| is_repository_name(name)));
    (owner.unwrap_or_default(), repo.unwrap_or_default())
}

/// Whether GitHub could have given this name. Narrower than what a [`Draft`] may have, so no other check is needed.
fn is_repository_name(name: &str) -> bool {
    (1..=MAX_REPO_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}
