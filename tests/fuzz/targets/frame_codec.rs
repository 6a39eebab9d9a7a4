//! What a stranger writes to the broadcast socket: however the bytes arrive, the same frames come out, none of them
//! outside the bounds, and each is a subscription that survives being written and read again, or is refused.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use waitbus::model::codec::next_frame;
use waitbus::model::frame::Subscribe;
use waitbus::model::limits::MAX_FRAME_BYTES;

fuzz_target!(|input: &[u8]| {
    // The first byte says how many bytes arrive at a time.
    let Some((&pace, stream)) = input.split_first() else { return };
    let whole = frames(stream, stream.len());
    assert_eq!(whole, frames(stream, usize::from(pace)), "frames depend on how the bytes arrive");
    for body in whole {
        assert!((1..=MAX_FRAME_BYTES).contains(&body.len()));
        read_subscription(&body);
    }
    read_subscription(stream);
});

fn frames(stream: &[u8], pace: usize) -> Vec<Bytes> {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(pace.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match next_frame(&mut buffer) {
                Ok(Some(body)) => found.push(body),
                Ok(None) => break,
                Err(_) => return found,
            }
        }
    }
    found
}

fn read_subscription(body: &[u8]) {
    match Subscribe::parse(body) {
        Ok(subscribe) => {
            let written = serde_json::to_vec(&subscribe).expect("a subscription serializes");
            assert_eq!(Subscribe::parse(&written), Ok(subscribe.clone()));
            let _ = subscribe.filter();
        }
        Err(rejection) => assert!(!rejection.to_string().is_empty(), "a refusal says what to do"),
    }
}
