use super::*;
use crate::dsse;
use crate::key::{FileKey, RingVerifier, Sign as _};
use crate::statement::samples;

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn speaker() -> Speaker {
    Speaker {
        fleet: "acme".into(),
        cluster: "metal-fra".into(),
        key: key(5).public(),
    }
}

fn sign(statement: &Statement) -> Envelope {
    dsse::sign(PAYLOAD_TYPE, &statement.payload().unwrap(), &[&key(5)]).unwrap()
}

/// Receipts and drift records in turns.
fn said(seq: u64, previous: Option<Digest>, nonce: &str) -> Envelope {
    let mut statement = if seq.is_multiple_of(2) {
        Statement::Drift(samples::drift())
    } else {
        Statement::Receipt(samples::receipt())
    };
    match &mut statement {
        Statement::Receipt(this) => {
            (this.seq, this.previous, this.nonce) = (seq, previous, nonce.into());
        }
        Statement::Drift(this) => {
            (this.seq, this.previous, this.nonce) = (seq, previous, nonce.into());
        }
        _ => panic!("neither"),
    }
    sign(&statement)
}

fn links(count: u64) -> Vec<Envelope> {
    let mut links: Vec<Envelope> = Vec::new();
    for seq in 1..=count {
        links.push(said(seq, links.last().map(Envelope::digest), ""));
    }
    links
}

fn taken(count: u64) -> (Chain, Vec<Envelope>) {
    let links = links(count);
    let mut chain = Chain::new(speaker());
    for link in &links {
        let offer = chain.offer(link.bytes(), |_| None::<Vec<u8>>, &RingVerifier);
        assert!(matches!(offer, Ok(Offer::Next(_))), "{offer:?}");
    }
    (chain, links)
}

fn refused(chain: &Chain, envelope: &Envelope) -> &'static str {
    let mut after = chain.clone();
    let code = after
        .offer(envelope.bytes(), |_| None::<Vec<u8>>, &RingVerifier)
        .unwrap_err()
        .code();
    assert_eq!(after, *chain, "a refusal changes nothing");
    code
}

#[test]
fn receipts_and_drift_records_are_one_chain() {
    let (chain, links) = taken(4);
    assert_eq!(chain.next_seq(), 5);
    assert_eq!(chain.previous(), Some(links[3].digest()));
    let resumed = Chain::resume(speaker(), 4, links[3].digest());
    assert_eq!(resumed, chain);
    assert_eq!(Chain::new(speaker()).next_seq(), 1);
    assert_eq!(Chain::new(speaker()).previous(), None);
    assert_eq!(chain.speaker(), &speaker());
}

#[test]
fn what_is_next_is_told() {
    let (mut chain, links) = taken(2);
    let third = said(3, Some(links[1].digest()), "");
    let Ok(Offer::Next(spoken)) = chain.offer(third.bytes(), |_| None::<Vec<u8>>, &RingVerifier)
    else {
        panic!("taken")
    };
    assert_eq!((spoken.seq, spoken.envelope), (3, third.digest()));
    assert!(matches!(spoken.statement, Statement::Receipt(_)));
}

#[test]
fn a_gap_is_refused_and_so_is_another_past() {
    let (chain, links) = taken(2);
    assert_eq!(
        refused(&chain, &said(4, Some(links[1].digest()), "")),
        "RECEIPT_GAP"
    );
    assert_eq!(
        refused(&chain, &said(3, Some(links[0].digest()), "")),
        "RECEIPT_PREVIOUS_MISMATCH"
    );
}

#[test]
fn the_same_again_is_known_and_another_one_is_a_lie() {
    let (mut chain, links) = taken(3);
    let by_seq = |seq: u64| {
        links
            .get(usize::try_from(seq).unwrap() - 1)
            .map(Envelope::bytes)
    };
    for (seq, link) in (1..).zip(&links) {
        let offer = chain.offer(link.bytes(), by_seq, &RingVerifier);
        assert_eq!(offer, Ok(Offer::Again { seq }));
    }
    assert_eq!(refused(&chain, &links[0]), "RECEIPT_REPLAYED");
    // Another envelope around the same statement is nobody's lie.
    let again = links[2].with_signatures(&[(key(9).public(), [0; 64])]);
    let offer = chain.offer(again.bytes(), by_seq, &RingVerifier);
    assert_eq!(offer, Ok(Offer::Again { seq: 3 }));
    let lie = said(3, Some(links[1].digest()), "aa");
    let refusal = chain.offer(lie.bytes(), by_seq, &RingVerifier).unwrap_err();
    assert_eq!(refusal.code(), "RECEIPT_EQUIVOCATION");
    let ReceiptRefusal::Equivocation { seq: 3, evidence } = refusal else {
        panic!("{refusal}")
    };
    assert_eq!(evidence.check(&speaker(), &RingVerifier), Ok(true));
    let honest = Equivocation {
        ours: links[2].bytes().to_vec(),
        theirs: again.bytes().to_vec(),
    };
    assert_eq!(honest.check(&speaker(), &RingVerifier), Ok(false));
    let two = Equivocation {
        ours: links[0].bytes().to_vec(),
        theirs: links[2].bytes().to_vec(),
    };
    assert_eq!(two.check(&speaker(), &RingVerifier), Ok(false));
}

#[test]
fn nobody_speaks_for_a_cluster_but_itself() {
    let chain = Chain::new(speaker());
    let payload = Statement::Receipt(samples::receipt()).payload().unwrap();
    let forged = dsse::sign(PAYLOAD_TYPE, &payload, &[&key(6)]).unwrap();
    assert_eq!(refused(&chain, &forged), "RECEIPT_SIGNATURE_INVALID");
    for (fleet, cluster) in [("acme", "metal-muc"), ("evil", "metal-fra")] {
        let other = Statement::Receipt(crate::statement::Receipt {
            fleet: fleet.into(),
            cluster: cluster.into(),
            ..samples::receipt()
        });
        assert_eq!(refused(&chain, &sign(&other)), "WRONG_CLUSTER");
    }
    let typed = dsse::sign("application/json", &payload, &[&key(5)]).unwrap();
    assert_eq!(refused(&chain, &typed), "NOT_A_RECEIPT");
    let other = sign(&Statement::Enrolment(samples::enrolment()));
    assert_eq!(refused(&chain, &other), "NOT_A_RECEIPT");
    let empty = dsse::sign(PAYLOAD_TYPE, b"{}", &[&key(5)]).unwrap();
    assert_eq!(refused(&chain, &empty), "STATEMENT_MALFORMED");
    let mut chain = chain;
    let refusal = chain.offer(b"{", |_| None::<Vec<u8>>, &RingVerifier);
    assert_eq!(refusal.unwrap_err().code(), "ENVELOPE_MALFORMED");
}
