use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::secret::Commitment;

fn id(kind: &str, name: &str) -> ObjectId {
    ObjectId {
        group: String::new(),
        kind: kind.into(),
        namespace: "shop".into(),
        name: name.into(),
    }
}

fn object(name: &str, content: u64) -> Line {
    Line::Object(ObjectLine {
        id: id("ConfigMap", name),
        app: "cart".into(),
        commit: "c1".into(),
        wave: 0,
        bytes: 10,
        content: Content::Plain {
            sha256: Digest::of(&content.to_be_bytes()),
        },
    })
}

fn secret() -> ObjectLine {
    ObjectLine {
        id: id("Secret", "db"),
        app: "cart".into(),
        commit: "c1".into(),
        wave: -3,
        bytes: 300,
        content: Content::Secret {
            blob: Digest::of(b"age"),
            commitment: Commitment::to(&[1; 32], b"{}"),
        },
    }
}

fn tombstone() -> Line {
    Line::Tombstone(TombstoneLine {
        id: id("Service", "old"),
        app: "cart".into(),
        commit: "c2".into(),
    })
}

fn orphan() -> Line {
    let reason = "app \"gone\" was deleted".into();
    Line::Orphan(OrphanLine {
        id: id("Service", "left"),
        app: "gone".into(),
        commit: "c2".into(),
        reason,
    })
}

fn apps() -> Vec<AppEntry> {
    vec![AppEntry {
        name: "cart".into(),
        commit: "c1".into(),
        depends_on: vec!["db".into()],
        exclusive: false,
        health_rules: vec![json!({"when": "true"})],
    }]
}

fn build(lines: Vec<Line>) -> Manifest {
    Manifest::build(lines, apps()).unwrap()
}

fn many(count: u64) -> Vec<Line> {
    (0..count).map(|n| object(&format!("c{n}"), n)).collect()
}

#[test]
fn lines_survive_and_are_canonical() {
    for line in [
        object("a\"\u{e9}", 1),
        Line::Object(secret()),
        tombstone(),
        orphan(),
    ] {
        let mut bytes = Vec::new();
        line.write(&mut bytes);
        assert_eq!(Line::parse(&bytes), Ok(line));
        let value = crate::json::parse(&bytes, &crate::json::Limits::object()).unwrap();
        assert_eq!(crate::json::canonical(&value).unwrap(), bytes);
    }
}

#[test]
fn lines_in_another_form_are_refused() {
    let mut bytes = Vec::new();
    object("a", 1).write(&mut bytes);
    let good = String::from_utf8(bytes).unwrap();
    let mut bytes = Vec::new();
    Line::Object(secret()).write(&mut bytes);
    let good_secret = String::from_utf8(bytes).unwrap();
    let refused = [
        good.replace(":", ": "),
        good.replace("\"line\":\"object\"", "\"line\":\"wish\""),
        good.replace("\"wave\":0", "\"wave\":1001"),
        good.replace("\"wave\":0", "\"wave\":0,\"x\":1"),
        good.replace("\"wave\":0", "\"wave\":-0"),
        good.replace("\"bytes\":10", "\"bytes\":0"),
        good.replace("\"bytes\":10", "\"bytes\":3145729"),
        good.replace("\"app\":\"cart\"", "\"app\":\"\""),
        good.replace("\"commit\":\"c1\"", "\"commit\":\"\""),
        good.replace("ConfigMap", "Secret"),
        good.replace("\"sha256\":", "\"blob\":"),
        good.replace("\"name\":\"a\"", "\"name\":\"\""),
        good_secret.replace("Secret", "ConfigMap"),
        good_secret.replace("\"commitment\":", "\"sha256\":"),
    ];
    for text in refused {
        assert!(Line::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn a_manifest_is_cut_only_above_256_lines() {
    let sections = |count| build(many(count)).sections().len();
    assert_eq!(
        (sections(0), sections(1), sections(256), sections(257)),
        (0, 1, 1, 2)
    );
    assert_eq!(build(many(256)).sections()[0].prefix().as_str(), "");
}

#[test]
fn two_lines_for_one_identity_are_refused_whatever_they_say() {
    let mut twin = tombstone();
    if let Line::Tombstone(line) = &mut twin {
        line.id = id("ConfigMap", "a");
    }
    let twice = Manifest::build(vec![object("a", 1), twin], apps());
    assert_eq!(
        twice,
        Err(ManifestError::IdentityTwice(Box::new(id("ConfigMap", "a"))))
    );
}

#[test]
fn an_object_belongs_to_one_of_the_apps_and_an_app_stands_once() {
    assert!(matches!(
        Manifest::build(vec![object("a", 1)], Vec::new()),
        Err(ManifestError::AppUnknown { .. })
    ));
    assert!(Manifest::build(vec![orphan(), tombstone()], Vec::new()).is_ok());
    let twice = Manifest::build(Vec::new(), [apps(), apps()].concat());
    assert_eq!(twice, Err(ManifestError::AppTwice("cart".into())));
}

#[test]
fn the_apps_survive() {
    let manifest = build(Vec::new());
    assert_eq!(
        Apps::parse(manifest.apps_bytes()).unwrap().as_slice(),
        apps()
    );
    assert_eq!(manifest.list().apps, Digest::of(manifest.apps_bytes()));
    assert!(
        Apps::parse(br#"{"apps":[{"name":"b","commit":"c"},{"name":"a","commit":"c"}]}"#).is_err()
    );
    assert!(Apps::parse(br#"{"apps":[{"name":"a","commit":"c","later":1}]}"#).is_ok());
}

#[test]
fn section_lists_that_lie_are_refused() {
    let manifest = build(many(600));
    let good = String::from_utf8(manifest.list_bytes().to_vec()).unwrap();
    assert_eq!(
        SectionList::parse(good.as_bytes()).unwrap(),
        *manifest.list()
    );
    let change = |change: &dyn Fn(&mut SectionList)| {
        let mut list = manifest.list().clone();
        change(&mut list);
        SectionList::parse(&list.bytes())
    };
    assert!(change(&|list| list.lines += 1).is_err(), "another sum");
    assert!(
        change(&|list| list.sections.swap(0, 1)).is_err(),
        "another order"
    );
    assert!(
        change(&|list| list.sections[1].prefix = list.sections[0].prefix.clone()).is_err(),
        "a prefix twice"
    );
    assert!(
        change(&|list| list.sections[0].prefix = Prefix::default()).is_err(),
        "one inside another"
    );
    assert!(
        change(&|list| list.sections[0].prefix = serde_json::from_str("\"2\"").unwrap()).is_err(),
        "no bits"
    );
    assert!(
        change(&|list| list.sections[0].bytes = 1 << 30).is_err(),
        "too large"
    );
    let over = change(&|list| {
        list.lines += 300;
        list.sections[0].lines += 300;
    });
    assert!(over.is_err(), "a section above 256 lines");
    let empty = change(&|list| {
        list.lines -= list.sections[0].lines;
        list.sections[0].lines = 0;
    });
    assert!(empty.is_err(), "an empty section");
    assert!(SectionList::parse(good.replace("manifest/v1", "manifest/v2").as_bytes()).is_err());
    assert!(
        SectionList::parse(good.replace("\"lines\":600", "\"lines\": 600").as_bytes()).is_err()
    );
}

#[test]
fn a_list_that_is_cut_without_need_is_refused() {
    let one = |prefix: &str, lines| SectionRef {
        bytes: 1,
        digest: Digest::of(prefix.as_bytes()),
        lines,
        prefix: Prefix::parse(prefix).unwrap(),
    };
    let list = |sections: Vec<SectionRef>| {
        let lines = sections.iter().map(|section| section.lines).sum();
        SectionList::parse(
            &SectionList {
                apps: Digest::default(),
                lines,
                sections,
            }
            .bytes(),
        )
    };
    assert!(list(vec![one("0", 200), one("1", 57)]).is_ok());
    assert!(list(vec![one("0", 200), one("1", 56)]).is_err());
    assert!(list(vec![one("0", 256)]).is_err());
    assert!(list(vec![one("00", 200), one("01", 57), one("1", 1)]).is_ok());
    assert!(list(vec![one("00", 100), one("01", 57), one("1", 256)]).is_err());
}

#[test]
fn sections_that_lie_are_refused() {
    let manifest = build(many(600));
    let section = &manifest.sections()[0];
    let parse = |bytes: &[u8]| Section::parse(section.prefix(), bytes);
    assert_eq!(parse(section.bytes()).unwrap(), *section);
    let text = String::from_utf8(section.bytes().to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        parse(text.trim_end().as_bytes()).is_err(),
        "no last line feed"
    );
    assert!(
        parse(format!("{text}\n").as_bytes()).is_err(),
        "an empty line"
    );
    assert!(
        parse(format!("{}\n{text}", lines[0]).as_bytes()).is_err(),
        "a line twice"
    );
    let mut turned = lines.clone();
    turned.swap(0, 1);
    assert!(
        parse(format!("{}\n", turned.join("\n")).as_bytes()).is_err(),
        "not sorted"
    );
    assert!(
        parse(manifest.sections()[1].bytes()).is_err(),
        "another section's lines"
    );
    assert!(parse(b"").is_err(), "nothing");
}

#[test]
fn more_lines_than_a_section_has_are_refused() {
    let all = build(many(600));
    let mut lines: Vec<&Line> = all.sections().iter().flat_map(Section::lines).collect();
    lines.sort_by_key(|line| line.id().clone());
    let mut bytes = Vec::new();
    for line in lines {
        line.write(&mut bytes);
        bytes.push(b'\n');
    }
    let refused = Section::parse(&Prefix::default(), &bytes);
    assert_eq!(
        refused,
        Err(ManifestError::Section {
            prefix: String::new(),
            problem: "has too many lines"
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn a_manifest_depends_on_the_set_of_lines_alone(count in 0_u64..900, seed in any::<u64>()) {
        let mut shuffled = many(count);
        shuffled.sort_by_key(|line| Digest::of(format!("{seed}{}", line.id()).as_bytes()));
        prop_assert_eq!(build(shuffled), build(many(count)));
    }

    #[test]
    fn no_section_has_more_than_256_lines_and_all_are_read_back(count in 0_u64..1200) {
        let manifest = build(many(count));
        let list = SectionList::parse(manifest.list_bytes()).unwrap();
        let mut names = BTreeSet::new();
        for (named, section) in list.sections.iter().zip(manifest.sections()) {
            prop_assert!((1..=256).contains(&section.lines().len()));
            prop_assert_eq!(named.digest, Digest::of(section.bytes()));
            prop_assert_eq!(&Section::parse(&named.prefix, section.bytes()).unwrap(), section);
            names.extend(section.lines().iter().map(|line| line.id().clone()));
        }
        prop_assert_eq!(names.len() as u64, count);
        prop_assert_eq!(list.sections.len(), manifest.sections().len());
    }

    #[test]
    fn one_changed_line_changes_one_section(count in 1_u64..900, which in any::<prop::sample::Index>()) {
        let old = build(many(count));
        let mut lines = many(count);
        let which = which.index(lines.len());
        lines[which] = object(&format!("c{which}"), u64::MAX);
        let new = build(lines);
        prop_assert_ne!(old.digest(), new.digest());
        let changed = Manifest::diff_sections(old.list(), new.list());
        prop_assert_eq!(changed.len(), 1);
        prop_assert_eq!(old.list().sections.len(), new.list().sections.len());
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Section::parse(&Prefix::default(), &bytes);
        let _ = SectionList::parse(&bytes);
        let _ = Apps::parse(&bytes);
    }
}
