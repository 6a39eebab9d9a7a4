//! The proof that a delivery comes from somebody who knows the secret: `X-Hub-Signature-256`, an HMAC-SHA256 over the
//! exact bytes of the body, before anything has looked into them.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &[u8] = b"sha256=";
const DIGEST_BYTES: usize = 32;

/// Why a delivery is not believed. The messages are for the sender, so they name neither secret nor digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// There is no signature.
    #[error("the X-Hub-Signature-256 header is missing: set a secret at the sender, the same as here")]
    Missing,
    /// The header cannot be a signature.
    #[error("the X-Hub-Signature-256 header is malformed: expected `sha256=` and 64 hexadecimal digits")]
    Malformed,
    /// The signature is not this body's under this secret.
    #[error("the X-Hub-Signature-256 header does not match the body: sender and receiver have different secrets")]
    Wrong,
}

impl Unsigned {
    /// A stable label for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Unsigned::Missing => "signature_missing",
            Unsigned::Malformed => "signature_malformed",
            Unsigned::Wrong => "signature_wrong",
        }
    }
}

/// Checks the header's value against the body, in a time that does not depend on where they differ.
///
/// An empty secret verifies nothing: its signature could be made by anybody, so a listener that came to have one by
/// mistake must not take that for proof.
pub fn verify(secret: &[u8], header: Option<&[u8]>, body: &[u8]) -> Result<(), Unsigned> {
    let claimed = parse(header.ok_or(Unsigned::Missing)?).ok_or(Unsigned::Malformed)?;
    if secret.is_empty() {
        return Err(Unsigned::Wrong);
    }
    mac(secret, body).verify_slice(&claimed).map_err(|_| Unsigned::Wrong)
}

/// The header's value that proves `body` to a listener with the same secret.
#[must_use]
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    let mut header = String::from("sha256=");
    for byte in mac(secret, body).finalize().into_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(header, "{byte:02x}");
    }
    header
}

fn mac(secret: &[u8], body: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length");
    mac.chain_update(body)
}

fn parse(header: &[u8]) -> Option<[u8; DIGEST_BYTES]> {
    let digits = header.strip_prefix(PREFIX)?;
    if digits.len() != 2 * DIGEST_BYTES {
        return None;
    }
    let mut digest = [0; DIGEST_BYTES];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(digest)
}

pub(super) fn nibble(digit: u8) -> Option<u8> {
    u8::try_from(char::from(digit).to_digit(16)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The example of GitHub's documentation, "Validating webhook deliveries".
    const SECRET: &[u8] = b"It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEADER: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn githubs_documented_example_is_what_we_make_and_what_we_accept() {
        assert_eq!(sign(SECRET, BODY), HEADER);
        assert_eq!(verify(SECRET, Some(HEADER.as_bytes()), BODY), Ok(()));
    }

    #[test]
    fn the_digits_may_be_upper_case() {
        let upper = format!("sha256={}", HEADER["sha256=".len()..].to_uppercase());
        assert_eq!(verify(SECRET, Some(upper.as_bytes()), BODY), Ok(()));
    }

    #[test]
    fn a_header_that_cannot_be_a_signature_is_malformed_and_never_a_panic() {
        let digits = "a".repeat(64);
        let bad: [&[&[u8]]; 10] = [
            &[],
            &[b"sha256="],
            &[digits.as_bytes()],
            &[b"sha1=", digits.as_bytes()],
            &[b"SHA256=", digits.as_bytes()],
            &[b"sha256=", &digits.as_bytes()[1..]],
            &[b"sha256=", digits.as_bytes(), b"a"],
            &[b"sha256=", &digits.as_bytes()[1..], b"g"],
            &[b"sha256=", &digits.as_bytes()[2..], "é".as_bytes()],
            &[b"sha256=", &[0xff; 64]],
        ];
        for header in bad {
            let header = header.concat();
            assert_eq!(verify(SECRET, Some(&header), BODY), Err(Unsigned::Malformed), "{header:?}");
        }
    }

    #[test]
    fn no_header_another_body_and_another_secret_are_told_apart_from_a_malformed_one() {
        assert_eq!(verify(SECRET, None, BODY), Err(Unsigned::Missing));
        assert_eq!(verify(SECRET, Some(HEADER.as_bytes()), b"Hello, World"), Err(Unsigned::Wrong));
        assert_eq!(verify(b"another", Some(HEADER.as_bytes()), BODY), Err(Unsigned::Wrong));
    }

    #[test]
    fn an_empty_secret_verifies_nothing_not_even_its_own_signature() {
        assert_eq!(verify(b"", Some(sign(b"", BODY).as_bytes()), BODY), Err(Unsigned::Wrong));
    }

    #[test]
    fn no_message_names_the_secret_or_a_digest() {
        for unsigned in [Unsigned::Missing, Unsigned::Malformed, Unsigned::Wrong] {
            let message = unsigned.to_string();
            assert!(!message.contains("Everybody") && !message.contains("757107"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn what_was_signed_verifies_and_a_changed_byte_does_not(
            secret in prop::collection::vec(any::<u8>(), 1..100),
            mut body in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
        ) {
            let header = sign(&secret, &body);
            prop_assert_eq!(verify(&secret, Some(header.as_bytes()), &body), Ok(()));
            let at = at.index(body.len());
            body[at] ^= 1;
            prop_assert_eq!(verify(&secret, Some(header.as_bytes()), &body), Err(Unsigned::Wrong));
        }
    }
}
