use proptest::prelude::*;

use super::*;
use crate::key::{FileKey, RingVerifier};

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

#[test]
fn the_pae_is_that_of_the_protocol() {
    let want = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
    assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), want);
    // Lengths are of bytes, not of characters.
    assert_eq!(
        pae("\u{e4}", "\u{20ac}".as_bytes()),
        "DSSEv1 2 \u{e4} 3 \u{20ac}".as_bytes()
    );
}

#[test]
fn what_is_signed_is_read_back_and_verifies() {
    let (a, b) = (key(1), key(2));
    let made = sign(PAYLOAD_TYPE, b"{\"a\":1}", &[&a, &b]).unwrap();
    let read = Envelope::parse(made.bytes(), &Limits::entry()).unwrap();
    assert_eq!(read, made);
    assert_eq!(
        read.signed_by(&[a.public(), b.public(), key(3).public()], &RingVerifier),
        [a.public(), b.public()].into()
    );
    assert_eq!(made.bytes(), json::canonical(&made.to_value()).unwrap());
}

#[test]
fn one_key_that_signs_twice_counts_once() {
    let a = key(1);
    let twice = sign(PAYLOAD_TYPE, b"x", &[&a, &a]).unwrap();
    assert_eq!(twice.signatures().len(), 2);
    assert_eq!(
        twice
            .signed_by(&[a.public(), a.public()], &RingVerifier)
            .len(),
        1
    );
}

#[test]
fn a_signature_is_of_its_type_and_payload_alone() {
    let a = key(1);
    let signature = (a.public(), a.sign(&pae("type/a", b"x")).unwrap());
    for (payload_type, payload) in [("type/b", b"x"), ("type/a", b"y")] {
        let forged = Envelope::assemble(payload_type, payload, &[signature]);
        assert!(forged.signed_by(&[a.public()], &RingVerifier).is_empty());
    }
}

#[test]
fn key_ids_never_decide() {
    let a = key(1);
    let made = sign(PAYLOAD_TYPE, b"x", &[&a]).unwrap();
    let text = String::from_utf8(made.bytes().to_vec()).unwrap();
    let hint = a.public().id().to_string();
    for other in [
        text.replace(&hint, "somebody else"),
        text.replace(&format!("\"keyid\":\"{hint}\","), ""),
    ] {
        let read = Envelope::parse(other.as_bytes(), &Limits::entry()).unwrap();
        assert_eq!(
            read.signed_by(&[a.public()], &RingVerifier),
            [a.public()].into()
        );
    }
}

#[test]
fn both_alphabets_of_base64_are_read_with_and_without_padding() {
    for payload in ["+/++", "-_--", "+/8=", "-_8=", "-_8", "+/8"] {
        let text = format!(
            "{{\"payload\":\"{payload}\",\"payloadType\":\"t\",\"signatures\":[{{\"sig\":\"{payload}\"}}]}}"
        );
        let read = Envelope::parse(text.as_bytes(), &Limits::entry()).unwrap();
        assert_eq!(read.payload()[..1], [0xfb]);
        assert_eq!(read.signatures()[0].sig, read.payload());
        assert_eq!(read.bytes(), text.as_bytes());
    }
}

#[test]
fn other_shapes_are_refused() {
    let refused = [
        "{}",
        "[]",
        r#"{"payload":"","payloadType":"t"}"#,
        r#"{"payload":"","payloadType":1,"signatures":[]}"#,
        r#"{"payload":"+_","payloadType":"t","signatures":[]}"#,
        r#"{"payload":"!","payloadType":"t","signatures":[]}"#,
        r#"{"payload":"","payloadType":"t","signatures":[{}]}"#,
        r#"{"payload":"","payloadType":"t","signatures":[{"sig":1}]}"#,
        r#"{"payload":"","payloadType":"t","signatures":[{"sig":"","keyid":1}]}"#,
        r#"{"payload":"","payload":"","payloadType":"t","signatures":[]}"#,
        r#"{"payload":"","payloadType":"t","signatures":[]} x"#,
    ];
    for text in refused {
        assert!(
            Envelope::parse(text.as_bytes(), &Limits::entry()).is_err(),
            "{text}"
        );
    }
    // Unknown fields are ignored, as the protocol asks.
    assert!(
        Envelope::parse(
            br#"{"payload":"","payloadType":"t","signatures":[],"x":1}"#,
            &Limits::entry()
        )
        .is_ok()
    );
}

#[test]
fn size_and_signatures_are_limited() {
    let a = key(1);
    let many: Vec<&dyn Sign> = vec![&a; 17];
    let made = sign(PAYLOAD_TYPE, b"x", &many).unwrap();
    assert_eq!(
        Envelope::parse(made.bytes(), &Limits::entry()),
        Err(EnvelopeError::TooManySignatures { got: 17, max: 16 })
    );
    let large = sign(PAYLOAD_TYPE, &[b'x'; 8_192], &[&a]).unwrap();
    assert!(matches!(
        Envelope::parse(large.bytes(), &Limits::entry()),
        Err(EnvelopeError::Json(JsonError::TooLarge { .. }))
    ));
}

proptest! {
    #[test]
    fn any_payload_survives(payload in prop::collection::vec(any::<u8>(), 0..300), payload_type in any::<String>()) {
        let made = sign(&payload_type, &payload, &[&key(1)]).unwrap();
        prop_assert_eq!(Envelope::parse(made.bytes(), &Limits::entry()).unwrap(), made);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Envelope::parse(&bytes, &Limits::entry());
    }
}
