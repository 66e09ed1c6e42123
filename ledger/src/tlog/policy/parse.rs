//! Reading a policy, line by line.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Group, Member, POLICY_BYTES_MAX, POLICY_LINES_MAX, Policy, PolicyError, PolicyLog,
    PolicyMistake, Witness,
};
use crate::key::PublicKey;
use crate::tlog::note::{KeyKind, Vkey};
use crate::tlog::text;

pub(super) fn policy(bytes: &[u8]) -> Result<Policy, PolicyError> {
    if bytes.len() > POLICY_BYTES_MAX {
        return Err(PolicyError::TooLarge { bytes: bytes.len() });
    }
    let written = std::str::from_utf8(bytes).map_err(|error| PolicyError::NotText {
        at: error.valid_up_to(),
    })?;
    if let Some(at) = written.find(|c| (c < ' ' && c != '\n' && c != '\t') || c == '\x7f') {
        return Err(PolicyError::NotText { at });
    }
    let lines = match written.strip_suffix('\n') {
        Some(lines) => lines,
        None if written.is_empty() => return Err(PolicyError::NoQuorum),
        None => return Err(PolicyError::Unterminated),
    };
    let mut reader = Reader::default();
    for (line, written) in (1..).zip(lines.split('\n')) {
        reader
            .line(line, written)
            .map_err(|mistake| PolicyError::Line { line, mistake })?;
    }
    let quorum = reader.quorum.ok_or(PolicyError::NoQuorum)?;
    Ok(Policy {
        logs: reader.logs,
        witnesses: reader.witnesses,
        groups: reader.groups,
        quorum,
    })
}

#[derive(Default)]
struct Reader<'t> {
    logs: Vec<PolicyLog>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Option<Member>,
    names: BTreeMap<&'t str, Member>,
    /// The line of each key, of logs and of witnesses: neither may stand for the other.
    keys: BTreeMap<PublicKey, usize>,
    grouped: BTreeSet<Member>,
    /// The group in which each party is counted.
    parties: BTreeMap<String, usize>,
}

impl<'t> Reader<'t> {
    fn line(&mut self, line: usize, written: &'t str) -> Result<(), PolicyMistake> {
        let words: Vec<&str> = written
            .split([' ', '\t'])
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => Ok(()),
            [comment, ..] if comment.starts_with('#') => Ok(()),
            ["log", vkey, url @ ..] => self.log(line, vkey, url),
            ["witness", name, vkey, url @ ..] => self.witness(line, name, vkey, url),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            ["log" | "witness" | "group" | "quorum", ..] => Err(PolicyMistake::Words),
            _ => Err(PolicyMistake::Keyword),
        }
    }

    fn log(&mut self, line: usize, vkey: &str, url: &[&str]) -> Result<(), PolicyMistake> {
        let url = optional(url)?;
        room(&self.logs)?;
        let vkey = self.key(line, vkey, KeyKind::Ed25519)?;
        self.logs.push(PolicyLog { vkey, url });
        Ok(())
    }

    fn witness(
        &mut self,
        line: usize,
        name: &'t str,
        vkey: &str,
        url: &[&str],
    ) -> Result<(), PolicyMistake> {
        let url = optional(url)?;
        room(&self.witnesses)?;
        let vkey = self.key(line, vkey, KeyKind::Cosignature)?;
        self.name(name, Member::Witness(self.witnesses.len()))?;
        self.witnesses.push(Witness {
            name: name.to_owned(),
            vkey,
            url,
        });
        Ok(())
    }

    fn group(
        &mut self,
        name: &'t str,
        threshold: &str,
        members: &[&str],
    ) -> Result<(), PolicyMistake> {
        if members.is_empty() {
            return Err(PolicyMistake::Words);
        }
        room(&self.groups)?;
        let group = self.groups.len();
        let mut found = Vec::with_capacity(members.len());
        let mut parties = BTreeSet::new();
        let mut groups = 0;
        for member in members {
            let place = self.find(member)?;
            if !self.grouped.insert(place) {
                return Err(PolicyMistake::InTwoGroups {
                    name: (*member).to_owned(),
                });
            }
            match place {
                Member::Witness(place) => {
                    if let Some(witness) = self.witnesses.get(place) {
                        let party = witness.vkey.name();
                        if *self.parties.entry(party.to_owned()).or_insert(group) != group {
                            return Err(PolicyMistake::PartyInTwoGroups {
                                party: party.to_owned(),
                            });
                        }
                        parties.insert(party);
                    }
                }
                Member::Group(_) => groups += 1,
            }
            found.push(place);
        }
        let parties = parties.len() + groups;
        let threshold = match threshold {
            "any" => 1,
            "all" => found.len(),
            number => text::decimal(number)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| *number > 0)
                .ok_or(PolicyMistake::Threshold)?,
        };
        if threshold > parties {
            return Err(PolicyMistake::ThresholdTooHigh { threshold, parties });
        }
        self.name(name, Member::Group(group))?;
        self.groups.push(Group {
            name: name.to_owned(),
            threshold,
            members: found,
        });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), PolicyMistake> {
        if self.quorum.is_some() {
            return Err(PolicyMistake::SecondQuorum);
        }
        if name == "none" {
            return Err(PolicyMistake::QuorumNone);
        }
        self.quorum = Some(self.find(name)?);
        Ok(())
    }

    fn key(&mut self, line: usize, vkey: &str, kind: KeyKind) -> Result<Vkey, PolicyMistake> {
        let vkey: Vkey = vkey.parse()?;
        if vkey.kind() != kind {
            return Err(PolicyMistake::KeyKind);
        }
        match self.keys.insert(*vkey.key(), line) {
            Some(line) => Err(PolicyMistake::DuplicateKey { line }),
            None => Ok(vkey),
        }
    }

    fn name(&mut self, name: &'t str, member: Member) -> Result<(), PolicyMistake> {
        if name == "none" {
            return Err(PolicyMistake::NoneIsReserved);
        }
        match self.names.insert(name, member) {
            Some(_) => Err(PolicyMistake::DuplicateName {
                name: name.to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn find(&self, name: &str) -> Result<Member, PolicyMistake> {
        self.names
            .get(name)
            .copied()
            .ok_or_else(|| PolicyMistake::UnknownName {
                name: name.to_owned(),
            })
    }
}

fn optional(words: &[&str]) -> Result<Option<String>, PolicyMistake> {
    match words {
        [] => Ok(None),
        [word] => Ok(Some((*word).to_owned())),
        _ => Err(PolicyMistake::Words),
    }
}

fn room<T>(lines: &[T]) -> Result<(), PolicyMistake> {
    if lines.len() < POLICY_LINES_MAX {
        Ok(())
    } else {
        Err(PolicyMistake::TooMany)
    }
}
