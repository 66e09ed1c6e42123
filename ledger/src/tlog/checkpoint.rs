//! Checkpoints (`tlog-checkpoint`): which log, how large, which root.

use crate::digest::Digest;
use crate::tlog::merkle::EMPTY_ROOT;
use crate::tlog::text;

/// The state of a log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    /// The log's name: that of its key, and the address it is served at without the scheme.
    pub origin: String,
    /// Entries in it.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Digest,
}

/// What may stand behind the three lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extensions {
    /// Nothing: witnesses say nothing about such lines, so nobody should read them.
    #[default]
    Refuse,
    /// Lines of a foreign log; they are skipped.
    Ignore,
}

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or the last one does not end.
    #[error("must be three lines: origin, size, root")]
    Lines,
    /// The origin is empty or has control characters.
    #[error("the origin must not be empty")]
    Origin,
    /// The size is no decimal below 2^63 in its one spelling.
    #[error("the size must be a decimal without leading zeros")]
    Size,
    /// The root is no base64 of 32 bytes.
    #[error("the root must be the base64 of 32 bytes")]
    Root,
    /// A log without entries has another root than the empty tree's.
    #[error("a log without entries has root {got}")]
    EmptyRoot {
        /// The root given.
        got: Digest,
    },
    /// Lines stand behind the root.
    #[error("has extension lines")]
    Extension,
    /// An extension line is empty.
    #[error("an extension line is empty")]
    EmptyExtension,
}

impl Checkpoint {
    /// The three lines, each with its newline.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root } = self;
        format!("{origin}\n{size}\n{}\n", text::base64(root.as_bytes()))
    }

    /// Reads a checkpoint of ours: three lines, no more.
    pub fn parse(written: &str) -> Result<Self, CheckpointError> {
        Self::parse_with(written, Extensions::Refuse)
    }

    /// Reads a checkpoint.
    pub fn parse_with(written: &str, extensions: Extensions) -> Result<Self, CheckpointError> {
        let lines = written.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        if origin.is_empty() || origin.chars().any(char::is_control) {
            return Err(CheckpointError::Origin);
        }
        let size = text::decimal(size)
            .filter(|size| i64::try_from(*size).is_ok())
            .ok_or(CheckpointError::Size)?;
        let root = text::hash(root).ok_or(CheckpointError::Root)?;
        if size == 0 && root != EMPTY_ROOT {
            return Err(CheckpointError::EmptyRoot { got: root });
        }
        for line in lines {
            match extensions {
                Extensions::Refuse => return Err(CheckpointError::Extension),
                Extensions::Ignore if line.is_empty() => {
                    return Err(CheckpointError::EmptyExtension);
                }
                Extensions::Ignore => {}
            }
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_specifications_checkpoint_is_read_and_written() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(checkpoint.origin, "example.com/behind-the-sofa");
        assert_eq!(checkpoint.size, 20_852_163);
        assert_eq!(checkpoint.text(), TEXT);
    }

    #[test]
    fn extension_lines_are_refused_unless_a_foreign_log_is_read() {
        let more = format!("{TEXT}more\nlines\n");
        assert_eq!(Checkpoint::parse(&more), Err(CheckpointError::Extension));
        assert_eq!(
            Checkpoint::parse_with(&more, Extensions::Ignore),
            Checkpoint::parse(TEXT)
        );
        for empty in [format!("{TEXT}\n"), format!("{TEXT}more\n\n")] {
            assert_eq!(
                Checkpoint::parse_with(&empty, Extensions::Ignore),
                Err(CheckpointError::EmptyExtension)
            );
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_refused() {
        use CheckpointError::{EmptyRoot, Lines, Origin, Root, Size};
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        for (text, error) in [
            (String::new(), Lines),
            ("\n".to_owned(), Lines),
            ("a\n1\n".to_owned(), Lines),
            (format!("a\n1\n{root}"), Lines),
            (format!("\n1\n{root}\n"), Origin),
            (format!("a\tb\n1\n{root}\n"), Origin),
            (format!("a\n\n{root}\n"), Size),
            (format!("a\n01\n{root}\n"), Size),
            (format!("a\n+1\n{root}\n"), Size),
            (format!("a\n-1\n{root}\n"), Size),
            (format!("a\n1 \n{root}\n"), Size),
            (format!("a\n9223372036854775808\n{root}\n"), Size),
            (format!("a\n1\n{}\n", &root[..43]), Root),
            (format!("a\n1\n{}\n", root.replace("I=", "J=")), Root),
            ("a\n1\nAAAA\n".to_owned(), Root),
            (format!("a\n1\n {root}\n"), Root),
            (
                format!("a\n0\n{root}\n"),
                EmptyRoot {
                    got: text::hash(root).unwrap(),
                },
            ),
        ] {
            assert_eq!(Checkpoint::parse(&text), Err(error), "{text:?}");
        }
        assert!(Checkpoint::parse("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n").is_ok());
        assert!(Checkpoint::parse(&format!("a\n9223372036854775807\n{root}\n")).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(origin in "[^\\pC]{1,20}", size in 1..=i64::MAX.cast_unsigned(), root in any::<[u8; 32]>()) {
            let checkpoint = Checkpoint { origin, size, root: Digest::from_bytes(root) };
            prop_assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[a-z]{0,3}\n[0-9]{0,3}\n[A-Za-z0-9+/]{42}[A-Z]=\n") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.text(), text);
            }
        }
    }
}
