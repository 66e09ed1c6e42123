//! One look at the log: each state that is new, and each that was left open, in the order of the log.

use std::fmt;
use std::io::Write as _;

use countersign_fleet::failure::AppFailure;
use countersign_fleet::guard::DeletionPermits;
use countersign_fleet::reproduce::{Judged, State, Verdict};
use countersign_ledger::statement::Reproduction;
use countersign_ledger::time::Time;
use jiff::Timestamp;

use super::feed::{self, Feed, Item, Sealed};
use super::memory::{Confirmed, Kept, Memory, Standing};
use super::permits;
use super::second::{Case, Second};
use super::word::Mouth;
use crate::exit::Failure;
use crate::log::{Log, Trust};
use crate::output::safe;

/// Differences that are printed of one state.
const SHOWN_MAX: usize = 20;

/// All that works.
pub struct Work {
    /// Where memory lasts.
    pub kept: Kept,
    /// What is remembered.
    pub memory: Memory,
    /// Who renders.
    pub second: Second,
    /// Who signs and hands in.
    pub mouth: Mouth,
    /// Clusters that are looked at; all if empty.
    pub clusters: Vec<String>,
    /// What came of it.
    pub counts: Counts,
    /// Size of the log at the look before this one, and when that was.
    pub last: Option<(u64, Time)>,
}

/// What came of states since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// They are what their commits render to.
    pub agree: u64,
    /// They are not.
    pub disagree: u64,
    /// They differ from what this version renders, and name another.
    pub by_version: u64,
    /// No sealer signed them.
    pub unsigned: u64,
    /// Newest states of which nothing can be said now.
    pub open: u64,
}

impl Counts {
    /// States that a person must look at.
    pub const fn differs(&self) -> u64 {
        self.disagree + self.by_version + self.unsigned
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            agree,
            disagree,
            by_version,
            unsigned,
            open,
        } = self;
        write!(
            f,
            "{agree} agree, {disagree} disagree, {by_version} differ by version, {unsigned} unsigned, {open} open"
        )
    }
}

impl Work {
    /// Looks at all that is new. A failure leaves what was done before it done.
    pub fn round(&mut self, feed: &Feed) -> Result<(), Failure> {
        let ms = u64::try_from(Timestamp::now().as_millisecond()).ok();
        let seen = ms.and_then(|ms| Time::from_ms(ms).ok());
        let (trust, memory) = (feed.trust()?, self.memory.clone());
        let log = feed.newest(&trust, &memory)?;
        let trust = &trust;
        let (size, root) = (log.size(), log.head().checkpoint.root);
        let open: Vec<u64> = memory
            .clusters
            .values()
            .filter_map(|standing| standing.open)
            .collect();
        self.counts.open = 0;
        self.last = memory.seen.map(|seen| (memory.size, seen));
        for index in open {
            self.entry(&log, trust, index)?;
        }
        self.memory.size = size;
        self.memory.root = Some(root);
        self.memory.seen = seen;
        for index in memory.next..size {
            self.entry(&log, trust, index)?;
            self.memory.next = index + 1;
            // What was said is remembered at once; entries that nothing was said of are quickly read again.
            if index % 256 == 255 {
                self.kept.keep(&self.memory)?;
            }
        }
        // A look that found nothing is not worth a write.
        if size != memory.size || self.memory.clusters != memory.clusters {
            self.kept.keep(&self.memory)?;
        }
        self.counts.open = self.open();
        Ok(())
    }

    fn open(&self) -> u64 {
        let open = self.memory.clusters.values().filter(|at| at.open.is_some());
        open.count() as u64
    }

    fn entry(&mut self, log: &Log<'_>, trust: &Trust, index: u64) -> Result<(), Failure> {
        match feed::item(log, trust, index)? {
            Item::Other(bytes) => {
                self.memory.words.hear(&trust.roots, index, &bytes);
                Ok(())
            }
            Item::State(sealed) | Item::Unsigned(sealed) if !self.wants(&sealed) => Ok(()),
            Item::Unsigned(sealed) => {
                self.counts.unsigned += 1;
                self.print(
                    &sealed,
                    "UNSIGNED",
                    "no sealer of its environment signed it",
                )
            }
            Item::State(sealed) => self.state(log, trust, &sealed),
        }
    }

    fn wants(&self, sealed: &Sealed) -> bool {
        self.clusters.is_empty() || self.clusters.contains(&sealed.desired.cluster)
    }

    fn state(&mut self, log: &Log<'_>, trust: &Trust, sealed: &Sealed) -> Result<(), Failure> {
        let cluster = &sealed.desired.cluster;
        let standing = self
            .memory
            .clusters
            .get(cluster)
            .cloned()
            .unwrap_or_default();
        // A state that was not there at the last look was sealed after it.
        let after = self
            .last
            .and_then(|(size, seen)| (sealed.index >= size).then_some(seen));
        let (roots, desired) = (&trust.roots, &sealed.desired);
        let permits = self
            .memory
            .words
            .permitted(roots, desired, sealed.index, after);
        match self.judge(log, sealed, &standing, &permits)? {
            Verdict::Judged(judged) => {
                self.say(sealed, standing, &judged)?;
                for app in permits::unsigned(desired, &permits) {
                    line(&format!(
                        "  app {app}: it says that a deletion was permitted, and nobody signed that"
                    ))?;
                }
            }
            Verdict::Open(why) => self.leave_open(sealed, standing, &why)?,
        }
        Ok(())
    }

    fn judge(
        &self,
        log: &Log<'_>,
        sealed: &Sealed,
        standing: &Standing,
        permits: &DeletionPermits,
    ) -> Result<Verdict, Failure> {
        let missing = |what: &str| {
            let why = format!("content of {what} is not among the log's files");
            Ok(Verdict::Open(
                AppFailure::new("CONTENT_MISSING", why).as_fault(),
            ))
        };
        let Some(content) = feed::state(log, &sealed.desired.manifest)? else {
            return missing("this state");
        };
        let confirmed = match &standing.confirmed {
            None => State::default(),
            Some(confirmed) => match feed::state(log, &confirmed.manifest)? {
                Some(state) => state,
                None => return missing("the last reproduced state"),
            },
        };
        let source = feed::source_of(log, sealed)?;
        let salts = self.mouth.salts(sealed, &content)?;
        self.second.judge(&Case {
            desired: &sealed.desired,
            source: source.as_ref(),
            sealed: &content,
            confirmed: &confirmed,
            standing,
            salts: &salts,
            permits,
        })
    }

    /// It is in the log before it is remembered: what is forgotten is said again.
    fn say(
        &mut self,
        sealed: &Sealed,
        mut standing: Standing,
        judged: &Judged,
    ) -> Result<(), Failure> {
        let desired = &sealed.desired;
        let agrees = judged.agrees();
        let place = self.mouth.say(&Reproduction {
            fleet: desired.fleet.clone(),
            cluster: desired.cluster.clone(),
            generation: desired.generation,
            commit: desired.commit.clone(),
            desired: sealed.leaf,
            digest: judged.own,
            agrees,
        })?;
        standing.open = None;
        if agrees {
            self.counts.agree += 1;
            standing.confirmed = Some(Confirmed {
                manifest: desired.manifest,
                commit: desired.commit.clone(),
            });
            standing.between.clear();
            standing.dropped.clone_from(&judged.dropped);
        } else {
            self.counts.disagree += 1;
            standing.between.insert(desired.commit.clone());
        }
        self.memory
            .clusters
            .insert(desired.cluster.clone(), standing);
        self.kept.keep(&self.memory)?;
        let entry = place.map_or(String::new(), |index| format!(", said in entry {index}"));
        let held = match judged.held.is_empty() {
            true => String::new(),
            false => format!(", stands as before: {}", judged.held.join(", ")),
        };
        if agrees {
            let what = format!("render digest {}{entry}{held}", judged.own);
            return self.print(sealed, "agrees", &what);
        }
        let what = format!(
            "sealed {}, rendered here {}{entry}",
            judged.sealed, judged.own
        );
        self.print(sealed, "DISAGREES", &what)?;
        for difference in judged.differences.iter().take(SHOWN_MAX) {
            line(&format!("  {difference}"))?;
        }
        match judged.differences.len().checked_sub(SHOWN_MAX) {
            Some(more @ 1..) => line(&format!("  and {more} more")),
            _ => Ok(()),
        }
    }

    fn leave_open(
        &mut self,
        sealed: &Sealed,
        mut standing: Standing,
        why: &AppFailure,
    ) -> Result<(), Failure> {
        // Told once, not with each try.
        let known = standing.open == Some(sealed.index);
        standing.open = Some(sealed.index);
        standing.between.insert(sealed.desired.commit.clone());
        self.memory
            .clusters
            .insert(sealed.desired.cluster.clone(), standing);
        if known {
            return Ok(());
        }
        if why.code == "RENDERER_DIFFERS" {
            self.counts.by_version += 1;
        }
        self.print(sealed, "open", &why.to_string())
    }

    fn print(&self, sealed: &Sealed, word: &str, what: &str) -> Result<(), Failure> {
        let desired = &sealed.desired;
        let commit = desired.commit.get(..12).unwrap_or(&desired.commit);
        line(&format!(
            "{word}  {} generation {} (entry {}, commit {commit}): {what}",
            desired.cluster, desired.generation, sealed.index
        ))
    }
}

fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", safe(text))
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Fault(format!("standard output: {error}")))
}
