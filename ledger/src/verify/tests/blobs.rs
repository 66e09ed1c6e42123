//! What a statement's manifest and blobs must be (check 8).

use std::collections::BTreeSet;

use super::*;
use crate::limits::APPS_BYTES_MAX;

pub(super) fn blob(n: u64) -> Vec<u8> {
    format!("{{\"n\":{n}}}").into_bytes()
}

pub(super) fn manifest() -> Manifest {
    let lines = (0..300)
        .map(|n| {
            let id = ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "x".into(),
                name: format!("c{n}"),
            };
            let blob = blob(n);
            let content = Content::Plain {
                sha256: Digest::of(&blob),
            };
            let bytes = blob.len() as u64;
            Line::Object(ObjectLine {
                id,
                app: "cart".into(),
                commit: "c".into(),
                wave: 0,
                bytes,
                content,
            })
        })
        .collect();
    let app = AppEntry {
        name: "cart".into(),
        commit: "c".into(),
        depends_on: Vec::new(),
        exclusive: false,
        health_rules: Vec::new(),
    };
    Manifest::build(lines, vec![app]).unwrap()
}

pub(super) fn blobs(manifest: &Manifest) -> BTreeMap<Digest, Vec<u8>> {
    let sections = manifest
        .sections()
        .iter()
        .map(|section| section.bytes().to_vec());
    sections
        .chain([manifest.apps_bytes().to_vec()])
        .map(|bytes| (Digest::of(&bytes), bytes))
        .collect()
}

/// The second statement of its cluster, with that manifest.
fn statement_of(manifest: Digest) -> VerifiedStatement {
    let first = seal(&desired(1, None));
    let second = seal(&Desired {
        manifest,
        ..desired(2, Some(&first))
    });
    check(&known(), &[first, second]).unwrap()
}

fn assembled(
    list: &[u8],
    blobs: &BTreeMap<Digest, Vec<u8>>,
) -> Result<VerifiedManifest, &'static str> {
    let statement = statement_of(Digest::of(list));
    assemble(statement, list, |digest| blobs.get(digest)).map_err(|refusal| refusal.code())
}

#[test]
fn a_section_list_names_all_that_must_be_fetched() {
    let manifest = manifest();
    let statement = statement_of(Digest::of(manifest.list_bytes()));
    let verified = sections(statement, manifest.list_bytes()).unwrap();
    let named: BTreeSet<Digest> = verified.blobs().copied().collect();
    let needed: BTreeSet<Digest> = blobs(&manifest).into_keys().collect();
    assert_eq!(named, needed);
}

#[test]
fn a_manifest_is_assembled_and_completed() {
    let manifest = manifest();
    let verified = assembled(manifest.list_bytes(), &blobs(&manifest)).unwrap();
    assert_eq!(verified.lines().len(), 300);
    assert_eq!(verified.apps().as_slice().len(), 1);
    let seen: BTreeMap<Digest, Checked> = (0..300)
        .map(|n| {
            check_blob(&Digest::of(&blob(n)), blob(n).len() as u64, blob(n))
                .unwrap()
                .checked()
        })
        .map(|checked| (*checked.digest(), checked))
        .collect();
    let state = complete(verified, |digest| seen.get(digest).copied()).unwrap();
    assert_eq!(state.generation(), 2);
}

#[test]
fn after_another_manifest_only_what_it_lacks_is_read_and_the_same_comes_out() {
    let line = |n: u64, content: u64| {
        Line::Object(ObjectLine {
            app: "cart".into(),
            bytes: 1,
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            content: Content::Plain {
                sha256: Digest::of(&content.to_be_bytes()),
            },
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "default".into(),
                name: format!("m{n}"),
            },
            wave: 0,
        })
    };
    let build = |lines: Vec<Line>| {
        let app = AppEntry {
            name: "cart".into(),
            commit: "c".into(),
            depends_on: Vec::new(),
            exclusive: false,
            health_rules: Vec::new(),
        };
        Manifest::build(lines, vec![app]).unwrap()
    };
    let old = build((0..1000).map(|n| line(n, n)).collect());
    let changes: [(&str, Vec<Line>); 4] = [
        ("none", (0..1000).map(|n| line(n, n)).collect()),
        (
            "one line",
            (0..1000)
                .map(|n| line(n, if n == 7 { 0 } else { n }))
                .collect(),
        ),
        ("fewer sections", (0..100).map(|n| line(n, n)).collect()),
        ("more sections", (0..3000).map(|n| line(n, n)).collect()),
    ];
    for (what, lines) in changes {
        let new = build(lines);
        let read = |manifest: &Manifest, before, asked: &mut usize| {
            let blobs = blobs(manifest);
            sections(statement_of(manifest.digest()), manifest.list_bytes())
                .unwrap()
                .assemble_after(before, |digest| {
                    *asked += 1;
                    blobs.get(digest).cloned()
                })
                .unwrap()
        };
        let (mut alone, mut after) = (0, 0);
        let before = read(&old, None, &mut 0);
        let want = read(&new, None, &mut alone);
        assert_eq!(read(&new, Some(before), &mut after), want, "{what}");
        assert_eq!(
            alone,
            blobs(&new).len(),
            "{what}: all sections, and the apps"
        );
        let changed = Manifest::diff_sections(old.list(), new.list()).len();
        assert_eq!(
            after,
            changed + 1,
            "{what}: the sections that differ, and the apps"
        );
    }
}

#[test]
fn another_section_list_than_the_signed_one_is_refused() {
    let manifest = manifest();
    let other = SectionList {
        lines: 0,
        sections: Vec::new(),
        ..manifest.list().clone()
    }
    .bytes();
    let refusal = sections(statement_of(manifest.digest()), &other).unwrap_err();
    assert_eq!(refusal.code(), "MANIFEST_MISMATCH");
}

#[test]
fn missing_and_tampered_sections_and_apps_are_refused() {
    let manifest = manifest();
    for digest in blobs(&manifest).into_keys() {
        let mut missing = blobs(&manifest);
        missing.remove(&digest);
        assert_eq!(
            assembled(manifest.list_bytes(), &missing),
            Err("BLOB_MISSING")
        );
        let mut tampered = blobs(&manifest);
        tampered.entry(digest).and_modify(|bytes| bytes[3] ^= 1);
        assert_eq!(
            assembled(manifest.list_bytes(), &tampered),
            Err("BLOB_TAMPERED")
        );
    }
    let mut long = blobs(&manifest);
    long.entry(manifest.list().sections[0].digest)
        .and_modify(|bytes| bytes.push(b'\n'));
    assert_eq!(assembled(manifest.list_bytes(), &long), Err("BLOB_LENGTH"));
}

#[test]
fn a_section_with_another_number_of_lines_is_refused() {
    let manifest = manifest();
    let mut list = manifest.list().clone();
    list.sections[0].lines += 1;
    list.sections[1].lines -= 1;
    assert_eq!(
        assembled(&list.bytes(), &blobs(&manifest)),
        Err("MANIFEST_MALFORMED")
    );
}

#[test]
fn a_section_in_another_place_is_refused() {
    let manifest = manifest();
    let mut list = manifest.list().clone();
    let [first, second] = list.sections.as_mut_slice() else {
        panic!("two sections")
    };
    std::mem::swap(&mut first.prefix, &mut second.prefix);
    list.sections.swap(0, 1);
    assert_eq!(
        assembled(&list.bytes(), &blobs(&manifest)),
        Err("MANIFEST_MALFORMED")
    );
}

#[test]
fn an_object_of_no_app_is_refused() {
    let manifest = manifest();
    let apps = br#"{"apps":[]}"#.to_vec();
    let list = SectionList {
        apps: Digest::of(&apps),
        ..manifest.list().clone()
    };
    let mut blobs = blobs(&manifest);
    blobs.insert(Digest::of(&apps), apps);
    assert_eq!(assembled(&list.bytes(), &blobs), Err("MANIFEST_MALFORMED"));
}

#[test]
fn a_blob_has_the_signed_length_and_digest() {
    let digest = Digest::of(b"abc");
    assert_eq!(check_blob(&digest, 3, b"abc").unwrap().into_bytes(), b"abc");
    assert_eq!(
        check_blob(&digest, 4, b"abc").unwrap_err().code(),
        "BLOB_LENGTH"
    );
    assert_eq!(
        check_blob(&digest, 3, b"abd").unwrap_err().code(),
        "BLOB_TAMPERED"
    );
}

#[test]
fn a_state_is_complete_only_with_every_blob_at_its_signed_length() {
    let manifest = manifest();
    let verified = assembled(manifest.list_bytes(), &blobs(&manifest)).unwrap();
    let all = |digest: &Digest| {
        let bytes = (0..300)
            .map(blob)
            .find(|bytes| Digest::of(bytes) == *digest)?;
        check_blob(digest, bytes.len() as u64, bytes)
            .ok()
            .map(|blob| blob.checked())
    };
    let last = Digest::of(&blob(299));
    let code = |checked: &dyn Fn(&Digest) -> Option<Checked>| {
        complete(verified.clone(), checked).unwrap_err().code()
    };
    assert_eq!(
        code(&|digest| all(digest).filter(|_| *digest != last)),
        "BLOB_MISSING"
    );
    assert_eq!(
        code(&|_| all(&last)),
        "BLOB_MISSING",
        "another blob's proof"
    );
    let mut lines: Vec<Line> = manifest
        .sections()
        .iter()
        .flat_map(Section::lines)
        .cloned()
        .collect();
    if let Some(Line::Object(object)) = lines.first_mut() {
        object.bytes += 1;
    }
    let apps = verified.apps().as_slice().to_vec();
    let lying = Manifest::build(lines, apps).unwrap();
    let verified = assembled(lying.list_bytes(), &blobs(&lying)).unwrap();
    assert_eq!(complete(verified, all).unwrap_err().code(), "BLOB_LENGTH");
}

#[test]
fn the_blob_with_the_apps_may_be_as_long_as_its_bound_and_no_longer() {
    let code = |length: usize| {
        let bytes = vec![b' '; length];
        check_apps(&Digest::of(&bytes), &bytes).unwrap_err().code()
    };
    assert_eq!(code(APPS_BYTES_MAX + 1), "BLOB_LENGTH");
    assert_ne!(code(APPS_BYTES_MAX), "BLOB_LENGTH");
}
