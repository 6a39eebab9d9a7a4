//! The proof of a sender that cannot sign: `Authorization`, as a bearer token or as the password of basic
//! authentication, compared with the secret in a time that does not depend on where they differ.
//!
//! Unlike a signature it says nothing about the body, and whoever reads it has the secret. So it is for a sender on this
//! machine, or behind a proxy that keeps the way to itself; a proxy may sign instead ([`signature`](super::signature)).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::signature::{self, Unsigned};

/// Why a sender is not believed. The messages are for them, so they name no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    /// There is nothing that could prove anything.
    #[error(
        "the Authorization header is missing: give the sender the secret as a bearer token or as a password, or sign the \
         body (X-Hub-Signature-256)"
    )]
    Missing,
    /// The header is of a kind that is not known here, or is none.
    #[error("the Authorization header must be `Bearer TOKEN` or `Basic` with USER:PASSWORD in Base64")]
    Malformed,
    /// It is another secret.
    #[error("the token or password is not the secret that is set here")]
    Wrong,
    /// The body is signed, and not well.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
}

impl Unproven {
    /// A stable label for metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Unproven::Missing => "authorization_missing",
            Unproven::Malformed => "authorization_malformed",
            Unproven::Wrong => "authorization_wrong",
            Unproven::Unsigned(unsigned) => unsigned.reason(),
        }
    }
}

/// Checks what a sender has sent to prove itself: `Authorization`, else `X-Hub-Signature-256` over the body.
pub fn verify(
    secret: &[u8],
    authorization: Option<&[u8]>,
    signature: Option<&[u8]>,
    body: &[u8],
) -> Result<(), Unproven> {
    let Some(authorization) = authorization else {
        return match signature {
            Some(_) => Ok(signature::verify(secret, signature, body)?),
            None => Err(Unproven::Missing),
        };
    };
    let claimed = claimed(authorization).ok_or(Unproven::Malformed)?;
    if secret.is_empty() || !are_same(&claimed, secret) {
        return Err(Unproven::Wrong);
    }
    Ok(())
}

/// The token, or the password.
fn claimed(authorization: &[u8]) -> Option<Vec<u8>> {
    let space = authorization.iter().position(|&byte| byte == b' ')?;
    let (scheme, rest) = (&authorization[..space], authorization[space..].trim_ascii());
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Some(rest.to_vec());
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let pair = base64(rest)?;
    // A user has no colon, a password may.
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(pair[colon + 1..].to_vec())
}

/// Whether two texts are the same, by what a key makes of them: nothing of where they differ shows in the time.
fn are_same(a: &[u8], b: &[u8]) -> bool {
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    let mac = |text| Hmac::<Sha256>::new_from_slice(b).expect("a key of any length").chain_update(text);
    mac(a).verify_slice(&mac(b).finalize().into_bytes()).is_ok()
}

/// Base64 as RFC 4648 has it, with its padding.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.strip_suffix(b"==").or_else(|| text.strip_suffix(b"=")).unwrap_or(text);
    let mut bytes = Vec::with_capacity(digits.len());
    let (mut bits, mut count) = (0_u32, 0);
    for &digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
            bits &= (1 << count) - 1;
        }
    }
    // What is left over has to be nothing.
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"a secret: with a colon";

    #[test]
    fn the_secret_is_believed_as_token_as_password_and_as_signature_and_nothing_else_is() {
        let signature = signature::sign(SECRET, b"{}");
        let basic = b"Basic cHJvbWV0aGV1czphIHNlY3JldDogd2l0aCBhIGNvbG9u";
        let no_user = b"basic OmEgc2VjcmV0OiB3aXRoIGEgY29sb24=";
        for (authorization, signature, expected) in [
            (Some(&b"Bearer a secret: with a colon"[..]), None, Ok(())),
            (Some(b"bearer  a secret: with a colon "), None, Ok(())),
            (Some(&basic[..]), None, Ok(())),
            (Some(no_user), None, Ok(())),
            (None, Some(signature.as_bytes()), Ok(())),
            (None, None, Err(Unproven::Missing)),
            (None, Some(b"sha256=00"), Err(Unproven::Unsigned(Unsigned::Malformed))),
            (Some(b"Bearer another"), Some(signature.as_bytes()), Err(Unproven::Wrong)),
            (Some(b"Bearer a secret: with a colo"), None, Err(Unproven::Wrong)),
            (Some(b"Bearer "), None, Err(Unproven::Wrong)),
            (Some(b"Basic YSBzZWNyZXQ6IHdpdGggYSBjb2xvbg=="), None, Err(Unproven::Wrong)),
            (Some(b"Basic YQ=="), None, Err(Unproven::Malformed)),
            (Some(b"Basic OmEgc2VjcmV0OiB3aXRoIGEgY29sb24"), None, Err(Unproven::Malformed)),
            (Some(b"Bearer"), None, Err(Unproven::Malformed)),
            (Some(b"Digest a secret: with a colon"), None, Err(Unproven::Malformed)),
            (Some(b"\xff\xfe \x00"), None, Err(Unproven::Malformed)),
        ] {
            let verdict = verify(SECRET, authorization, signature, b"{}");
            assert_eq!(verdict, expected, "{:?}", authorization.map(String::from_utf8_lossy));
        }
        assert_eq!(verify(b"", Some(b"Bearer "), None, b"{}"), Err(Unproven::Wrong), "an empty secret proves nothing");
    }

    #[test]
    fn base64_is_read_as_the_standard_has_it() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text.as_bytes()).unwrap(), bytes.as_bytes());
        }
        assert_eq!(base64(b"+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
        for bad in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zm 9", "Zm-_", "Zg==Zg=="] {
            assert_eq!(base64(bad.as_bytes()), None, "{bad}");
        }
    }
}
