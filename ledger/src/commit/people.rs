//! Whose signatures count, since when, until when, and for which paths: from the trust root alone.
//!
//! A person's key counts while it stands in the trust root; a new root that leaves it out revokes it. Its window and an
//! OpenPGP key's own end are compared with the time that the caller gives (the newest cosignature's), never with a time
//! that the commit or its signature names.

use std::collections::BTreeSet;

use super::limits::KEYS_MAX;
use super::openpgp::OpenPgpKey;
use super::paths::Paths;
use super::sshsig::SshKey;
use crate::time::Time;
use crate::trust::Person;

/// The people of one trust root, with their keys read.
#[derive(Debug, Clone, Default)]
pub struct People {
    people: Vec<Member>,
    pub(super) ssh: Vec<Held<SshKey>>,
    pub(super) openpgp: Vec<Held<OpenPgpKey>>,
}

/// A person whose signatures count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name.
    pub name: String,
    /// What the person may change.
    pub paths: Paths,
    /// It is the forge, whose key counts for clean merges only.
    pub forge: bool,
}

/// A key, whose it is and when it counts.
#[derive(Debug, Clone)]
pub(super) struct Held<K> {
    pub(super) key: K,
    person: usize,
    window: Window,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    after: Option<u64>,
    before: Option<u64>,
}

/// A person's entry that can not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("person {person:?}: {problem}")]
pub struct PersonMistake {
    /// The person.
    pub person: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl People {
    /// Reads the people of a trust root.
    ///
    /// # Errors
    /// The first entry that can not be used: a person whose key is not understood must not be overlooked.
    pub fn read(listed: &[Person]) -> Result<Self, PersonMistake> {
        let mut people = Self::default();
        let mut known = BTreeSet::new();
        for (number, person) in listed.iter().enumerate() {
            let mistake = |problem| PersonMistake {
                person: person.name.clone(),
                problem,
            };
            let paths = Paths::read(person.paths.iter().map(String::as_str)).map_err(mistake)?;
            people.people.push(Member {
                name: person.name.clone(),
                paths,
                forge: person.forge,
            });
            for listed in &person.keys {
                let window = Window {
                    after: listed.valid_after.map(Time::seconds),
                    before: listed.valid_before.map(Time::seconds),
                };
                let names = people.add(number, window, &listed.key).map_err(mistake)?;
                for name in names {
                    if !known.insert(name) {
                        return Err(mistake("a key that stands twice"));
                    }
                }
                if known.len() > KEYS_MAX {
                    return Err(mistake("more than 10,000 keys of all people together"));
                }
            }
        }
        Ok(people)
    }

    /// Adds a key; returns the fingerprints of all that may sign with it.
    fn add(
        &mut self,
        person: usize,
        window: Window,
        text: &str,
    ) -> Result<Vec<String>, &'static str> {
        if text.trim_start().starts_with("-----BEGIN PGP") {
            let keys = OpenPgpKey::read(text)?;
            let names = keys.iter().map(OpenPgpKey::fingerprint).collect();
            let held = keys.into_iter().map(|key| Held {
                key,
                person,
                window,
            });
            self.openpgp.extend(held);
            Ok(names)
        } else {
            let key = SshKey::read(text)?;
            let names = vec![key.fingerprint()];
            self.ssh.push(Held {
                key,
                person,
                window,
            });
            Ok(names)
        }
    }

    /// Whose a key is.
    pub(super) fn person<K>(&self, held: &Held<K>) -> &Member {
        &self.people[held.person]
    }
}

impl<K> Held<K> {
    /// Whether the trust root lets it count at `time`.
    pub(super) fn counts_at(&self, time: u64) -> Result<(), &'static str> {
        if self.window.after.is_some_and(|after| time < after) {
            return Err("it is before the trust root's validAfter");
        }
        if self.window.before.is_some_and(|before| time >= before) {
            return Err("it is past the trust root's validBefore");
        }
        Ok(())
    }
}
