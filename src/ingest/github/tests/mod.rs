//! The door: what is let in, what is turned away, and that both encodings lead to the same event.

use super::*;

const JSON: Option<&str> = Some("application/json");
const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

macro_rules! payload {
    ($file:literal) => {
        include_str!(concat!("../../../../tests/payloads/github/", $file, ".payload.json"))
    };
}

// After the macro, which they use.
mod odd;
mod told;

const PUSH: &str = payload!("push");

fn deliver(event: &str, content_type: Option<&str>, body: &[u8]) -> Result<Accepted, Reject> {
    accept(&Delivery { event, id: "72d3162e-cc78-11e3-81ab-4c9367dc0958", content_type, body })
}

fn draft_of(event: &str, body: &str) -> Draft {
    match deliver(event, JSON, body.as_bytes()) {
        Ok(Accepted::Event(draft)) => {
            assert_eq!(draft.check(), Ok(()));
            *draft
        }
        other => panic!("{event}: {other:?}"),
    }
}

fn reason(rejected: Result<Accepted, Reject>) -> &'static str {
    rejected.unwrap_err().reason()
}

#[test]
fn a_draft_carries_the_envelope_and_the_payload_as_received() {
    let draft = draft_of("push", PUSH);
    assert_eq!((draft.source.as_str(), draft.event_type.as_str()), ("github", "push"));
    assert_eq!((draft.owner.as_str(), draft.repo.as_str()), ("Codertocat", "Hello-World"));
    assert_eq!(draft.delivery_id.as_deref(), Some("72d3162e-cc78-11e3-81ab-4c9367dc0958"));
    assert_eq!(draft.ingest_method, "webhook");
    assert_eq!(draft.payload.as_deref(), Some(PUSH));
}

#[test]
fn both_content_types_give_the_same_draft() {
    let form = form_urlencoded::Serializer::new(String::new()).append_pair("payload", PUSH).finish();
    let expected = Accepted::Event(Box::new(draft_of("push", PUSH)));
    for (content_type, body) in [
        (None, PUSH),
        (Some("Application/JSON ; charset=utf-8"), PUSH),
        (FORM, form.as_str()),
        (Some("application/X-WWW-Form-Urlencoded;charset=UTF-8"), form.as_str()),
    ] {
        assert_eq!(deliver("push", content_type, body.as_bytes()).unwrap(), expected, "{content_type:?}");
    }
}

#[test]
fn a_ping_is_answered_only_when_it_could_be_read() {
    assert_eq!(deliver("ping", JSON, payload!("ping").as_bytes()).unwrap(), Accepted::Ping);
    assert_eq!(reason(deliver("ping", FORM, payload!("ping").as_bytes())), "bad_form");
}

#[test]
fn every_refusal_has_its_reason() {
    for name in ["", "Push", "push ", "push/x", "pü", &"a".repeat(65)] {
        assert_eq!(reason(deliver(name, JSON, b"{}")), "bad_event_name", "{name}");
    }
    for id in ["", "a b", "a\u{7f}", "é", &"a".repeat(MAX_GITHUB_DELIVERY_BYTES + 1)] {
        let delivery = Delivery { event: "push", id, content_type: JSON, body: b"{}" };
        assert_eq!(reason(accept(&delivery)), "bad_delivery_id", "{id}");
    }
    for content_type in ["", "text/plain", "application/jsonp", "multipart/form-data; boundary=x"] {
        assert_eq!(reason(deliver("push", Some(content_type), b"{}")), "bad_content_type", "{content_type}");
    }
    assert_eq!(reason(deliver("push", FORM, b"a=1")), "bad_form");
    assert_eq!(reason(deliver("push", JSON, " ".repeat(MAX_PAYLOAD_BYTES + 1).as_bytes())), "too_large");
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    for body in [&b""[..], b"{", b"{} {}", b"\xef\xbb\xbf{}", b"{\"a\":\"\xff\"}", b"{\"a\":1e999}", deep.as_bytes()] {
        assert_eq!(reason(deliver("push", JSON, body)), "bad_json", "{:?}", body.get(..20));
    }
    for body in ["[]", "null", "1", "\"{}\""] {
        assert_eq!(reason(deliver("push", JSON, body.as_bytes())), "not_an_object", "{body}");
    }
}
