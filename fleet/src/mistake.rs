//! What a person got wrong, where, and the way out. All mistakes of a tree come at once.
use std::fmt;

use serde::Serialize;

use crate::path::RepoPath;
use crate::tree::TreeRefusal;

/// One mistake: `clusters/metal-fra/cart.yaml:7: spec.prune.maxObjects: must be 0 to 50, is -1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Mistake {
    /// The file.
    pub file: RepoPath,
    /// Line in it, from 1; 0 if the whole file is meant.
    pub line: u32,
    /// Path of the field, `spec.rollout.rings[0]`; empty if the document or file is meant.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.problem)
    }
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// The file.
    pub file: RepoPath,
    /// Line in it, from 1; 0 if the whole file is meant.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}", self.file)
        } else {
            write!(f, "{}:{}", self.file, self.line)
        }
    }
}

/// Names for a sentence: `a, b or c`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Names(pub Vec<String>);

/// Names that a message shows at most.
const NAMES_SHOWN: usize = 12;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let shown = self.0.len().min(NAMES_SHOWN);
        for (index, name) in self.0.iter().take(shown).enumerate() {
            if index > 0 {
                let last = index + 1 == self.0.len();
                f.write_str(if last { " or " } else { ", " })?;
            }
            f.write_str(name)?;
        }
        if self.0.len() > shown {
            write!(f, ", … ({} in all)", self.0.len())?;
        }
        Ok(())
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// Not YAML.
    #[error("is not valid YAML: {0}")]
    Syntax(String),
    /// Not text.
    #[error("is not UTF-8")]
    NotUtf8,
    /// The file must not be read.
    #[error("{0}")]
    Tree(TreeRefusal),
    /// A name in the folder must not be read.
    #[error("the name {name:?} in this folder: it {refusal}")]
    TreeName {
        /// The name, as well as it can be shown.
        name: String,
        /// Why not.
        refusal: TreeRefusal,
    },
    /// More documents than are read.
    #[error("the fleet has more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        max: usize,
    },
    /// No such field.
    #[error("there is no such field; {}", did_you_mean(nearest.as_deref(), known))]
    UnknownField {
        /// The nearest known name.
        nearest: Option<String>,
        /// All names.
        known: Names,
    },
    /// No such document.
    #[error("there is no kind {found:?} here; known kinds: {known}")]
    UnknownKind {
        /// What was written.
        found: String,
        /// What may stand there.
        known: Names,
    },
    /// No such version.
    #[error("there is no version {found:?}; write countersign.dev/v1alpha1")]
    UnknownVersion {
        /// What was written.
        found: String,
    },
    /// The field must be there.
    #[error("is missing")]
    Missing,
    /// Another type is wanted.
    #[error("must be {expected}, is {found}")]
    WrongType {
        /// What is wanted.
        expected: String,
        /// What stands there.
        found: &'static str,
    },
    /// A number out of range.
    #[error("must be {min} to {max}, is {found}")]
    OutOfRange {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// What stands there.
        found: String,
    },
    /// A word that is not one of a few.
    #[error("must be {known}, is {found:?}")]
    NotOneOf {
        /// The words.
        known: Names,
        /// What stands there.
        found: String,
    },
    /// A text of another form.
    #[error("{found:?} {why}")]
    Form {
        /// What stands there.
        found: String,
        /// What it must be.
        why: String,
    },
    /// Exactly one of several fields must be there.
    #[error("must have exactly one of {known}, has {found}")]
    ExactlyOne {
        /// The fields.
        known: Names,
        /// Those that are there.
        found: Names,
    },
    /// Two of one name.
    #[error("the name {name:?} is taken by {other}; names are unique in the fleet")]
    NameTaken {
        /// The name.
        name: String,
        /// Where the other stands.
        other: Place,
    },
    /// A document at the wrong place.
    #[error("{0}")]
    Misplaced(&'static str),
    /// The field has no meaning here.
    #[error("{0}")]
    Meaningless(&'static str),
    /// A reference to an app that is not there.
    #[error("there is no app {name:?}{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    NoSuchApp {
        /// The name.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// Apps wait for each other.
    #[error("the apps wait for each other: {0}")]
    Cycle(String),
    /// No cluster is chosen.
    #[error("no cluster matches; {hint}")]
    NoClusterMatches {
        /// What there is.
        hint: String,
    },
    /// A path that is not in the tree.
    #[error("there is no {what} {path} in the repository")]
    NoSuchPath {
        /// File or folder.
        what: &'static str,
        /// The path.
        path: RepoPath,
    },
    /// A template that can't be filled in for a cluster.
    #[error("on cluster {cluster}: {why}")]
    Template {
        /// The cluster.
        cluster: String,
        /// What is wrong with it.
        why: String,
    },
    /// A source that is not pinned.
    #[error("is not pinned in countersign.lock; run `countersign lock`")]
    NotLocked,
    /// Anything that the schema could not say.
    #[error("{0}")]
    Other(String),
}

impl Problem {
    /// Whether the document that holds it can't be used. Otherwise it is only reported.
    pub fn breaks(&self) -> bool {
        // A path, a template or a pin that is wrong fails the render of one app on one cluster, and is reported there.
        !matches!(
            self,
            Self::NoClusterMatches { .. }
                | Self::NoSuchPath { .. }
                | Self::Template { .. }
                | Self::NotLocked
        )
    }
}

fn did_you_mean(nearest: Option<&str>, known: &Names) -> String {
    match nearest {
        Some(name) => format!("did you mean {name}?"),
        None => format!("known fields: {known}"),
    }
}

/// The known name that a mistyped one was probably meant to be.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    // Typing errors, not other words: a third of the letters, at least two.
    let allowed = (name.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| {
            *distance <= allowed && *distance < candidate.chars().count()
        })
        .min()
        .map(|(_, candidate)| candidate.to_owned())
}

/// Letters to add, drop, change or swap.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let width = b.len() + 1;
    let mut table = vec![0usize; (a.len() + 1) * width];
    let at = |i: usize, j: usize| i * width + j;
    let get = |table: &[usize], i: usize, j: usize| {
        table.get(at(i, j)).copied().unwrap_or(usize::MAX / 2)
    };
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            let value = if i == 0 {
                j
            } else if j == 0 {
                i
            } else {
                let same = usize::from(a.get(i - 1) != b.get(j - 1));
                let mut best = (get(&table, i - 1, j) + 1)
                    .min(get(&table, i, j - 1) + 1)
                    .min(get(&table, i - 1, j - 1) + same);
                if i > 1 && j > 1 && a.get(i - 1) == b.get(j - 2) && a.get(i - 2) == b.get(j - 1) {
                    best = best.min(get(&table, i - 2, j - 2) + 1);
                }
                best
            };
            if let Some(cell) = table.get_mut(at(i, j)) {
                *cell = value;
            }
        }
    }
    get(&table, a.len(), b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_its_neighbour() {
        let known = [
            "source",
            "render",
            "clusters",
            "dependsOn",
            "rollout",
            "prune",
        ];
        assert_eq!(nearest("sorce", known).as_deref(), Some("source"));
        assert_eq!(nearest("dependson", known).as_deref(), Some("dependsOn"));
        assert_eq!(nearest("cluster", known).as_deref(), Some("clusters"));
        assert_eq!(nearest("rednre", known).as_deref(), Some("render"));
        assert_eq!(nearest("replicas", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn a_mistake_names_file_line_and_field() {
        let mistake = Mistake {
            file: RepoPath::parse("clusters/metal-fra/cart.yaml").unwrap(),
            line: 7,
            field: "spec.prune.maxObjects".to_owned(),
            problem: Problem::OutOfRange {
                min: 0,
                max: 50,
                found: "-1".to_owned(),
            },
        };
        assert_eq!(
            mistake.to_string(),
            "clusters/metal-fra/cart.yaml:7: spec.prune.maxObjects: must be 0 to 50, is -1"
        );
    }
}
