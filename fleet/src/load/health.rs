//! `policies/health/` → the fleet's health rules. A file with a mistake is left out and named; a mistake here holds up
//! no app.
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use super::{Loader, at, is_manifest};
use crate::mistake::{Mistake, Place, Problem};
use crate::model::HealthRuleAt;
use crate::path::RepoPath;
use crate::tree::{Stat, TreeFault};

/// Folder of the fleet's health rules.
const FOLDER: [&str; 2] = ["policies", "health"];
/// Most rules of a fleet: each is held by every agent that has such objects.
const RULES_MAX: usize = 512;

impl Loader<'_> {
    pub(super) fn health_rules(&mut self) -> Result<(), TreeFault> {
        let folder = FOLDER
            .iter()
            .fold(RepoPath::root(), |folder, name| folder.child(name));
        self.fleet.folders.insert(folder.clone());
        let listing = self.tree.list(&folder)?;
        for (name, refusal) in &listing.refused {
            let problem = Problem::TreeName {
                name: name.clone(),
                refusal: refusal.clone(),
            };
            self.mistakes.push(at(&folder, 0, "", problem));
        }
        let mut places: BTreeMap<(String, String), Place> = BTreeMap::new();
        for entry in listing.entries.iter().filter(|e| is_manifest(&e.name)) {
            let path = folder.child(&entry.name);
            if let Stat::Refused(refusal) = &entry.stat {
                let problem = Problem::Tree(refusal.clone());
                self.mistakes.push(at(&path, 0, "", problem));
                continue;
            }
            let documents = self.cache.documents(self.tree, &entry.stat, &path)?;
            self.mistakes.extend(documents.mistakes.iter().cloned());
            let others = documents.apps.iter().map(|found| found.line);
            let others = others.chain(documents.clusters.iter().map(|found| found.line));
            let others = others.chain(documents.fleets.iter().map(|found| found.line));
            for line in others {
                let problem = Problem::Misplaced("policies/health/ holds HealthRules alone");
                self.mistakes.push(at(&path, line, "", problem));
            }
            for found in &documents.health {
                for (index, rule) in found.document.spec.rules.iter().enumerate() {
                    let field = format!("spec.rules[{index}]");
                    let line = found.node.line_of(&field);
                    let place = Place {
                        file: path.clone(),
                        line,
                    };
                    let mistake = |field: String, problem| Mistake {
                        field,
                        ..at(&path, line, "", problem)
                    };
                    if places.len() >= RULES_MAX {
                        let problem = Problem::TooMany {
                            what: "health rules",
                            max: RULES_MAX,
                        };
                        self.mistakes.push(mistake(field, problem));
                        return Ok(());
                    }
                    match places.entry((rule.group.clone(), rule.kind.clone())) {
                        Slot::Occupied(other) => {
                            let why = format!("{} has a rule for this kind already", other.get());
                            self.mistakes.push(mistake(field, Problem::Other(why)));
                        }
                        Slot::Vacant(free) => {
                            let at = HealthRuleAt {
                                place: place.clone(),
                                field,
                                rule: rule.json(),
                            };
                            self.fleet.health_rules.insert(free.key().clone(), at);
                            free.insert(place);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}
