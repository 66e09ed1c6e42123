//! Notes by the vectors of the specification and of Go, and by each rule of opening one.

use proptest::prelude::*;

use super::*;
use crate::key::{FileKey, RingVerifier};
use crate::tlog::cosignature;

/// The note of `signed-note`, with its key.
const SPEC_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

/// The two signers of Go's documentation.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                       then you don't know what your problem is.\n";
const PETER_LINE: &str = "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
const ENOCH_LINE: &str = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

fn key(seed: u8) -> FileKey {
    FileKey::from_seed(&[seed; 32]).unwrap()
}

fn vkey(name: &str, kind: KeyKind, seed: u8) -> Vkey {
    Vkey::new(name, kind, key(seed).public()).unwrap()
}

fn signed(text: &str, signers: &[(&str, u8)]) -> Note {
    let mut note = Note::new(text).unwrap();
    for (name, seed) in signers {
        note.sign(name, &key(*seed)).unwrap();
    }
    note
}

#[test]
fn a_vkey_is_read_and_written_as_the_specification_does() {
    let vkey: Vkey = SPEC_VKEY.parse().unwrap();
    assert_eq!(
        (vkey.name(), vkey.id(), vkey.kind()),
        ("example.com/foo", 0x530d_903a, KeyKind::Ed25519)
    );
    assert_eq!(vkey.to_string(), SPEC_VKEY);
    let json = format!("\"{SPEC_VKEY}\"");
    assert_eq!(serde_json::to_string(&vkey).unwrap(), json);
    assert_eq!(serde_json::from_str::<Vkey>(&json).unwrap(), vkey);
}

#[test]
fn what_is_no_vkey_is_refused() {
    use VkeyError::{Form, Id, IdMismatch, Key, Kind, Length, Name};
    let base = "AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    let other = |error| error;
    for (text, error) in [
        (String::new(), Form),
        ("example.com/foo".to_owned(), Form),
        ("example.com/foo+530d903a".to_owned(), Form),
        (format!("example.com/foo+530d903a {base}"), Form),
        (format!("example.com/foo+530D903A+{base}"), Id),
        (format!("example.com/foo+530d903+{base}"), Id),
        (format!("example.com/foo++30d903a+{base}"), Id),
        (format!("+530d903a+{base}"), Name),
        (format!("example com+530d903a+{base}"), Name),
        (format!("example\u{a0}com+530d903a+{base}"), Name),
        (format!("example\u{85}com+530d903a+{base}"), Name),
        (format!("example\x01com+530d903a+{base}"), Name),
        (format!("{}+530d903a+{base}", "n".repeat(256)), Name),
        ("example.com/foo+530d903a+".to_owned(), Key),
        (format!("example.com/foo+530d903a+{base}="), Key),
        (format!("example.com/foo+530d903a+{base}\n"), Key),
        (
            "example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k".to_owned(),
            Kind { kind: 6 },
        ),
        (
            "example.com/foo+530d903a+AekyeRrm".to_owned(),
            Length { bytes: 5 },
        ),
        (
            format!("example.com/fop+530d903a+{base}"),
            other(IdMismatch {
                want: 0,
                got: 0x530d_903a,
            }),
        ),
    ] {
        let got = text.parse::<Vkey>().unwrap_err();
        if let (IdMismatch { got: is, .. }, IdMismatch { got: should, .. }) = (&got, &error) {
            assert_eq!(is, should);
        } else {
            assert_eq!(got, error, "{text}");
        }
    }
}

#[test]
fn gos_note_is_opened_with_one_key_or_both() {
    let note = format!("{GO_TEXT}\n{PETER_LINE}{ENOCH_LINE}");
    let (peter, enoch): (Vkey, Vkey) = (PETER.parse().unwrap(), ENOCH.parse().unwrap());
    let opened = open(
        note.as_bytes(),
        &[peter.clone(), enoch.clone()],
        &RingVerifier,
    )
    .unwrap();
    assert_eq!(opened.text(), GO_TEXT);
    assert_eq!((opened.verified().len(), opened.unknown().len()), (2, 0));
    let opened = open(note.as_bytes(), std::slice::from_ref(&enoch), &RingVerifier).unwrap();
    assert!(opened.by(&enoch).is_some());
    assert!(opened.by(&peter).is_none());
    assert_eq!(
        opened.unknown().first().map(|line| line.name.as_str()),
        Some("PeterNeumann")
    );
    assert_eq!(
        Note::parse(note.as_bytes()).unwrap().bytes(),
        note.as_bytes()
    );
    assert_eq!(
        open(note.as_bytes(), &[], &RingVerifier),
        Err(NoteError::NoKnownSignature)
    );
}

#[test]
fn a_known_keys_wrong_signature_rejects_the_whole_note() {
    let both = signed("text\n", &[("a", 1), ("b", 2)]);
    let known = [
        vkey("a", KeyKind::Ed25519, 1),
        vkey("b", KeyKind::Ed25519, 2),
    ];
    let mut wrong = both.clone();
    wrong.signatures[1].bytes[0] ^= 1;
    let refused = NoteError::WrongSignature {
        name: "b".to_owned(),
        id: known[1].id(),
    };
    assert_eq!(wrong.open(&known, &RingVerifier), Err(refused.clone()));
    assert!(
        wrong.open(&known[..1], &RingVerifier).is_ok(),
        "b is not known"
    );
    let mut short = both.clone();
    short.signatures[1].bytes.pop();
    assert_eq!(short.open(&known, &RingVerifier), Err(refused));
    let mut text = both;
    text.text = "Text\n".to_owned();
    assert!(matches!(
        text.open(&known, &RingVerifier),
        Err(NoteError::WrongSignature { .. })
    ));
}

#[test]
fn who_signs_twice_counts_once_and_only_the_first_line_counts() {
    let mut note = signed("text\n", &[("a", 1)]);
    let mut second = note.signatures[0].clone();
    second.bytes[0] ^= 1;
    note.signatures.push(second);
    let known = [vkey("a", KeyKind::Ed25519, 1)];
    let opened = note.open(&known, &RingVerifier).unwrap();
    assert_eq!((opened.verified().len(), opened.unknown().len()), (1, 0));
    note.signatures.swap(0, 1);
    assert!(matches!(
        note.open(&known, &RingVerifier),
        Err(NoteError::WrongSignature { .. })
    ));
}

#[test]
fn a_name_or_an_id_alone_makes_no_key() {
    let mut note = signed("text\n", &[("a", 1)]);
    assert_eq!(
        note.open(&[vkey("a", KeyKind::Ed25519, 2)], &RingVerifier),
        Err(NoteError::NoKnownSignature)
    );
    assert_eq!(
        note.open(&[vkey("a", KeyKind::Cosignature, 1)], &RingVerifier),
        Err(NoteError::NoKnownSignature)
    );
    note.signatures[0].name = "b".to_owned();
    assert_eq!(
        note.open(&[vkey("a", KeyKind::Ed25519, 1)], &RingVerifier),
        Err(NoteError::NoKnownSignature)
    );
}

#[test]
fn two_known_keys_of_one_name_and_id_are_ambiguous() {
    let note = signed("text\n", &[("a", 1)]);
    let right = vkey("a", KeyKind::Ed25519, 1);
    // A collision of ids, which takes an attacker 2^32 tries.
    let mut collides = vkey("a", KeyKind::Ed25519, 2);
    collides.id = right.id;
    assert_eq!(
        note.open(&[right.clone(), collides], &RingVerifier),
        Err(NoteError::AmbiguousKey {
            name: "a".to_owned(),
            id: right.id
        })
    );
    assert!(
        note.open(&[right.clone(), right], &RingVerifier).is_ok(),
        "the same key twice is one"
    );
}

#[test]
fn what_is_no_note_is_refused() {
    use NoteError::{NoSplit, NotText, SignatureLine, TooLarge, TooManySignatures, Unterminated};
    let line = "— a AAAAAAA=\n";
    let lines = |count: usize| format!("t\n\n{}", line.repeat(count));
    for (bytes, error) in [
        (b"".to_vec(), NoSplit),
        (b"text\n".to_vec(), NoSplit),
        (format!("text\n{line}").into_bytes(), NoSplit),
        (b"text\n\n".to_vec(), Unterminated),
        (
            format!("text\n\n{}", line.trim_end()).into_bytes(),
            Unterminated,
        ),
        (format!("text\n\n{line}\n").into_bytes(), Unterminated),
        (
            format!("text\n\n{line}more\n").into_bytes(),
            SignatureLine { line: 1 },
        ),
        (
            b"text\n\n- a AAAAAAA=\n".to_vec(),
            SignatureLine { line: 0 },
        ),
        ("t\n\n—a AAAAAAA=\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a  AAAAAAA=\n".into(), SignatureLine { line: 0 }),
        ("t\n\n—  AAAAAAA=\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a+b AAAAAAA=\n".into(), SignatureLine { line: 0 }),
        (
            "t\n\n— a\u{2003}b AAAAAAA=\n".into(),
            SignatureLine { line: 0 },
        ),
        ("t\n\n— a AAAA\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a AAAAAA==\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a AAAAAAA\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a AAAAAAB=\n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a AAAAAAA= \n".into(), SignatureLine { line: 0 }),
        ("t\n\n— a AAAA_AA=\n".into(), SignatureLine { line: 0 }),
        (b"t\r\n\n".to_vec(), NotText { at: 1 }),
        (b"t\xff\n\n".to_vec(), NotText { at: 1 }),
        (b"t\0\n\n".to_vec(), NotText { at: 1 }),
        (lines(101).into_bytes(), TooManySignatures),
        (
            vec![b'a'; NOTE_BYTES_MAX + 1],
            TooLarge {
                bytes: NOTE_BYTES_MAX + 1,
            },
        ),
    ] {
        assert_eq!(
            Note::parse(&bytes),
            Err(error),
            "{:?}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(99)])
        );
    }
    assert_eq!(
        Note::parse(lines(100).as_bytes())
            .unwrap()
            .signatures()
            .len(),
        100
    );
}

#[test]
fn the_text_ends_at_the_last_blank_line() {
    let note = Note::parse("one\n\ntwo\n\n— a AAAAAAA=\n".as_bytes()).unwrap();
    assert_eq!(note.text(), "one\n\ntwo\n");
    let note = Note::parse("one\n\n\n— a AAAAAAA=\n".as_bytes()).unwrap();
    assert_eq!(note.text(), "one\n\n");
    let note = Note::parse("\n\n— a AAAAAAA=\n".as_bytes()).unwrap();
    assert_eq!(note.text(), "\n");
}

#[test]
fn only_a_notes_text_is_signed() {
    for text in ["", "no end", "control\x01\n", "tab\t\n"] {
        assert_eq!(Note::new(text), Err(NoteError::Text), "{text:?}");
    }
    let mut note = Note::new("text\n").unwrap();
    assert!(matches!(
        note.sign("two words", &key(1)),
        Err(NoteSignError::Name(VkeyError::Name))
    ));
}

#[test]
fn signing_again_replaces_ones_own_line_alone() {
    let mut note = signed("text\n", &[("a", 1), ("b", 2)]);
    note.sign("a", &key(1)).unwrap();
    let names: Vec<&str> = note
        .signatures()
        .iter()
        .map(|line| line.name.as_str())
        .collect();
    assert_eq!(names, ["b", "a"]);
}

#[test]
fn a_cosignature_says_its_time() {
    let mut note = signed("log\n5\nroot\n", &[("log", 1)]);
    note.add(cosignature::sign("w", &key(2), 1_700_000_000, note.text()).unwrap());
    let known = [
        vkey("log", KeyKind::Ed25519, 1),
        vkey("w", KeyKind::Cosignature, 2),
    ];
    let opened = open(&note.bytes(), &known, &RingVerifier).unwrap();
    assert_eq!(opened.by(&known[0]).unwrap().time, None);
    assert_eq!(opened.by(&known[1]).unwrap().time, Some(1_700_000_000));
    let line = &note.signatures()[1];
    assert_eq!(line.bytes.len(), cosignature::COSIGNATURE_BYTES);
    assert_eq!(Signature::parse(&line.line()), Ok(line.clone()));
    assert_eq!(
        Signature::parse_lines(line.line().as_bytes()),
        Ok(vec![line.clone()])
    );
    // Another time, another text, another length.
    for place in [7, 8, 71] {
        let mut wrong = note.clone();
        wrong.signatures[1].bytes[place] ^= 1;
        assert!(matches!(
            wrong.open(&known, &RingVerifier),
            Err(NoteError::WrongSignature { .. })
        ));
    }
}

proptest! {
    #[test]
    fn what_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..20), text in "[a-z\n]{0,12}\n", name in "[a-z.é/]{1,8}") {
        let mut id = vec![1, 2, 3, 4, 5];
        id.extend(bytes);
        let written = format!("{text}\n— {name} {}\n", text::base64(&id));
        let note = Note::parse(written.as_bytes()).unwrap();
        prop_assert_eq!(note.bytes(), written.into_bytes());
    }

    #[test]
    fn no_flipped_bit_of_a_signed_note_is_accepted(bit in 0_usize..1_600, seed in 1_u8..5) {
        let note = signed("log.example/a\n5\nroot\n", &[("log.example/a", seed)]);
        let mut bytes = note.bytes();
        let place = bit / 8 % bytes.len();
        bytes[place] ^= 1 << (bit % 8);
        let known = [vkey("log.example/a", KeyKind::Ed25519, seed)];
        if let Ok(opened) = open(&bytes, &known, &RingVerifier) {
            prop_assert!(false, "accepted as {opened:?}");
        }
    }
}
