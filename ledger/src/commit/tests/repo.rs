//! A repository in memory, with people who sign in it.

use std::collections::BTreeMap;

use ssh_key::private::{Ed25519Keypair, KeypairData, PrivateKey};
use ssh_key::{HashAlg, LineEnding, SshSig};

use crate::commit::{
    AuthorRefusal, Authored, HashKind, ObjectKind, Oid, People, authored, frame, prove,
};
use crate::trust::{Person, PersonKey};

/// The time of all judgements that do not ask for another.
pub(crate) const NOW: u64 = 1_800_000_000;

/// What a commit holds: the content of each path, by one byte.
pub(crate) type Files = BTreeMap<String, u8>;

/// `a/b=1 c=2`
pub(crate) fn files(text: &str) -> Files {
    text.split_whitespace()
        .map(|file| {
            let (path, content) = file.split_once('=').unwrap();
            (path.to_owned(), content.parse().unwrap())
        })
        .collect()
}

/// A person's key.
pub(crate) struct Key(PrivateKey);

impl Key {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519Keypair::from_seed(&[seed; 32]);
        Self(PrivateKey::new(KeypairData::Ed25519(pair), "").unwrap())
    }

    pub(crate) fn public(&self) -> String {
        self.0.public_key().to_openssh().unwrap()
    }

    pub(crate) fn sign(&self, namespace: &str, payload: &[u8]) -> String {
        SshSig::sign(&self.0, namespace, HashAlg::Sha512, payload)
            .unwrap()
            .to_pem(LineEnding::LF)
            .unwrap()
    }
}

/// A person with one key, as a trust root lists one.
pub(crate) fn person(name: &str, key: &Key, paths: &[&str]) -> Person {
    Person {
        name: name.to_owned(),
        keys: vec![PersonKey {
            key: key.public(),
            valid_after: None,
            valid_before: None,
        }],
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        forge: false,
    }
}

/// Objects by id.
pub(crate) struct Repo {
    pub(crate) hash: HashKind,
    pub(crate) objects: BTreeMap<Oid, (ObjectKind, Vec<u8>)>,
    pub(crate) people: Vec<Person>,
    clock: u64,
    skew: i64,
}

impl Repo {
    pub(crate) fn new(people: &[Person]) -> Self {
        Self {
            hash: HashKind::Sha1,
            objects: BTreeMap::new(),
            people: people.to_vec(),
            clock: 1_700_000_000,
            skew: 0,
        }
    }

    pub(crate) fn add(&mut self, kind: ObjectKind, raw: Vec<u8>) -> Oid {
        let id = Oid::of(self.hash, kind, &raw).unwrap();
        self.objects.insert(id, (kind, raw));
        id
    }

    pub(crate) fn tree(&mut self, files: &Files) -> Oid {
        let mut folders: BTreeMap<String, Files> = BTreeMap::new();
        let mut entries: Vec<(String, &str, Oid)> = Vec::new();
        for (path, content) in files {
            match path.split_once('/') {
                Some((folder, below)) => {
                    let folder = folders.entry(folder.to_owned()).or_default();
                    folder.insert(below.to_owned(), *content);
                }
                None => {
                    let id = Oid::from_bytes(&vec![*content; self.hash.id_bytes()]).unwrap();
                    entries.push((path.clone(), "100644", id));
                }
            }
        }
        for (name, files) in folders {
            let id = self.tree(&files);
            entries.push((name, "40000", id));
        }
        entries.sort_by_key(|(name, mode, _)| {
            format!("{name}{}", if *mode == "40000" { "/" } else { "" })
        });
        let raw = entries
            .iter()
            .flat_map(|(name, mode, id)| {
                [mode.as_bytes(), b" ", name.as_bytes(), b"\0", id.bytes()].concat()
            })
            .collect();
        self.add(ObjectKind::Tree, raw)
    }

    /// The raw commit without a signature.
    pub(crate) fn raw(&mut self, tree: Oid, parents: &[Oid]) -> String {
        self.clock += 60;
        let parents: String = parents.iter().map(|id| format!("parent {id}\n")).collect();
        let time = self.clock.saturating_add_signed(self.skew);
        let who = format!("A <a@example.org> {time} +0000");
        format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\nmessage\n")
    }

    /// Puts a signature where git puts it.
    pub(crate) fn with_signature(&self, raw: &str, armour: &str) -> Vec<u8> {
        let name = match self.hash {
            HashKind::Sha1 => "gpgsig",
            HashKind::Sha256 => "gpgsig-sha256",
        };
        let value = armour.trim_end_matches('\n').replace('\n', "\n ");
        raw.replacen("\n\n", &format!("\n{name} {value}\n\n"), 1)
            .into_bytes()
    }

    pub(crate) fn commit_tree(&mut self, tree: Oid, parents: &[Oid], key: Option<&Key>) -> Oid {
        let raw = self.raw(tree, parents);
        let raw = match key {
            Some(key) => self.with_signature(&raw, &key.sign("git", raw.as_bytes())),
            None => raw.into_bytes(),
        };
        self.add(ObjectKind::Commit, raw)
    }

    pub(crate) fn commit(&mut self, content: &str, parents: &[Oid], key: Option<&Key>) -> Oid {
        let tree = self.tree(&files(content));
        self.commit_tree(tree, parents, key)
    }

    /// The next commit's clock is wrong by so many seconds.
    pub(crate) fn skew(&mut self, seconds: i64) {
        self.skew = seconds;
    }

    pub(crate) fn people(&self) -> People {
        People::read(&self.people).unwrap()
    }

    /// The hub's judgement, and the agent's of the hub's objects: they must agree.
    pub(crate) fn judge(&self, old: Option<Oid>, new: Oid) -> Result<Authored, AuthorRefusal> {
        let people = self.people();
        let proven = prove(&people, old, new, |kind, id| self.read(kind, id), NOW);
        let all = self.framed();
        let given = authored(&people, old, new, &all, NOW);
        assert_eq!(proven.as_ref().map(|(found, _)| found), given.as_ref());
        proven.map(|(found, objects)| {
            assert_eq!(
                authored(&people, old, new, &objects, NOW).as_ref(),
                Ok(&found)
            );
            found
        })
    }

    pub(crate) fn code(&self, old: Option<Oid>, new: Oid) -> &'static str {
        match self.judge(old, new) {
            Ok(_) => "OK",
            Err(refusal) => refusal.code(),
        }
    }

    pub(crate) fn read(&self, kind: ObjectKind, id: Oid) -> Option<Vec<u8>> {
        self.objects
            .get(&id)
            .filter(|(got, _)| *got == kind)
            .map(|(_, raw)| raw.clone())
    }

    pub(crate) fn framed(&self) -> Vec<Vec<u8>> {
        let frame = |(kind, raw): &(ObjectKind, Vec<u8>)| frame(*kind, raw);
        self.objects.values().map(frame).collect()
    }
}
