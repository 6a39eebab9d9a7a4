//! The addresses of what can be read: `waitbus://current`, `waitbus://repo/{owner}/{repo}`, `waitbus://event/{ulid}` and
//! its `raw` neighbour, `waitbus://agent/{name}`.

use serde_json::Value;

use super::scope::Scope;
use crate::model::event::Event;
use crate::model::filter::RepoFilter;
use crate::model::frame::Subscribe;
use crate::model::id::EventId;
use crate::model::message::{AgentName, EVERYBODY, Message, SOURCE as MESSAGES, Wanted};

/// The templates of those that have variables.
pub(super) const REPO: &str = "waitbus://repo/{owner}/{repo}";
pub(super) const EVENT: &str = "waitbus://event/{ulid}";
pub(super) const AGENT: &str = "waitbus://agent/{name}";
/// The one that has none.
pub(super) const CURRENT: &str = "waitbus://current";

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// What has just happened.
    Current,
    /// The same in one repository.
    Repo(String, String),
    /// One event.
    Event(EventId),
    /// All of one event. Nothing lists it.
    Raw(EventId),
    /// The messages for one agent.
    Agent(AgentName),
}

impl Address {
    /// What an address names, if it is one that this server shows.
    pub(super) fn parse(uri: &str, scope: &Scope) -> Option<Address> {
        let path = uri.strip_prefix("waitbus://")?;
        let parts: Option<Vec<_>> = path.split('/').map(decoded).collect();
        let parts = parts?;
        let parts: Vec<_> = parts.iter().map(String::as_str).collect();
        let address = match *parts {
            ["current"] => Address::Current,
            ["repo", owner, repo] => Address::Repo(owner.to_owned(), repo.to_owned()),
            ["event", id] => Address::Event(id.parse().ok()?),
            ["event", id, "raw"] => Address::Raw(id.parse().ok()?),
            ["agent", name] => Address::Agent(name.parse().ok()?),
            _ => return None,
        };
        let shown = match &address {
            Address::Repo(owner, repo) => {
                let name = format!("{owner}/{repo}");
                matches!(RepoFilter::parse(&name), Ok(RepoFilter::Repo(..))) && scope.check_repo("", &name).is_ok()
            }
            Address::Agent(name) => {
                scope.check_source("", MESSAGES).is_ok() && scope.agent.as_ref().is_none_or(|agent| agent == name)
            }
            Address::Current | Address::Event(_) | Address::Raw(_) => true,
        };
        shown.then_some(address)
    }

    /// Whether an event belongs to it.
    pub(super) fn has(&self, event: &Event) -> bool {
        let to = |agent: &str| event.fields.get("msg_to").and_then(Value::as_str) == Some(agent);
        match self {
            Address::Current => true,
            Address::Repo(owner, repo) => {
                RepoFilter::Repo(owner.clone(), repo.clone()).passes(&event.owner, &event.repo)
            }
            Address::Event(id) | Address::Raw(id) => event.id == *id,
            Address::Agent(name) => Message::of(event).is_some() && (to(name.as_str()) || to(EVERYBODY)),
        }
    }

    /// What brings the events that belong to it, and perhaps others; nothing for what does not change.
    pub(super) fn subscription(&self, scope: &Scope) -> Option<Subscribe> {
        match self {
            Address::Current => Some(scope.subscription()),
            Address::Repo(owner, repo) => {
                Some(Subscribe { filters: vec![format!("{owner}/{repo}")], ..scope.subscription() })
            }
            Address::Event(_) | Address::Raw(_) => None,
            Address::Agent(name) => Some(Wanted::of(name.clone()).subscription()),
        }
    }
}

/// A segment of an address as it was before it was encoded.
fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_what_its_template_says_and_nothing_else() {
        let scope = Scope::default();
        let parse = |uri: &str| Address::parse(uri, &scope);
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(parse("waitbus://current"), Some(Address::Current));
        assert_eq!(parse("waitbus://repo/octo/he%6clo"), Some(Address::Repo("octo".into(), "hello".into())));
        assert_eq!(parse(&format!("waitbus://event/{id}")), Some(Address::Event(id.parse().unwrap())));
        assert_eq!(parse(&format!("waitbus://event/{id}/raw")), Some(Address::Raw(id.parse().unwrap())));
        assert_eq!(parse("waitbus://agent/planner"), Some(Address::Agent("planner".parse().unwrap())));
        for bad in [
            "",
            "current",
            "waitbus://",
            "waitbus://current/",
            "waitbus://repo/octo",
            "waitbus://repo/octo/a%2fb",
            "waitbus://repo/octo/%zz",
            "waitbus://repo/octo/%6",
            "waitbus://repo/octo/*",
            "waitbus://event/1",
            "waitbus://event/01ARZ3NDEKTSV4RRFFQ69G5FAV/",
            "waitbus://agent/",
            "file:///etc/passwd",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let narrow = Scope { repos: vec![RepoFilter::parse("octo/*").unwrap()], ..Scope::default() };
        assert!(Address::parse("waitbus://repo/octo/hello", &narrow).is_some());
        assert_eq!(Address::parse("waitbus://repo/other/hello", &narrow), None);
        let one = Scope { agent: Some("me".parse().unwrap()), ..Scope::default() };
        assert!(Address::parse("waitbus://agent/me", &one).is_some());
        assert_eq!(Address::parse("waitbus://agent/you", &one), None);
    }
}
