//! Paths inside a repository: cleaned, relative to its root, `/` between names, `""` for the root.
use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Longest path that is looked at, in bytes; Linux's own limit.
pub const PATH_MAX: usize = 4096;

/// A cleaned path inside a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct RepoPath(String);

/// Why a text is no path inside a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathProblem {
    /// Starts with `/` or names a drive.
    #[error("must be relative to the repository's root")]
    Absolute,
    /// `..` leads out of the repository.
    #[error("leads out of the repository")]
    Escape,
    /// A URL.
    #[error("must be a path in this repository, not a URL")]
    Url,
    /// A character that no path here may have.
    #[error("must not have a backslash or a control character")]
    Character,
    /// A name that Git itself uses.
    #[error("must not name a Git folder")]
    GitName,
    /// Too long.
    #[error("must be at most {PATH_MAX} bytes")]
    Long,
}

impl RepoPath {
    /// The repository's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Cleans a path that is relative to the root: `./a//b/../c` is `a/c`.
    ///
    /// # Errors
    /// [`PathProblem`] if it leads out of the repository or is no such path at all.
    pub fn parse(text: &str) -> Result<Self, PathProblem> {
        Self::root().join(text)
    }

    /// Cleans a path that is relative to this folder.
    ///
    /// # Errors
    /// [`PathProblem`] as for [`RepoPath::parse`].
    pub fn join(&self, text: &str) -> Result<Self, PathProblem> {
        if text.len() + self.0.len() > PATH_MAX {
            return Err(PathProblem::Long);
        }
        if text.contains("://") {
            return Err(PathProblem::Url);
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return Err(PathProblem::Character);
        }
        let drive = text.as_bytes().get(1) == Some(&b':');
        if text.starts_with('/') || drive {
            return Err(PathProblem::Absolute);
        }
        let mut names: Vec<&str> = self.names().collect();
        for name in text.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop().ok_or(PathProblem::Escape)?;
                }
                name if is_git_name(name) => return Err(PathProblem::GitName),
                name => names.push(name),
            }
        }
        Ok(Self(names.join("/")))
    }

    /// The path of an entry of this folder, whose name is known to be clean.
    pub(crate) fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self(name.to_owned())
        } else {
            Self(format!("{}/{name}", self.0))
        }
    }

    /// As text; `""` for the root.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names from the root on.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|name| !name.is_empty())
    }

    /// The last name; `""` for the root.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that it lies in; the root for the root.
    pub fn folder(&self) -> Self {
        Self(
            self.0
                .rsplit_once('/')
                .map_or(String::new(), |(folder, _)| folder.to_owned()),
        )
    }

    /// Whether it is `folder` or lies below it.
    pub fn within(&self, folder: &Self) -> bool {
        folder.0.is_empty()
            || self
                .0
                .strip_prefix(&folder.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for RepoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

impl<'de> Deserialize<'de> for RepoPath {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RepoPath {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RepoPath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "repository-path", "maxLength": PATH_MAX })
    }
}

/// Whether Git, on any file system, takes the name for its own folder.
pub fn is_git_name(name: &str) -> bool {
    // HFS+ ignores these characters; NTFS ignores trailing dots and spaces and what follows a colon.
    let visible: String = name
        .chars()
        .filter(|c| !matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}'))
        .collect();
    let name = visible.split(':').next().unwrap_or_default();
    let name = name.trim_end_matches(['.', ' ']).to_ascii_lowercase();
    name == ".git" || name == "git~1"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (text, clean) in [
            ("a/b", "a/b"),
            ("./a//b/", "a/b"),
            ("a/b/../c", "a/c"),
            (".", ""),
            ("", ""),
            ("a/..", ""),
            ("..a/b..", "..a/b.."),
        ] {
            assert_eq!(
                RepoPath::parse(text).map(|p| p.0),
                Ok(clean.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_path_in_the_repository_is_refused() {
        use PathProblem::*;
        for (text, why) in [
            ("../x", Escape),
            ("a/../../x", Escape),
            ("/etc/passwd", Absolute),
            ("C:/x", Absolute),
            ("C:\\x", Character),
            ("file:///etc/passwd", Url),
            ("https://x/y", Url),
            ("a\0b", Character),
            ("a/.git/config", GitName),
            ("a/.GIT", GitName),
            ("GIT~1/x", GitName),
            (".g\u{200c}it/x", GitName),
            (".git ./x", GitName),
        ] {
            assert_eq!(RepoPath::parse(text), Err(why), "{text}");
        }
        assert_eq!(RepoPath::parse(&"a".repeat(PATH_MAX + 1)), Err(Long));
    }

    #[test]
    fn percent_signs_are_no_escape() {
        assert_eq!(
            RepoPath::parse("%2e%2e/x").map(|p| p.0),
            Ok("%2e%2e/x".to_owned())
        );
    }

    #[test]
    fn within_goes_by_names() {
        let path = |text| RepoPath::parse(text).unwrap();
        assert!(path("a/b").within(&path("a")));
        assert!(path("a").within(&path("a")));
        assert!(path("a").within(&path("")));
        assert!(!path("ab").within(&path("a")));
    }
}
