//! Tokens for CI: `csci_` and a DSSE envelope of the agent CA's key in base64url. The hub keeps nothing of them; they end by
//! themselves, or with that key. Pure but for the signer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_ledger::dsse::{Envelope, Limits, pae};
use countersign_ledger::json;
use countersign_ledger::key::{RingVerifier, SignFault};
use countersign_ledger::name;
use countersign_ledger::trust::VerifiedRoot;
use serde::{Deserialize, Serialize};

use crate::seal::Signer;
use crate::serve::limits::CI_TOKEN_SECONDS_MAX;

/// Set apart from all else that the key signs.
const PAYLOAD_TYPE: &str = "application/vnd.countersign.ci-token+json";
const PREFIX: &str = "csci_";
/// Longest token, bytes.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Longest name of a workspace or a bearer, bytes.
const NAME_BYTES_MAX: usize = 200;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Claims {
    pub(crate) fleet: String,
    pub(crate) workspace: String,
    pub(crate) environment: String,
    /// Whose it is.
    pub(crate) name: String,
    /// When it ends, seconds since 1970.
    pub(crate) until: i64,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotMade {
    /// The request's mistake.
    #[error("{field}: {problem}")]
    Mistake {
        field: &'static str,
        problem: String,
    },
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignFault),
}

/// Why a token does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoToken {
    /// Not one of ours.
    #[error("is no token of this hub")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// Makes a token.
pub(crate) async fn mint(
    claims: &Claims,
    seconds: u64,
    signer: &dyn Signer,
) -> Result<String, NotMade> {
    let mistake = |field, problem: String| NotMade::Mistake { field, problem };
    for (field, text) in [("workspace", &claims.workspace), ("name", &claims.name)] {
        let fits = (1..=NAME_BYTES_MAX).contains(&text.len());
        if !fits || text.chars().any(char::is_control) {
            let problem = format!("must be one line of 1 to {NAME_BYTES_MAX} bytes");
            return Err(mistake(field, problem));
        }
    }
    name::check("environment", &claims.environment)
        .map_err(|error| mistake("environment", error.to_string()))?;
    if !(60..=CI_TOKEN_SECONDS_MAX).contains(&seconds) {
        let problem = format!("must be 60 to {CI_TOKEN_SECONDS_MAX}");
        return Err(mistake("seconds", problem));
    }
    let written = serde_json::to_value(claims).ok();
    let payload = written.and_then(|value| json::canonical(&value).ok());
    let payload = payload.ok_or_else(|| mistake("name", "can't be written".to_owned()))?;
    let signature = signer.sign(&pae(PAYLOAD_TYPE, &payload)).await?;
    let envelope = Envelope::assemble(PAYLOAD_TYPE, &payload, &[(signer.public(), signature)]);
    Ok(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(envelope.bytes())
    ))
}

/// Whether a text looks like one of our tokens, not like somebody else's.
pub(crate) fn is_ours(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// Reads a token that a key of the agent CA signed, and that has not ended.
pub(crate) fn read(token: &str, root: &VerifiedRoot, now: i64) -> Result<Claims, NoToken> {
    let text = token.strip_prefix(PREFIX).ok_or(NoToken::Unknown)?;
    if text.len() > TOKEN_BYTES_MAX {
        return Err(NoToken::Unknown);
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoToken::Unknown)?;
    let envelope = Envelope::parse(&bytes, &Limits::entry()).map_err(|_| NoToken::Unknown)?;
    let keys = root.document().agent_cas.iter().map(|role| &role.key);
    if envelope.payload_type() != PAYLOAD_TYPE || envelope.signed_by(keys, &RingVerifier).is_empty()
    {
        return Err(NoToken::Unknown);
    }
    let claims: Claims =
        serde_json::from_slice(envelope.payload()).map_err(|_| NoToken::Unknown)?;
    if claims.fleet != root.fleet() {
        return Err(NoToken::Unknown);
    }
    if now >= claims.until {
        return Err(NoToken::Expired);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use countersign_ledger::key::{FileKey, Sign as _};
    use countersign_ledger::trust::{NamedKey, RoleKey, RootRole, TrustRoot};

    use super::*;
    use crate::seal::FileSigner;

    fn key(seed: u8) -> FileKey {
        FileKey::from_seed(&[seed; 32]).unwrap()
    }

    fn root(fleet: &str, agent_ca: u8) -> VerifiedRoot {
        let role = RootRole {
            keys: vec![NamedKey {
                key: key(1).public(),
                name: "zoe".into(),
            }],
            threshold: 1,
        };
        let hub_ca = countersign_ledger::Digest::of(b"ca");
        let mut document = TrustRoot::new(fleet, "2026-11-25T00:00:00Z", role, hub_ca);
        document.agent_cas = vec![RoleKey {
            key: key(agent_ca).public(),
        }];
        let envelope = document.sign(&[&key(1)]).unwrap();
        VerifiedRoot::parse(envelope.bytes(), &RingVerifier).unwrap()
    }

    fn claims() -> Claims {
        Claims {
            fleet: "acme".into(),
            workspace: "eks".into(),
            environment: "prod".into(),
            name: "nightly".into(),
            until: 2_000,
        }
    }

    #[tokio::test]
    async fn a_token_counts_until_it_ends_for_its_fleet_and_by_its_key() {
        let signer = FileSigner::new(key(2));
        let token = mint(&claims(), 600, &signer).await.unwrap();
        assert!(is_ours(&token));
        assert_eq!(read(&token, &root("acme", 2), 1_999), Ok(claims()));
        assert_eq!(read(&token, &root("acme", 2), 2_000), Err(NoToken::Expired));
        for other in [root("acme", 3), root("other", 2)] {
            assert_eq!(read(&token, &other, 1_000), Err(NoToken::Unknown));
        }
        let mut cut = token.clone();
        cut.pop();
        for wrong in ["", "csci_", "csci_AAAA", cut.as_str()] {
            assert_eq!(
                read(wrong, &root("acme", 2), 1_000),
                Err(NoToken::Unknown),
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn what_the_key_signs_for_the_log_is_no_token() {
        let payload = json::canonical(&serde_json::to_value(claims()).unwrap()).unwrap();
        let kind = countersign_ledger::dsse::PAYLOAD_TYPE;
        let signature = key(2).sign(&pae(kind, &payload)).unwrap();
        let envelope = Envelope::assemble(kind, &payload, &[(key(2).public(), signature)]);
        let text = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(envelope.bytes()));
        assert_eq!(read(&text, &root("acme", 2), 1_000), Err(NoToken::Unknown));
    }

    #[tokio::test]
    async fn a_token_for_long_or_for_no_name_is_not_made() {
        let signer = FileSigner::new(key(2));
        for seconds in [0, 59, CI_TOKEN_SECONDS_MAX + 1, u64::MAX] {
            assert!(mint(&claims(), seconds, &signer).await.is_err());
        }
        for (workspace, name) in [("", "x"), ("x", ""), ("x", "a\nb")] {
            let wrong = Claims {
                workspace: workspace.into(),
                name: name.into(),
                ..claims()
            };
            assert!(mint(&wrong, 600, &signer).await.is_err());
        }
    }
}
