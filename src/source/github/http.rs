//! One request to the API at a time, and what is bounded about it: where it goes, how long it takes, how much comes back.
//!
//! Redirects are not followed here: the one who asked decides, and [`Base::path`] says whether an address is on the same
//! host. So the token goes to the host that was configured, and to no other.

use std::sync::Arc;
use std::time::Duration;

use jiff::fmt::rfc2822;
use ureq::http::{HeaderMap, Uri};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

use super::token::Token;
use crate::model::limits::{
    GITHUB_ANSWER_BYTES, GITHUB_CONNECT_TIMEOUT, GITHUB_ERROR_BYTES, GITHUB_TIMEOUT, MAX_VALIDATOR_BYTES,
};
use crate::model::text::one_line;

/// The version of the REST API whose fields are read here.
const API_VERSION: &str = "2022-11-28";
/// GitHub refuses requests without a name.
const USER_AGENT: &str = concat!("waitbus/", env!("CARGO_PKG_VERSION"), " (", env!("CARGO_PKG_REPOSITORY"), ")");

/// The address below which the API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    origin: String,
    prefix: String,
    host: String,
}

impl Base {
    /// GitHub's own.
    pub(super) const PUBLIC: &str = "https://api.github.com";

    /// Reads an address; the error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Base, String> {
        let wrong = || format!("{text:?} is not the address of an API: it looks like {}", Base::PUBLIC);
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(wrong)?;
        if uri.query().is_some() || authority.as_str().contains('@') || !matches!(scheme, "https" | "http") {
            return Err(wrong());
        }
        let host = authority.host().to_ascii_lowercase();
        if scheme == "http" && !matches!(&*host, "127.0.0.1" | "[::1]" | "localhost") {
            return Err(format!("{text:?} would send the token unencrypted: use https"));
        }
        let origin = format!("{scheme}://{}", authority.as_str().to_ascii_lowercase());
        Ok(Base { origin, prefix: uri.path().trim_end_matches('/').to_owned(), host })
    }

    /// The host of the repositories whose API this is: that of their remotes.
    pub(super) fn forge(&self) -> &str {
        if self.host == "api.github.com" { "github.com" } else { &self.host }
    }

    /// The path of an address below this one; `None` if it leads anywhere else.
    pub(super) fn path(&self, address: &str) -> Option<String> {
        let path = if address.starts_with('/') {
            address.strip_prefix(&self.prefix)?
        } else {
            let at = address.get(..self.origin.len()).filter(|at| at.eq_ignore_ascii_case(&self.origin))?;
            address[at.len()..].strip_prefix(&self.prefix)?
        };
        let is_path = path.starts_with('/') && !path.starts_with("//") && path.parse::<Uri>().is_ok();
        is_path.then(|| path.to_owned())
    }
}

/// What makes a request conditional: the words of the last answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Validators {
    pub(super) etag: Option<String>,
    pub(super) modified: Option<String>,
}

/// A request: a path below the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) known: Validators,
}

/// An answer, as far as anybody looks at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) validators: Validators,
    /// `rel="next"` of `Link`.
    pub(super) next: Option<String>,
    pub(super) location: Option<String>,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
    /// `X-RateLimit-Limit`, requests an hour.
    pub(super) limit: Option<u64>,
    /// `X-RateLimit-Remaining`.
    pub(super) remaining: Option<u64>,
    /// `X-RateLimit-Reset`, in seconds since the epoch by GitHub's clock.
    pub(super) reset: Option<i64>,
    /// `Date`, likewise.
    pub(super) date: Option<i64>,
    pub(super) body: Vec<u8>,
    /// Why the body is not here in whole, if it is not: it was cut off, is too large, or took too long.
    pub(super) cut: Option<String>,
}

/// There is no answer, not even the head of one, for this reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreachable(pub(super) String);

/// The way to the API.
#[derive(Clone)]
pub(super) struct Client {
    agent: Agent,
    base: Base,
    token: Option<Token>,
}

impl Client {
    pub(super) fn new(base: Base) -> Client {
        // Those of the machine, because a company's server has a company's certificate.
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        // What is unencrypted stays on this machine.
        let proxy = if base.origin.starts_with("https:") { Proxy::try_from_env() } else { None };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .timeout_connect(Some(GITHUB_CONNECT_TIMEOUT))
            .timeout_global(Some(GITHUB_TIMEOUT))
            .tls_config(tls)
            .proxy(proxy)
            .build()
            .new_agent();
        Client { agent, base, token: None }
    }

    pub(super) fn set_token(&mut self, token: Option<Token>) {
        self.token = token;
    }

    /// Asks. This is done on a thread of its own, which a caller that is cancelled leaves behind until its time is over.
    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Unreachable> {
        let client = self.clone();
        let asked = tokio::task::spawn_blocking(move || client.ask_now(&request)).await;
        asked.unwrap_or_else(|ended| Err(Unreachable(ended.to_string())))
    }

    fn ask_now(&self, request: &Request) -> Result<Reply, Unreachable> {
        let Base { origin, prefix, .. } = &self.base;
        let mut asking = self
            .agent
            .get(format!("{origin}{prefix}{}", request.path))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", API_VERSION);
        if let Some(token) = &self.token {
            asking = asking.header("authorization", token.header());
        }
        if let Some(etag) = &request.known.etag {
            asking = asking.header("if-none-match", etag);
        }
        if let Some(modified) = &request.known.modified {
            asking = asking.header("if-modified-since", modified);
        }
        let problem = |error: &ureq::Error| one_line(&error.to_string());
        let mut response = asking.call().map_err(|error| Unreachable(problem(&error)))?;
        let mut reply = Reply { status: response.status().as_u16(), ..Reply::read(response.headers()) };
        if reply.status != 304 {
            let most = if reply.status == 200 { GITHUB_ANSWER_BYTES } else { GITHUB_ERROR_BYTES };
            let body = response.body_mut().with_config().limit(most).read_to_vec();
            match body {
                Ok(body) => reply.body = body,
                // What an error page says is of no use to anybody but a person.
                Err(_) if reply.status != 200 => {}
                Err(error) => reply.cut = Some(problem(&error)),
            }
        }
        Ok(reply)
    }
}

impl Reply {
    fn read(headers: &HeaderMap) -> Reply {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.trim().parse().ok());
        let short = |name: &str| text(name).filter(|text| text.len() <= MAX_VALIDATOR_BYTES).map(str::to_owned);
        Reply {
            validators: Validators { etag: short("etag"), modified: short("last-modified") },
            next: text("link").and_then(next),
            location: text("location").map(str::to_owned),
            retry_after: text("retry-after").and_then(|text| seconds(text, text_date(text), date(headers))),
            limit: number("x-ratelimit-limit"),
            remaining: number("x-ratelimit-remaining"),
            reset: text("x-ratelimit-reset").and_then(|text| text.trim().parse().ok()),
            date: date(headers),
            ..Reply::default()
        }
    }
}

fn date(headers: &HeaderMap) -> Option<i64> {
    text_date(headers.get("date")?.to_str().ok()?)
}

/// The date of a header, in seconds since the epoch.
fn text_date(text: &str) -> Option<i64> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok().map(jiff::Timestamp::as_second)
}

/// `Retry-After`: seconds, or a date.
fn seconds(text: &str, until: Option<i64>, now: Option<i64>) -> Option<u64> {
    let number = text.trim().parse().ok();
    number.or_else(|| u64::try_from(until?.saturating_sub(now?)).ok())
}

/// The next page, as `Link` names it: `<https://…?page=2>; rel="next", <…>; rel="last"`.
fn next(links: &str) -> Option<String> {
    links.split(',').find_map(|link| {
        let (address, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = parameters.split(';').any(|parameter| matches!(parameter.trim(), "rel=\"next\"" | "rel=next"));
        is_next.then(|| address.to_owned())
    })
}

/// How long a wait of this many seconds is, as far as somebody else may make us wait.
pub(super) fn bounded(seconds: u64, most: Duration) -> Duration {
    Duration::from_secs(seconds).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_below_the_base_or_nowhere() {
        let base = Base::parse("https://GHE.example.com/api/v3/").unwrap();
        assert_eq!(base.forge(), "ghe.example.com");
        assert_eq!(Base::parse(Base::PUBLIC).unwrap().forge(), "github.com");
        for (address, path) in [
            (
                "https://ghe.example.com/api/v3/repositories/1/actions/runs?page=2",
                Some("/repositories/1/actions/runs?page=2"),
            ),
            ("/api/v3/repositories/1", Some("/repositories/1")),
            ("https://ghe.example.com/other", None),
            ("https://ghe.example.com.evil.org/api/v3/x", None),
            ("https://ghe.example.com@evil.org/api/v3/x", None),
            ("https://evil.org/api/v3/repositories/1", None),
            ("http://ghe.example.com/api/v3/repositories/1", None),
            ("https://ghe.example.com:8443/api/v3/repositories/1", None),
            ("//evil.org/api/v3/x", None),
            ("/api/v3//evil.org", None),
            ("/api/v3/a b", None),
            ("", None),
        ] {
            assert_eq!(base.path(address).as_deref(), path, "{address}");
        }
    }

    #[test]
    fn a_token_goes_unencrypted_to_this_machine_only() {
        for good in ["http://127.0.0.1:8080", "http://localhost/x", "http://[::1]:80", "https://api.github.com"] {
            Base::parse(good).unwrap();
        }
        for bad in [
            "http://api.github.com",
            "http://127.0.0.1.evil.org",
            "ftp://x",
            "api.github.com",
            "",
            "https://me@x",
            "https://x?y",
        ] {
            Base::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn the_headers_of_the_documented_api_are_read() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (
                "link",
                "<https://api.github.com/r?page=1>; rel=\"prev\", <https://api.github.com/r?page=3>; rel=\"next\"",
            ),
            ("date", "Tue, 03 Nov 2026 10:00:00 GMT"),
            ("retry-after", "30"),
            ("x-ratelimit-limit", "5000"),
            ("x-ratelimit-remaining", "4999"),
            ("x-ratelimit-reset", "1793700000"),
            ("etag", "W/\"a\""),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let reply = Reply::read(&headers);
        assert_eq!(reply.next.as_deref(), Some("https://api.github.com/r?page=3"));
        assert_eq!((reply.date, reply.retry_after), (Some(1_793_700_000), Some(30)));
        assert_eq!((reply.limit, reply.remaining, reply.reset), (Some(5_000), Some(4_999), Some(1_793_700_000)));
        assert_eq!(reply.validators.etag.as_deref(), Some("W/\"a\""));
        headers.insert("retry-after", "Tue, 03 Nov 2026 10:01:00 GMT".parse().unwrap());
        headers.insert("etag", "x".repeat(MAX_VALIDATOR_BYTES + 1).parse().unwrap());
        let reply = Reply::read(&headers);
        assert_eq!((reply.retry_after, reply.validators.etag), (Some(60), None));
        assert_eq!(next("nonsense, <x; rel=next"), None);
    }
}
