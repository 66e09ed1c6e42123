//! Heads out of manifests: a newly sealed one, and after a restart the newest one out of the store.

use bytes::Bytes;
use countersign_ledger::digest::Digest;
use countersign_ledger::manifest::{Line, Manifest, Section, SectionList, diff_sections};

use super::{Head, Sealed, SealedFault};

impl Head {
    /// The head of a manifest that was just sealed. `previous` is the section list of the generation before; `fresh` are
    /// the object blobs that it did not name.
    pub fn of_manifest(
        generation: u64,
        envelope: Bytes,
        manifest: &Manifest,
        previous: Option<&SectionList>,
        fresh: impl IntoIterator<Item = (Digest, Bytes)>,
    ) -> Self {
        let mut names = vec![manifest.list().apps];
        for section in manifest.sections() {
            names.push(Digest::of(section.bytes()));
            names.extend(section.lines().iter().filter_map(blob));
        }
        let mut likely = vec![(
            manifest.digest(),
            Bytes::copy_from_slice(manifest.list_bytes()),
        )];
        let changed: Vec<&str> = match previous {
            Some(previous) => diff_sections(previous, manifest.list())
                .into_iter()
                .map(|section| section.prefix.as_str())
                .collect(),
            None => manifest
                .sections()
                .iter()
                .map(|section| section.prefix().as_str())
                .collect(),
        };
        for section in manifest.sections() {
            if changed.contains(&section.prefix().as_str()) {
                likely.push((
                    Digest::of(section.bytes()),
                    Bytes::copy_from_slice(section.bytes()),
                ));
            }
        }
        if previous.is_none_or(|previous| previous.apps != manifest.list().apps) {
            likely.push((
                manifest.list().apps,
                Bytes::copy_from_slice(manifest.apps_bytes()),
            ));
        }
        Self::new(
            generation,
            envelope,
            manifest.digest(),
            likely.into_iter().chain(fresh),
            names,
        )
    }
}

fn blob(line: &Line) -> Option<Digest> {
    match line {
        Line::Object(object) => Some(*object.content.blob()),
        Line::Tombstone(_) | Line::Orphan(_) => None,
    }
}

/// The newest head of a cluster after a restart: its manifest is read back from the store, blob by blob, each checked.
/// Only section list and sections are attached.
pub async fn restore(
    sealed: &dyn Sealed,
    generation: u64,
    envelope: Bytes,
    manifest: Digest,
) -> Result<Head, SealedFault> {
    let list_bytes = read(sealed, &manifest).await?;
    let list = SectionList::parse(&list_bytes)
        .map_err(|error| SealedFault::Unreadable(format!("blob {manifest}: {error}")))?;
    let mut names = vec![list.apps];
    let mut likely = vec![(manifest, list_bytes)];
    for section in &list.sections {
        let bytes = read(sealed, &section.digest).await?;
        let parsed = Section::parse(&section.prefix, &bytes).map_err(|error| {
            SealedFault::Unreadable(format!("blob {}: {error}", section.digest))
        })?;
        names.push(section.digest);
        names.extend(parsed.lines().iter().filter_map(blob));
        likely.push((section.digest, bytes));
    }
    Ok(Head::new(generation, envelope, manifest, likely, names))
}

async fn read(sealed: &dyn Sealed, name: &Digest) -> Result<Bytes, SealedFault> {
    let bytes = sealed
        .blob(name)
        .await?
        .ok_or_else(|| SealedFault::Unreadable(format!("blob {name} is missing")))?;
    if Digest::of(&bytes) == *name {
        Ok(bytes)
    } else {
        Err(SealedFault::Unreadable(format!(
            "blob {name} has other content than its name says"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_ledger::identity::ObjectId;
    use countersign_ledger::manifest::{AppEntry, Content, ObjectLine};
    use futures::FutureExt as _;
    use futures::future::BoxFuture;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Store(BTreeMap<Digest, Bytes>);

    impl Sealed for Store {
        fn envelopes<'a>(
            &'a self,
            _: &'a str,
            _: u64,
            _: usize,
        ) -> BoxFuture<'a, Result<Vec<Bytes>, SealedFault>> {
            async { Ok(Vec::new()) }.boxed()
        }

        fn blob<'a>(
            &'a self,
            name: &'a Digest,
        ) -> BoxFuture<'a, Result<Option<Bytes>, SealedFault>> {
            let found = self.0.get(name).cloned();
            async move { Ok(found) }.boxed()
        }
    }

    fn line(n: usize, content: &str) -> Line {
        Line::Object(ObjectLine {
            id: ObjectId {
                group: String::new(),
                kind: "ConfigMap".into(),
                namespace: "shop".into(),
                name: format!("o{n}"),
            },
            app: "cart".into(),
            commit: "ab".repeat(20),
            wave: 0,
            bytes: content.len() as u64,
            content: Content::Plain {
                sha256: Digest::of(content.as_bytes()),
            },
        })
    }

    fn manifest(changed: Option<usize>) -> Manifest {
        let lines = (0..1_000)
            .map(|n| {
                line(
                    n,
                    &if changed == Some(n) {
                        "changed".to_owned()
                    } else {
                        format!("content {n}")
                    },
                )
            })
            .collect();
        let app = AppEntry {
            name: "cart".into(),
            commit: "ab".repeat(20),
            depends_on: vec![],
            exclusive: false,
            health_rules: vec![],
        };
        Manifest::build(lines, vec![app]).unwrap()
    }

    #[test]
    fn one_changed_object_attaches_the_list_its_section_and_the_object() {
        let (old, new) = (manifest(None), manifest(Some(7)));
        let fresh = Bytes::from_static(b"changed");
        let head = Head::of_manifest(
            2,
            Bytes::from_static(b"envelope"),
            &new,
            Some(old.list()),
            [(Digest::of(&fresh), fresh.clone())],
        );
        let attached: Vec<Digest> = head.attached.iter().map(|(name, _)| *name).collect();
        assert_eq!(attached.len(), 3);
        assert_eq!(attached[0], new.digest());
        assert_eq!(attached[2], Digest::of(&fresh));
        assert!(
            head.attached
                .iter()
                .map(|(_, bytes)| bytes.len())
                .sum::<usize>()
                < 200_000
        );
        assert!(head.names.binary_search(&Digest::of(b"content 8")).is_ok());
        assert!(head.names.binary_search(&Digest::of(b"content 7")).is_err());
    }

    #[tokio::test]
    async fn a_restored_head_names_what_the_sealed_one_named() {
        let manifest = manifest(None);
        let sealed = Head::of_manifest(1, Bytes::from_static(b"envelope"), &manifest, None, []);
        let mut store = Store::default();
        store.0.insert(
            manifest.digest(),
            Bytes::copy_from_slice(manifest.list_bytes()),
        );
        for section in manifest.sections() {
            store.0.insert(
                Digest::of(section.bytes()),
                Bytes::copy_from_slice(section.bytes()),
            );
        }
        let restored = restore(
            &store,
            1,
            Bytes::from_static(b"envelope"),
            manifest.digest(),
        )
        .await
        .unwrap();
        assert_eq!(restored.names, sealed.names);
        let damaged = Digest::of(manifest.sections()[0].bytes());
        store.0.insert(damaged, Bytes::from_static(b"other"));
        assert!(
            restore(
                &store,
                1,
                Bytes::from_static(b"envelope"),
                manifest.digest()
            )
            .await
            .is_err()
        );
    }
}
