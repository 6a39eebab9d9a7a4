//! The other of the two encodings that GitHub's webhook form offers: `application/x-www-form-urlencoded`, with the
//! JSON text in the field `payload`.
//!
//! The usual decoders replace what is not UTF-8 and let broken escapes through. What is stored must be what was
//! signed, so here both are errors.

use super::signature::nibble;

/// Why a form does not give a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadForm {
    /// No `payload=` among its fields.
    #[error("it has no `payload` field")]
    NoPayload,
    /// A `%` without two hexadecimal digits after it.
    #[error("its `payload` field has a `%` that two hexadecimal digits do not follow")]
    BadEscape,
    /// The decoded bytes are not a text.
    #[error("its `payload` field is not UTF-8")]
    NotUtf8,
}

/// The decoded text of the first field `payload`.
pub fn payload(body: &[u8]) -> Result<String, BadForm> {
    let value = body.split(|&byte| byte == b'&').find_map(|field| field.strip_prefix(b"payload="));
    String::from_utf8(decode(value.ok_or(BadForm::NoPayload)?)?).map_err(|_| BadForm::NotUtf8)
}

fn decode(value: &[u8]) -> Result<Vec<u8>, BadForm> {
    let mut decoded = Vec::with_capacity(value.len());
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        rest = after;
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => {
                let ([high, low], after) = rest.split_first_chunk().ok_or(BadForm::BadEscape)?;
                rest = after;
                let (high, low) = nibble(*high).zip(nibble(*low)).ok_or(BadForm::BadEscape)?;
                high << 4 | low
            }
            plain => *plain,
        });
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_first_payload_field_counts_wherever_it_stands() {
        assert_eq!(payload(b"a=1&payload=%7B%22a%22%3A+1%7d&payload=2").as_deref(), Ok(r#"{"a": 1}"#));
        assert_eq!(payload(b"payload=").as_deref(), Ok(""));
    }

    #[test]
    fn a_form_that_is_not_exactly_decodable_is_refused() {
        for body in [&b""[..], b"{}", b"payload", b"Payload=1", b"xpayload=1"] {
            assert_eq!(payload(body), Err(BadForm::NoPayload), "{body:?}");
        }
        for body in [&b"payload=%"[..], b"payload=%7", b"payload=%7&a=1", b"payload=%zz", b"payload=%+1"] {
            assert_eq!(payload(body), Err(BadForm::BadEscape), "{body:?}");
        }
        for body in [&b"payload=%ff"[..], b"payload=\xff", b"payload=%ed%a0%80"] {
            assert_eq!(payload(body), Err(BadForm::NotUtf8), "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn what_a_form_encoder_wrote_is_read_back_as_it_was(text in any::<String>(), other in any::<String>()) {
            let form = form_urlencoded::Serializer::new(String::new())
                .append_pair("a", &other)
                .append_pair("payload", &text)
                .finish();
            prop_assert_eq!(payload(form.as_bytes()), Ok(text));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = payload(&[b"payload=".as_slice(), &bytes].concat());
        }
    }
}
