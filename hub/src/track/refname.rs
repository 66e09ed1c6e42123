//! A ref's full name, checked once by Git's own rules (and a little more) and never pasted into anything else.

use std::fmt;

use crate::track::trouble::Trouble;

/// Bytes of a ref's name.
const NAME_BYTES_MAX: usize = 255;

/// `refs/heads/…` or `refs/tags/…`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

impl RefName {
    /// A full name, `heads/x`, `tags/x`, or the short name of a branch.
    ///
    /// # Errors
    /// [`Trouble::SourceInvalid`]
    pub fn parse(text: &str) -> Result<Self, Trouble> {
        let full = if text.starts_with("refs/") {
            text.to_owned()
        } else if text.starts_with("heads/") || text.starts_with("tags/") {
            format!("refs/{text}")
        } else {
            format!("refs/heads/{text}")
        };
        let short = full
            .strip_prefix("refs/heads/")
            .or_else(|| full.strip_prefix("refs/tags/"));
        let problem = match short {
            None => Some("must be a branch (refs/heads/…) or a tag (refs/tags/…)"),
            Some(short) => defect(short),
        };
        match problem {
            Some(problem) => Err(Trouble::SourceInvalid {
                field: "ref",
                problem: problem.into(),
            }),
            None => Ok(Self(full)),
        }
    }

    /// Full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a tag: tags may move only by permit, like every ref.
    #[must_use]
    pub fn is_tag(&self) -> bool {
        self.0.starts_with("refs/tags/")
    }
}

fn defect(short: &str) -> Option<&'static str> {
    let forbidden = |c: char| {
        c.is_ascii_control()
            || matches!(
                c,
                ' ' | '~'
                    | '^'
                    | ':'
                    | '?'
                    | '*'
                    | '['
                    | '\\'
                    | '\''
                    | '"'
                    | '`'
                    | '$'
                    | ';'
                    | '|'
                    | '&'
                    | '<'
                    | '>'
            )
    };
    if short.is_empty() || short.len() > NAME_BYTES_MAX {
        return Some("must have 1 to 255 bytes");
    }
    if short.starts_with('-') || short.split('/').any(|part| part.starts_with('-')) {
        return Some("no part may start with '-'");
    }
    if short.chars().any(forbidden) {
        return Some("holds a character that no ref may have");
    }
    if short == "@" || short.contains("@{") || short.contains("..") || short.ends_with('.') {
        return Some("is not a valid ref name");
    }
    if short
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.') || part.ends_with(".lock"))
    {
        return Some("has a part that is empty, starts with '.' or ends in .lock");
    }
    None
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_full_names_mean_the_same_ref() {
        for text in ["main", "heads/main", "refs/heads/main"] {
            assert_eq!(
                RefName::parse(text).unwrap().as_str(),
                "refs/heads/main",
                "{text}"
            );
        }
        assert!(RefName::parse("tags/v1.0").unwrap().is_tag());
        assert_eq!(
            RefName::parse("release/2026-11").unwrap().as_str(),
            "refs/heads/release/2026-11"
        );
    }

    #[test]
    fn hostile_names_are_refused() {
        let hostile = [
            "",
            "-x",
            "--output=x",
            "--upload-pack=x",
            "a/-b",
            "refs/heads/../../x",
            "../x",
            "a..b",
            "a/.b",
            ".a",
            "a.lock",
            "a.lock/b",
            "a b",
            "a\nb",
            "a\0b",
            "a~1",
            "a^",
            "a:b",
            "a*",
            "@",
            "a@{1}",
            "refs/notes/x",
            "refs/x",
            "HEAD\n",
            "a//b",
            "a/",
            "/a",
            "a.",
            "$(id)",
            "a'b",
            "a\\b",
            "refs/heads/",
        ];
        for text in hostile {
            assert_eq!(
                RefName::parse(text).map_err(|t| t.code()),
                Err("SOURCE_INVALID"),
                "{text:?}"
            );
        }
        assert!(RefName::parse(&"x".repeat(256)).is_err());
    }
}
