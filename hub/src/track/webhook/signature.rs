//! Is a request from the forge that knows our secret? In constant time, over the raw bytes. Pure.

use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use crate::track::webhook::Forge;

/// `proof` is the value of the forge's signature or token header.
#[must_use]
pub fn genuine(forge: Forge, secret: &SecretString, proof: &[u8], body: &[u8]) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    match forge {
        Forge::Github => proof
            .strip_prefix(b"sha256=")
            .and_then(unhex)
            .is_some_and(|mac| hmac::verify(&key, body, &mac).is_ok()),
        Forge::Gitea => unhex(proof).is_some_and(|mac| hmac::verify(&key, body, &mac).is_ok()),
        // GitLab sends the secret itself. Comparing two MACs of it takes the same time however much of it is right.
        Forge::Gitlab => hmac::verify(
            &key,
            proof,
            hmac::sign(&key, secret.expose_secret().as_bytes()).as_ref(),
        )
        .is_ok(),
    }
}

fn unhex(text: &[u8]) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let digits = std::str::from_utf8(pair)
            .ok()
            .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(bytes)
}
