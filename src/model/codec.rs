//! The framing of the wire: four bytes of length, big-endian, then that many bytes of JSON (PROTOCOL.md, "Framing").

use bytes::{Buf, Bytes, BytesMut};

use super::limits::MAX_FRAME_BYTES;

/// Bytes of the length that precedes every frame.
pub const PREFIX_BYTES: usize = 4;

/// A length outside `1..=MAX_FRAME_BYTES`: the peer does not speak this protocol, and nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame announces {0} bytes, but it must have 1 to {MAX_FRAME_BYTES}")]
pub struct BadLength(pub u32);

/// Takes the next whole frame's body off the front of `buffer`, or says that more bytes are needed.
pub fn next_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, BadLength> {
    let Some(prefix) = buffer.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
    let announced = u32::from_be_bytes(*prefix);
    let length = announced as usize;
    if !(1..=MAX_FRAME_BYTES).contains(&length) {
        return Err(BadLength(announced));
    }
    if buffer.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    buffer.advance(PREFIX_BYTES);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// Encodes a frame with its prefix, or returns `None` when its body would exceed the cap.
///
/// # Panics
/// Never for the types of this crate: they serialize into memory without an error.
#[must_use]
pub fn encode(body: &impl serde::Serialize) -> Option<Bytes> {
    close(open(body, 0))
}

/// A frame whose body so far is this, without its length; `more` bytes are still to come.
///
/// # Panics
/// Never, like [`encode`].
pub(super) fn open(body: &impl serde::Serialize, more: usize) -> Vec<u8> {
    /// What usual frames have besides the fields of an event, so that few are moved while they grow.
    const USUAL_BYTES: usize = 512;
    let mut frame = Vec::with_capacity(PREFIX_BYTES + USUAL_BYTES + more);
    frame.extend_from_slice(&[0; PREFIX_BYTES]);
    #[expect(clippy::expect_used, reason = "writing maps with text keys to memory cannot fail")]
    serde_json::to_writer(&mut frame, body).expect("a frame serializes");
    frame
}

/// Writes the length of a body that is whole, or returns `None` when it exceeds the cap.
pub(super) fn close(mut frame: Vec<u8>) -> Option<Bytes> {
    let length = frame.len() - PREFIX_BYTES;
    if length > MAX_FRAME_BYTES {
        return None;
    }
    frame[..PREFIX_BYTES].copy_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    Some(frame.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
    }

    #[test]
    fn a_length_of_zero_or_over_the_cap_is_refused_before_its_body_is_read() {
        for length in [0, 65_537, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert_eq!(next_frame(&mut buffer), Err(BadLength(length)));
        }
        let mut largest = BytesMut::from(&framed(&vec![b'x'; MAX_FRAME_BYTES])[..]);
        assert_eq!(next_frame(&mut largest).unwrap().unwrap().len(), MAX_FRAME_BYTES);
    }

    #[test]
    fn a_body_at_the_cap_is_encoded_and_one_byte_more_is_not() {
        let text = |length: usize| "x".repeat(length - 2);
        assert!(encode(&text(MAX_FRAME_BYTES)).is_some());
        assert!(encode(&text(MAX_FRAME_BYTES + 1)).is_none());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_bytes_arrive(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
            cuts in prop::collection::vec(1..64usize, 1..64),
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
            let (mut buffer, mut seen, mut at) = (BytesMut::new(), Vec::new(), 0);
            for cut in cuts.iter().cycle() {
                if at == stream.len() { break; }
                let end = (at + cut).min(stream.len());
                buffer.extend_from_slice(&stream[at..end]);
                at = end;
                while let Some(body) = next_frame(&mut buffer).unwrap() { seen.push(body.to_vec()); }
            }
            prop_assert_eq!(seen, bodies);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_make_the_codec_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = next_frame(&mut buffer) {}
        }
    }
}
