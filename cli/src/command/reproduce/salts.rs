//! Salts of encrypted Secrets: with them a second renderer sees whether a commitment is one to what it rendered itself.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_fleet::api::{SALTS_MAX, SaltsAnswer};
use countersign_fleet::failure::AppFailure;
use countersign_fleet::object::Object;
use countersign_fleet::reproduce::State;
use countersign_ledger::digest::Digest;
use countersign_ledger::manifest::{Content, Line, ObjectLine};
use countersign_ledger::secret::{Commitment, SALT_BYTES};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroizing;

use crate::exit::Failure;

/// Salts by commitment.
#[derive(Default)]
pub struct Salts(pub BTreeMap<Digest, Zeroizing<[u8; SALT_BYTES]>>);

impl Salts {
    /// Those of all Secrets in a state, piece by piece.
    pub fn asked(
        content: &State,
        ask: impl Fn(&[Digest]) -> Result<SaltsAnswer, Failure>,
    ) -> Result<Self, Failure> {
        let commitments: BTreeSet<Digest> = content
            .lines
            .iter()
            .filter_map(|line| match line {
                Line::Object(ObjectLine {
                    content: Content::Secret { commitment, .. },
                    ..
                }) => Some(*commitment.digest()),
                Line::Object(_) | Line::Tombstone(_) | Line::Orphan(_) => None,
            })
            .collect();
        let mut salts = Self::default();
        let all: Vec<Digest> = commitments.into_iter().collect();
        for piece in all.chunks(SALTS_MAX) {
            for (commitment, salt) in ask(piece)?.salts {
                let bytes = Zeroizing::new(STANDARD.decode(salt).unwrap_or_default());
                // One of another length opens nothing: the Secret stays open.
                if let Ok(salt) = <[u8; SALT_BYTES]>::try_from(&bytes[..]) {
                    salts.0.insert(commitment, Zeroizing::new(salt));
                }
            }
        }
        Ok(salts)
    }

    /// What a Secret that was rendered here is, beside what was sealed under its identity.
    pub fn content(
        &self,
        object: &Object,
        there: Option<&ObjectLine>,
    ) -> Result<Content, AppFailure> {
        let missing = |why: &str| AppFailure::new("SECRET_SALT_MISSING", why).as_fault();
        match there.map(|there| there.content) {
            Some(Content::Secret { blob, commitment }) => {
                let salt = self.0.get(commitment.digest()).ok_or_else(|| {
                    missing("a Secret can be compared only with its salt, which the hub gives to second renderers")
                })?;
                let commitment = Commitment::to(salt, &object.bytes);
                Ok(Content::Secret { blob, commitment })
            }
            // Sealed as something else, or not at all: it differs. A digest that could be guessed is shown to nobody.
            Some(Content::Plain { .. }) | None => {
                let mut salt = Zeroizing::new([0; SALT_BYTES]);
                SystemRandom::new()
                    .fill(salt.as_mut())
                    .map_err(|_| missing("no randomness"))?;
                let commitment = Commitment::to(&salt, &object.bytes);
                let blob = Digest::of(commitment.digest().as_bytes());
                Ok(Content::Secret { blob, commitment })
            }
        }
    }
}
