//! What somebody posts to the webhook listener. Three lines (event, delivery id, content type), then the body.
//! Only the body's own signature opens the door, and behind it nothing in the body can break a rule of the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::github::{self, Accepted, Delivery};
use waitbus::ingest::signature;

const SECRET: &[u8] = b"a secret that the fuzzer does not know";

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |&byte| byte == b'\n');
    let mut line = || parts.next().unwrap_or_default();
    let (event, id, content_type, body) = (line(), line(), line(), line());

    let signed = signature::sign(SECRET, body);
    assert_eq!(signature::verify(SECRET, Some(signed.as_bytes()), body), Ok(()));
    assert!(signature::verify(SECRET, Some(id), body).is_err(), "a guessed signature was believed");

    let (Ok(event), Ok(id), Ok(content_type)) =
        (str::from_utf8(event), str::from_utf8(id), str::from_utf8(content_type))
    else {
        return;
    };
    let content_type = (!content_type.is_empty()).then_some(content_type);
    match github::accept(&Delivery { event, id, content_type, body }) {
        Ok(Accepted::Event(draft)) => {
            assert_eq!(draft.check(), Ok(()));
            assert_eq!(draft.event_type, event);
            // A transition has a key of its own, which the id of a delivery cannot take.
            let key = draft.delivery_id.as_deref();
            assert!(key == Some(id) || key.is_some_and(|key| key.contains(' ') && key.starts_with(event)));
        }
        Ok(Accepted::Ping) => assert_eq!(event, "ping"),
        Err(reject) => assert!(!reject.to_string().is_empty()),
    }
});
