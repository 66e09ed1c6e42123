//! Does a token prove that its bearer is a cluster's agent? Strict, over exactly what Kubernetes issues. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_ledger::json::{self, Limits};
use serde_json::Value;

use super::jwks::{Algorithm, Key};

/// Bytes of a token: those of Kubernetes have about a thousand.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// A token that is good for longer than this was not made to be sent over a wire, in seconds.
pub const LIFE_SECONDS_MAX: i64 = 24 * 3600 + SKEW_SECONDS;
/// How far the issuer's clock may be ahead, in seconds.
const SKEW_SECONDS: i64 = 60;

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'e> {
    /// `iss`.
    pub issuer: &'e str,
    /// The only `aud`.
    pub audience: &'e str,
    /// `sub`.
    pub subject: &'e str,
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Longer than any that is issued.
    #[error("the token has more than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    /// Not three parts of base64url, the first two JSON.
    #[error("not a JWT in compact form")]
    Malformed,
    /// Not RS256 or ES256: `none` and HMACs are no proof.
    #[error("the token is signed by {0:?}; RS256 and ES256 are taken")]
    Algorithm(String),
    /// It asks for something to be understood that is not.
    #[error("the token's header has \"crit\"")]
    Critical,
    /// No key of the issuer made the signature.
    #[error("no key of the issuer made the token's signature")]
    Signature,
    /// Of another issuer.
    #[error("the token is of issuer {0:?}")]
    Issuer(String),
    /// For another audience, or for several.
    #[error("the token is not for the audience of this cluster alone")]
    Audience,
    /// Of another account.
    #[error("the token is of {0:?}")]
    Subject(String),
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token does not count yet")]
    NotYet,
    /// It never ends, or not soon.
    #[error("the token does not end within a day of when it was made")]
    Endless,
}

/// Judges a token at `now`, in seconds since 1970.
///
/// # Errors
/// [`TokenRefused`]
pub fn check(token: &str, keys: &[Key], want: &Expected<'_>, now: i64) -> Result<(), TokenRefused> {
    let payload = signed(token, keys)?;
    if text(&payload, "iss").unwrap_or_default() != want.issuer {
        return Err(TokenRefused::Issuer(cut(
            text(&payload, "iss").unwrap_or_default()
        )));
    }
    audience(&payload, want.audience)?;
    let subject = text(&payload, "sub").unwrap_or_default();
    if subject != want.subject {
        return Err(TokenRefused::Subject(cut(subject)));
    }
    times(&payload, now)
}

/// What a token says that one of the keys signed; its claims are not looked at.
///
/// # Errors
/// [`TokenRefused`]
pub(crate) fn signed(token: &str, keys: &[Key]) -> Result<Value, TokenRefused> {
    use TokenRefused as No;
    if token.len() > TOKEN_BYTES_MAX {
        return Err(No::TooLong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(No::Malformed)?;
    let (header, payload) = signed.split_once('.').ok_or(No::Malformed)?;
    let header = object(header)?;
    let payload = object(payload)?;
    let signature = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| No::Malformed)?;
    let named = text(&header, "alg").ok_or(No::Malformed)?;
    let algorithm = Algorithm::named(named).ok_or_else(|| No::Algorithm(cut(named)))?;
    if header.get("crit").is_some() {
        return Err(No::Critical);
    }
    let kid = text(&header, "kid");
    let by = |key: &&Key| {
        key.algorithm() == algorithm && kid.is_none_or(|kid| key.kid.is_empty() || key.kid == kid)
    };
    let mut candidates = keys.iter().filter(by);
    if !candidates.any(|key| key.verifies(signed.as_bytes(), &signature)) {
        return Err(No::Signature);
    }
    Ok(payload)
}

/// It is for this audience alone.
pub(crate) fn audience(payload: &Value, want: &str) -> Result<(), TokenRefused> {
    let audience = match payload.get("aud") {
        Some(Value::String(one)) => Some(one.as_str()),
        Some(Value::Array(all)) => match all.as_slice() {
            [one] => one.as_str(),
            _ => None,
        },
        _ => None,
    };
    if audience == Some(want) {
        Ok(())
    } else {
        Err(TokenRefused::Audience)
    }
}

/// It counts now, and not for long.
pub(crate) fn times(payload: &Value, now: i64) -> Result<(), TokenRefused> {
    use TokenRefused as No;
    let time = |name: &str| match payload.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or(No::Malformed),
    };
    let (from, made, until) = (time("nbf")?, time("iat")?, time("exp")?);
    let until = until.ok_or(No::Endless)?;
    if now >= until {
        return Err(No::Expired);
    }
    let latest = now.saturating_add(SKEW_SECONDS);
    if from.is_some_and(|from| from > latest) || made.is_some_and(|made| made > latest) {
        return Err(No::NotYet);
    }
    if until.saturating_sub(made.unwrap_or(now)) > LIFE_SECONDS_MAX {
        return Err(No::Endless);
    }
    Ok(())
}

fn object(part: &str) -> Result<Value, TokenRefused> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenRefused::Malformed)?;
    json::parse(&bytes, &Limits::document(TOKEN_BYTES_MAX))
        .ok()
        .filter(Value::is_object)
        .ok_or(TokenRefused::Malformed)
}

pub(crate) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str)
}

/// What is quoted of a stranger's token.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests;
