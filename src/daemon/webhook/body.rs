//! Reading a request's body within its bounds.

use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::EXPECT;
use hyper::{HeaderMap, Request};
use tokio::time::timeout;

use crate::model::limits::{BODY_TIMEOUT, DRAIN_BODY_BYTES, MAX_BODY_BYTES};

/// A body that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadBody {
    #[error("the body has more than {MAX_BODY_BYTES} bytes")]
    TooLarge,
    #[error("the body was not complete within {} s", BODY_TIMEOUT.as_secs())]
    TooLate,
    #[error("the body ended early or is badly framed")]
    Broken,
}

/// The whole body. One that is too large is read on and thrown away, within bounds, so that its sender, who may only
/// read once everything is sent, gets to see the answer.
pub(super) async fn read(request: Request<Incoming>) -> Result<(HeaderMap, Vec<u8>), BadBody> {
    let (head, body) = request.into_parts();
    let announced = body.size_hint().lower();
    let waits_for_us =
        head.headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if announced > MAX_BODY_BYTES as u64 && waits_for_us {
        return Err(BadBody::TooLarge);
    }
    let bytes = timeout(BODY_TIMEOUT, collect(body)).await.map_err(|_| BadBody::TooLate)??;
    Ok((head.headers, bytes))
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, BadBody> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(if announced > MAX_BODY_BYTES { 0 } else { announced });
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BadBody::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        seen += data.len();
        if seen <= MAX_BODY_BYTES {
            bytes.extend_from_slice(data);
        } else {
            bytes = Vec::new();
            if seen > DRAIN_BODY_BYTES {
                break;
            }
        }
    }
    if seen > MAX_BODY_BYTES { Err(BadBody::TooLarge) } else { Ok(bytes) }
}
