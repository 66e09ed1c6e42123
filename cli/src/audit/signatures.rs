//! Many Ed25519 signatures checked at once, to the same verdicts as one by one.
//!
//! `R = sB − hA` holds for each of many signatures if it holds for the sum of all, each times a random number that nobody knew when
//! they were made; and a sum costs a sixth of checking each. That is true within the group of prime order. So keys and `R`s
//! must lie in it, each in its one spelling; whatever is odd is checked by itself, and a sum that does not hold is
//! halved until it is known which signature is at fault.

use std::collections::HashMap;

use countersign_ledger::dsse::pae;
use countersign_ledger::key::{PublicKey, RingVerifier, Verify as _};
use curve25519_dalek::constants::ED25519_BASEPOINT_POINT;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{Identity as _, IsIdentity as _, VartimeMultiscalarMul as _};
use ring::digest::{Context, SHA512};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::entry::Read;

/// Fewer are checked one by one: getting keys ready would not pay.
const TOGETHER_MIN: usize = 512;
/// Once keys are ready, fewer than these.
const HALVED_MIN: usize = 64;
/// Random bytes of a signature's factor: 128 bits.
const FACTOR_BYTES: usize = 16;
/// Random bytes that sort `R`s for the test of their group. A signature that its own signer made to lie outside passes with a
/// chance of one in two for each bit.
const LABEL_BYTES: usize = 4;

/// A signature, and the key that it names.
pub struct Claim<'r> {
    /// The key.
    pub key: PublicKey,
    read: &'r Read,
    signature: &'r [u8],
}

/// The keys that are known, ready for use.
#[derive(Default)]
pub struct Keyring {
    keys: HashMap<PublicKey, Point>,
    ids: HashMap<String, PublicKey>,
}

/// A key's point.
enum Point {
    /// It was not looked at.
    Unready,
    /// It is of the group of prime order, in its one spelling.
    Ready(EdwardsPoint),
    /// It is not.
    Odd,
}

/// A signature as part of a sum.
struct Term {
    at: usize,
    key: PublicKey,
    point: EdwardsPoint,
    r: EdwardsPoint,
    s: Scalar,
    h: Scalar,
}

impl Claim<'_> {
    fn message(&self) -> Vec<u8> {
        let envelope = self.read.envelope.as_ref();
        envelope.map_or_else(Vec::new, |said| pae(said.payload_type(), said.payload()))
    }

    fn holds(&self) -> bool {
        RingVerifier.verify(&self.key, &self.message(), self.signature)
    }
}

impl Keyring {
    /// Gets to know a key.
    pub fn learn(&mut self, key: &PublicKey) {
        if !self.keys.contains_key(key) {
            self.keys.insert(*key, Point::Unready);
            self.ids.insert(key.id().to_string(), *key);
        }
    }

    /// Gets the keys ready if that pays for so many signatures.
    pub fn ready(&mut self, signatures: usize) {
        if signatures < TOGETHER_MIN {
            return;
        }
        for (key, point) in &mut self.keys {
            if matches!(point, Point::Unready) {
                *point = Point::of(&key.0);
            }
        }
    }

    /// The signatures of an entry, if each names a known key, and none the same one. A name only says where to look.
    pub fn claims<'r>(&self, read: &'r Read) -> Option<Vec<Claim<'r>>> {
        let signatures = read.envelope.as_ref()?.signatures();
        let mut claims: Vec<Claim<'r>> = Vec::with_capacity(signatures.len());
        for signature in signatures {
            let key = *self.ids.get(&signature.keyid)?;
            if claims.iter().any(|claim| claim.key == key) {
                return None;
            }
            claims.push(Claim {
                key,
                read,
                signature: &signature.sig,
            });
        }
        (!claims.is_empty()).then_some(claims)
    }

    /// Which of these signatures hold.
    pub fn hold(&self, claims: &[&Claim<'_>]) -> Vec<bool> {
        let mut held = vec![false; claims.len()];
        let mut terms = Vec::with_capacity(claims.len());
        let together = claims.len() >= HALVED_MIN;
        for ((at, claim), held) in claims.iter().enumerate().zip(&mut held) {
            let term = together.then(|| self.term(at, claim));
            match term.flatten() {
                Some(term) => terms.push(term),
                None => *held = claim.holds(),
            }
        }
        settle(&terms, claims, &mut held);
        held
    }

    fn term(&self, at: usize, claim: &Claim<'_>) -> Option<Term> {
        let Point::Ready(point) = *self.keys.get(&claim.key)? else {
            return None;
        };
        let (r_bytes, s) = claim.signature.split_first_chunk::<32>()?;
        let s: Option<Scalar> = Scalar::from_canonical_bytes(s.try_into().ok()?).into();
        let mut hash = Context::new(&SHA512);
        hash.update(r_bytes);
        hash.update(&claim.key.0);
        hash.update(&claim.message());
        let hash: [u8; 64] = hash.finish().as_ref().try_into().ok()?;
        Some(Term {
            at,
            key: claim.key,
            point,
            r: canonical(r_bytes)?,
            s: s?,
            h: Scalar::from_bytes_mod_order_wide(&hash),
        })
    }
}

impl Point {
    fn of(key: &[u8; 32]) -> Self {
        let point = canonical(key).filter(EdwardsPoint::is_torsion_free);
        point.map_or(Self::Odd, Self::Ready)
    }
}

/// A point in its one spelling. Not the neutral one, which has two.
fn canonical(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    // 2^255 − 19 and above, whatever the sign bit says.
    let [first, middle @ .., last] = bytes;
    let reduced = *first < 0xed || last & 0x7f != 0x7f || middle.iter().any(|byte| *byte != 0xff);
    let point = CompressedEdwardsY(*bytes)
        .decompress()
        .filter(|_| reduced)?;
    (!point.is_identity()).then_some(point)
}

fn settle(terms: &[Term], claims: &[&Claim<'_>], held: &mut [bool]) {
    let mut tell = |term: &Term, holds: bool| {
        if let Some(held) = held.get_mut(term.at) {
            *held = holds;
        }
    };
    if terms.len() < HALVED_MIN {
        for term in terms {
            let holds = claims.get(term.at).is_some_and(|claim| claim.holds());
            tell(term, holds);
        }
    } else if sum_holds(terms) {
        terms.iter().for_each(|term| tell(term, true));
    } else {
        let (some, others) = terms.split_at(terms.len() / 2);
        settle(some, claims, held);
        settle(others, claims, held);
    }
}

/// Whether the sum of all, each times its own random factor, holds.
fn sum_holds(terms: &[Term]) -> bool {
    let mut random = vec![0; terms.len() * (FACTOR_BYTES + LABEL_BYTES)];
    if SystemRandom::new().fill(&mut random).is_err() {
        return false;
    }
    let (factors, labels) = random.split_at(terms.len() * FACTOR_BYTES);
    let (factors, _) = factors.as_chunks::<FACTOR_BYTES>();
    if !in_group(terms, labels) {
        return false;
    }
    let mut scalars = Vec::with_capacity(terms.len() + 1);
    let mut points = Vec::with_capacity(terms.len() + 1);
    // A key is one point of the sum, however much it signed.
    let mut of_keys: HashMap<PublicKey, (Scalar, EdwardsPoint)> = HashMap::new();
    let mut of_base = Scalar::ZERO;
    for (term, factor) in terms.iter().zip(factors) {
        let factor = Scalar::from(u128::from_le_bytes(*factor));
        of_base += factor * term.s;
        let of_key = of_keys
            .entry(term.key)
            .or_insert((Scalar::ZERO, term.point));
        of_key.0 += factor * term.h;
        scalars.push(factor);
        points.push(term.r);
    }
    for (scalar, point) in of_keys.into_values() {
        scalars.push(scalar);
        points.push(point);
    }
    scalars.push(-of_base);
    points.push(ED25519_BASEPOINT_POINT);
    EdwardsPoint::vartime_multiscalar_mul(&scalars, &points).is_identity()
}

/// Whether all `R`s are of the group of prime order: random halves of them are summed, and each sum must be. Sorted into as many
/// sums as a byte has values, one addition each serves eight halves.
fn in_group(terms: &[Term], labels: &[u8]) -> bool {
    labels.chunks(terms.len().max(1)).all(|labels| {
        let mut sums = vec![EdwardsPoint::identity(); 256];
        for (term, label) in terms.iter().zip(labels) {
            if let Some(sum) = sums.get_mut(usize::from(*label)) {
                *sum += &term.r;
            }
        }
        // Those whose label has the highest bit; then the next one, of all.
        while sums.len() > 1 {
            let with_bit = sums.split_off(sums.len() / 2);
            let half: EdwardsPoint = with_bit.iter().sum();
            if !half.is_torsion_free() {
                return false;
            }
            for (sum, other) in sums.iter_mut().zip(&with_bit) {
                *sum += other;
            }
        }
        true
    })
}

#[cfg(test)]
mod tests;
