//! What somebody posts as a group of alerts. Three lines (`Authorization`, a signature, the name of the heartbeat), then
//! the body. Only the secret opens the door, and behind it nothing in the body can break a rule of the log.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waitbus::ingest::{alertmanager, credential};
use waitbus::model::event::Draft;
use waitbus::model::limits::MAX_ALERTS;

const SECRET: &[u8] = b"a secret that the fuzzer does not know";

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(4, |&byte| byte == b'\n');
    let mut line = || parts.next().unwrap_or_default();
    let (authorization, signature, heartbeat, body) = (line(), line(), line(), line());
    assert!(credential::verify(SECRET, Some(authorization), None, body).is_err(), "a guessed token was believed");
    assert!(credential::verify(SECRET, None, Some(signature), body).is_err(), "a guessed signature was believed");

    let Ok(heartbeat) = str::from_utf8(heartbeat) else { return };
    match alertmanager::accept(body, heartbeat) {
        Ok(delivery) => {
            assert!(delivery.changes.len() <= MAX_ALERTS + 1);
            for change in &delivery.changes {
                assert!(!change.of.contains('/') && !change.state.contains('/'));
                let key = format!("{}/{}/{}", change.of, u64::MAX, change.state);
                assert_eq!(Draft { delivery_id: Some(key), ..change.draft.clone() }.check(), Ok(()));
            }
            assert!(delivery.heartbeat.is_none_or(|draft| draft.check().is_ok()));
        }
        Err(reject) => assert!(!reject.to_string().is_empty()),
    }
});
