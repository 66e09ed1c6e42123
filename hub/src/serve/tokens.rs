//! Join tokens: single use, a quarter of an hour, bound to one cluster's name.
//!
//! The store holds a token's hash at `join/<id>.json` and, once it was used, the key that used it at
//! `join/<id>.used.json`; the second is a create-if-absent, so that of two uses on two replicas one wins. The same key
//! may use it again: an agent whose answer was lost asks once more and gets the same.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::limits::JOIN_TOKEN_SECONDS;
use super::records::{RecordFault, Records, Written};

/// What the store knows of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    /// The cluster that it is good for.
    pub cluster: String,
    /// SHA-256 of the secret, base64.
    hash: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Its agent takes the place of a registered one.
    pub replace: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Used {
    /// The receipt key that used it, base64.
    key: String,
}

/// A token as its bearer holds it: `cst_<id>_<secret>`.
#[derive(Clone)]
pub struct Token {
    id: String,
    secret: Zeroizing<String>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Why a token does not count. The bearer is told one sentence for all, so that nothing can be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// Not the form of a token.
    #[error("not a join token")]
    Malformed,
    /// No such token.
    #[error("unknown join token")]
    Unknown,
    /// Another secret.
    #[error("wrong secret of a join token")]
    Wrong,
    /// Its time is over.
    #[error("the join token has expired")]
    Expired,
    /// It is for another cluster.
    #[error("the join token is for another cluster")]
    OtherCluster,
    /// Another key has used it.
    #[error("the join token was used before")]
    Used,
}

/// Why a token could not be redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// It does not count.
    #[error(transparent)]
    Refused(#[from] TokenRefused),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] RecordFault),
}

impl Token {
    /// A new one.
    pub fn generate(random: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        let mut id = [0u8; 8];
        let mut secret = Zeroizing::new([0u8; 32]);
        random.fill(&mut id)?;
        random.fill(secret.as_mut_slice())?;
        Ok(Self {
            id: id.iter().map(|byte| format!("{byte:02x}")).collect(),
            secret: Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice())),
        })
    }

    /// Reads what a bearer shows.
    pub fn parse(text: &str) -> Result<Self, TokenRefused> {
        let (id, secret) = text
            .trim()
            .strip_prefix("cst_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or(TokenRefused::Malformed)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if id.len() != 16
            || !id.bytes().all(hex)
            || secret.len() != 43
            || !secret.bytes().all(plain)
        {
            return Err(TokenRefused::Malformed);
        }
        Ok(Self {
            id: id.to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
        })
    }

    /// The text that is handed to a person.
    pub fn reveal(&self) -> String {
        format!("cst_{}_{}", self.id, *self.secret)
    }

    /// Names the token in logs and records.
    pub fn id(&self) -> &str {
        &self.id
    }

    fn path(&self) -> String {
        format!("join/{}.json", self.id)
    }
}

/// What is stored for a new token.
pub fn stored(token: &Token, cluster: &str, replace: bool, now: Timestamp) -> Stored {
    let seconds = jiff::SignedDuration::from_secs(JOIN_TOKEN_SECONDS);
    Stored {
        cluster: cluster.to_owned(),
        hash: hash(&token.secret),
        expires: now.checked_add(seconds).unwrap_or(Timestamp::MAX),
        replace,
    }
}

/// Does the token count for that cluster now? The secret is compared in constant time, and before anything else is told.
pub fn check(
    token: &Token,
    stored: &Stored,
    cluster: &str,
    now: Timestamp,
) -> Result<(), TokenRefused> {
    if !same(hash(&token.secret).as_bytes(), stored.hash.as_bytes()) {
        return Err(TokenRefused::Wrong);
    }
    if stored.cluster != cluster {
        return Err(TokenRefused::OtherCluster);
    }
    if now >= stored.expires {
        return Err(TokenRefused::Expired);
    }
    Ok(())
}

/// Compares in a time that depends on the lengths only.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |diff, (a, b)| std::hint::black_box(diff | (a ^ b)))
            == 0
}

fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes()))
}

/// Stores a new token and removes those that ended long ago.
pub async fn issue(
    records: &Records,
    cluster: &str,
    replace: bool,
    now: Timestamp,
) -> Result<(Token, Stored), RecordFault> {
    let random = ring::rand::SystemRandom::new();
    let unlucky = |what: &'static str| {
        RecordFault::Store(object_store::Error::Generic {
            store: "join token",
            source: what.into(),
        })
    };
    let token = Token::generate(&random).map_err(|_| unlucky("no randomness"))?;
    let stored = stored(&token, cluster, replace, now);
    match records.create(&token.path(), &stored).await? {
        Written::Created => {}
        Written::Taken => return Err(unlucky("a token of that id exists")),
    }
    sweep(records, now).await?;
    Ok((token, stored))
}

/// Redeems a token for a key. After success the same token serves the same key only.
pub async fn redeem(
    records: &Records,
    text: &str,
    cluster: &str,
    key: &[u8; 32],
    now: Timestamp,
) -> Result<(Token, Stored), RedeemError> {
    let token = Token::parse(text)?;
    let stored: Stored = records
        .read(&token.path())
        .await?
        .ok_or(TokenRefused::Unknown)?;
    check(&token, &stored, cluster, now)?;
    let used = Used {
        key: URL_SAFE_NO_PAD.encode(key),
    };
    let path = format!("join/{}.used.json", token.id);
    match records.create(&path, &used).await? {
        Written::Created => {}
        Written::Taken => {
            let before: Option<Used> = records.read(&path).await?;
            if before.is_none_or(|before| before.key != used.key) {
                return Err(TokenRefused::Used.into());
            }
        }
    }
    Ok((token, stored))
}

/// Tokens that ended a day ago are removed, the mark of their use last.
async fn sweep(records: &Records, now: Timestamp) -> Result<(), RecordFault> {
    for path in records.list("join").await? {
        if path.ends_with(".used.json") {
            continue;
        }
        let Some(old) = records.read::<Stored>(&path).await? else {
            continue;
        };
        if now.as_second() - old.expires.as_second() > 24 * 3600 {
            records.remove(&path).await?;
            records.remove(&path.replace(".json", ".used.json")).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn records() -> Records {
        Records::new(Arc::new(object_store::memory::InMemory::new()))
    }

    async fn redeem_code(
        records: &Records,
        text: &str,
        cluster: &str,
        key: u8,
        now: i64,
    ) -> Result<(), TokenRefused> {
        match redeem(records, text, cluster, &[key; 32], at(now)).await {
            Ok(_) => Ok(()),
            Err(RedeemError::Refused(refused)) => Err(refused),
            Err(RedeemError::Fault(fault)) => panic!("{fault}"),
        }
    }

    #[tokio::test]
    async fn a_token_serves_one_key_of_its_cluster_for_a_quarter_of_an_hour() {
        let records = records();
        let (token, stored) = issue(&records, "metal-fra", false, at(1_000))
            .await
            .unwrap();
        assert_eq!(stored.expires, at(1_900));
        let text = token.reveal();
        assert_eq!(
            redeem_code(&records, &text, "eks", 1, 1_001).await,
            Err(TokenRefused::OtherCluster)
        );
        assert_eq!(
            redeem_code(&records, &text, "metal-fra", 1, 1_900).await,
            Err(TokenRefused::Expired)
        );
        assert_eq!(
            redeem_code(&records, &text, "metal-fra", 1, 1_899).await,
            Ok(())
        );
        assert_eq!(
            redeem_code(&records, &text, "metal-fra", 1, 1_899).await,
            Ok(()),
            "the same key asks again"
        );
        assert_eq!(
            redeem_code(&records, &text, "metal-fra", 2, 1_899).await,
            Err(TokenRefused::Used)
        );
    }

    #[tokio::test]
    async fn a_token_of_another_form_or_secret_is_refused() {
        let records = records();
        let (token, _) = issue(&records, "metal-fra", false, at(0)).await.unwrap();
        let text = token.reveal();
        let mut other = text.clone();
        let last = if other.ends_with('A') { 'B' } else { 'A' };
        other.pop();
        other.push(last);
        assert_eq!(
            redeem_code(&records, &other, "metal-fra", 1, 1).await,
            Err(TokenRefused::Wrong)
        );
        let unknown = Token::generate(&ring::rand::SystemRandom::new())
            .unwrap()
            .reveal();
        assert_eq!(
            redeem_code(&records, &unknown, "metal-fra", 1, 1).await,
            Err(TokenRefused::Unknown)
        );
        for bad in [
            "",
            "cst_",
            "cst_x_y",
            &text[1..],
            "cst_../../../../claim_x",
            &format!("{text}x"),
        ] {
            assert_eq!(
                redeem_code(&records, bad, "metal-fra", 1, 1).await,
                Err(TokenRefused::Malformed),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn the_store_never_holds_the_secret_and_forgets_old_tokens() {
        let records = records();
        let (token, _) = issue(&records, "a", false, at(0)).await.unwrap();
        let bytes = records.read_bytes(&token.path()).await.unwrap().unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(token.secret.as_str()));
        assert!(!format!("{token:?}").contains(token.secret.as_str()));
        issue(&records, "a", false, at(100_000)).await.unwrap();
        assert_eq!(records.read_bytes(&token.path()).await.unwrap(), None);
    }
}
