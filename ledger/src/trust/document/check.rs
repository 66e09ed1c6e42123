//! Whether a trust root holds together: all that a reader relies on.

use std::collections::{BTreeMap, BTreeSet};

use super::{Level, TrustRoot, TrustRootError, log_name};
use crate::key::PublicKey;
use crate::name;
use crate::tlog::note::{KeyKind, Vkey};
use crate::tlog::policy::Policy;

impl TrustRoot {
    /// Checks all that a reader relies on.
    pub fn check(&self) -> Result<(), TrustRootError> {
        if self.version == 0 {
            return Err(TrustRootError::Version);
        }
        name::check("fleet", &self.fleet)?;
        let keys = self.root.keys.len();
        if self.root.threshold == 0 || self.root.threshold > keys {
            return Err(TrustRootError::Threshold {
                keys,
                got: self.root.threshold,
            });
        }
        let log = self.log_key()?;
        let witnesses = self.witness_policy()?;
        self.check_keys(log.as_ref(), witnesses.as_ref())?;
        for (cluster, trust) in &self.clusters {
            name::check("cluster", cluster)?;
            if self
                .sealers
                .get(&trust.environment)
                .is_none_or(Vec::is_empty)
            {
                return Err(TrustRootError::NoSealer(trust.environment.clone()));
            }
            self.check_level(cluster, trust.level)?;
        }
        self.check_people()
    }

    /// The log's key; none without a log.
    pub fn log_key(&self) -> Result<Option<Vkey>, TrustRootError> {
        let Some(log) = &self.log else {
            return Ok(None);
        };
        if log.vkey.is_empty() {
            return Err(TrustRootError::NoKey("the log".into()));
        }
        let vkey: Vkey = log.vkey.parse().map_err(TrustRootError::LogKey)?;
        if vkey.kind() != KeyKind::Ed25519 {
            return Err(TrustRootError::LogKeyKind);
        }
        let want = log_name(&self.fleet);
        if vkey.name() != want {
            let got = vkey.name().to_owned();
            return Err(TrustRootError::LogName { want, got });
        }
        let is_url = |url: &String| {
            let rest = url
                .strip_prefix("https://")
                .or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/'))
        };
        if !log.url.as_ref().is_none_or(is_url) {
            return Err(TrustRootError::LogUrl);
        }
        Ok(Some(vkey))
    }

    /// Whose cosignatures a checkpoint needs; none without witnesses.
    pub fn witness_policy(&self) -> Result<Option<Policy>, TrustRootError> {
        let Some(witnesses) = &self.witnesses else {
            return Ok(None);
        };
        let policy =
            Policy::parse(witnesses.policy.as_bytes()).map_err(TrustRootError::Witnesses)?;
        let log = self.log_key()?;
        if policy
            .logs()
            .iter()
            .any(|named| Some(&named.vkey) != log.as_ref())
        {
            return Err(TrustRootError::WitnessesOtherLog);
        }
        Ok(Some(policy))
    }

    /// A level needs what its checks look at.
    fn check_level(&self, cluster: &str, level: Level) -> Result<(), TrustRootError> {
        let needs: [(Level, bool, &'static str); 4] = [
            (Level::Witnessed, self.log.is_some(), "a log"),
            (
                Level::Witnessed,
                self.witnesses.is_some(),
                "a witness policy",
            ),
            (Level::Authored, !self.people.is_empty(), "people"),
            (
                Level::Reproduced,
                !self.reproducers.is_empty(),
                "a second renderer",
            ),
        ];
        for (from, has, needs) in needs {
            if level >= from && !has {
                let cluster = cluster.to_owned();
                return Err(TrustRootError::Level {
                    cluster,
                    level,
                    needs,
                });
            }
        }
        Ok(())
    }

    fn check_people(&self) -> Result<(), TrustRootError> {
        let (mut names, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for person in &self.people {
            if !names.insert(&person.name) {
                return Err(TrustRootError::PersonTwice(person.name.clone()));
            }
            if person.keys.is_empty() {
                return Err(TrustRootError::NoKey(format!("person {:?}", person.name)));
            }
            for key in &person.keys {
                if key.key.is_empty() {
                    return Err(TrustRootError::NoKey(format!("person {:?}", person.name)));
                }
                if !keys.insert(&key.key) {
                    return Err(TrustRootError::PersonKeyTwice(person.name.clone()));
                }
                let window = key.valid_after.zip(key.valid_before);
                if window.is_some_and(|(after, before)| after >= before) {
                    return Err(TrustRootError::KeyNeverValid(person.name.clone()));
                }
            }
        }
        Ok(())
    }

    /// A key has one role: who steals an online key must not hold a root key, nor seal for a second environment; the log's
    /// key never authorises.
    fn check_keys(
        &self,
        log: Option<&Vkey>,
        witnesses: Option<&Policy>,
    ) -> Result<(), TrustRootError> {
        let mut places: BTreeMap<PublicKey, String> = BTreeMap::new();
        let mut place = |key: PublicKey, second: String| match places.get(&key) {
            Some(first) => Err(TrustRootError::KeyTwice {
                key,
                first: first.clone(),
                second,
            }),
            None => {
                places.insert(key, second);
                Ok(())
            }
        };
        for root in &self.root.keys {
            place(root.key, format!("root key of {:?}", root.name))?;
        }
        for (environment, sealers) in &self.sealers {
            name::check("environment", environment)?;
            if sealers.is_empty() {
                return Err(TrustRootError::NoSealer(environment.clone()));
            }
            for sealer in sealers {
                place(sealer.key, format!("sealer key of {environment:?}"))?;
            }
        }
        if let Some(log) = log {
            place(*log.key(), "key of the log".into())?;
        }
        for witness in witnesses.into_iter().flat_map(Policy::witnesses) {
            place(
                *witness.vkey.key(),
                format!("key of witness {:?}", witness.name),
            )?;
        }
        for ca in &self.agent_cas {
            place(ca.key, "key of the agent CA".into())?;
        }
        for (role, keys) in [
            ("override key", &self.overriders),
            ("key of second renderer", &self.reproducers),
            ("CI key", &self.ci),
        ] {
            for named in keys {
                place(named.key, format!("{role} of {:?}", named.name))?;
            }
        }
        Ok(())
    }
}
