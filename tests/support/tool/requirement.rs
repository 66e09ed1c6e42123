//! What a machine needs before anything here can be built, each with where to get it.

use std::process::{Command, Stdio};

/// A program that isn't there, or is too old.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; install {install}")]
pub struct Missing {
    /// What is wrong, for a person.
    what: String,
    /// What to install.
    install: &'static str,
}

/// The oldest Go that the modules accept.
const GO: (u32, u32) = (1, 26);

const INSTALL_GO: &str = "Go 1.26 or newer (https://go.dev/dl/)";
const INSTALL_CC: &str =
    "a C compiler (Debian, Ubuntu: apt-get install gcc; macOS: xcode-select --install)";
const INSTALL_GIT: &str =
    "git (Debian, Ubuntu: apt-get install git; https://git-scm.com/downloads)";

/// Everything that is missing on this machine, at once.
#[must_use]
pub fn missing() -> Vec<Missing> {
    [go(), runs("cc", INSTALL_CC), runs("git", INSTALL_GIT)]
        .into_iter()
        .filter_map(Result::err)
        .collect()
}

/// Go, new enough.
///
/// # Errors
/// Says what is wrong and what to install.
pub(super) fn go() -> Result<(), Missing> {
    let output = Command::new("go")
        .arg("version")
        .stdin(Stdio::null())
        .output();
    let Ok(output) = output else {
        return Err(Missing {
            what: "go is not on the PATH".to_owned(),
            install: INSTALL_GO,
        });
    };
    judge_go(&String::from_utf8_lossy(&output.stdout))
}

/// Reads `go version go1.26.3 linux/amd64`.
fn judge_go(text: &str) -> Result<(), Missing> {
    let version = text
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))
        .unwrap_or("");
    let minor: String = version.chars().take_while(char::is_ascii_digit).collect();
    // A development build has no number; it is new.
    let development = text.contains("devel");
    if development || minor.parse::<u32>().is_ok_and(|minor| (1, minor) >= GO) {
        return Ok(());
    }
    Err(Missing {
        what: format!("go is too old ({})", text.trim()),
        install: INSTALL_GO,
    })
}

fn runs(program: &str, install: &'static str) -> Result<(), Missing> {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if found {
        Ok(())
    } else {
        Err(Missing {
            what: format!("{program} is not on the PATH"),
            install,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_the_version_of_go() {
        for (text, fine) in [
            ("go version go1.26.3 linux/amd64", true),
            ("go version go1.26 linux/amd64", true),
            ("go version go1.30.1 darwin/arm64", true),
            ("go version devel go1.27-abc linux/amd64", true),
            ("go version go1.25.9 linux/amd64", false),
            ("go version go1.9 linux/amd64", false),
            ("", false),
        ] {
            assert_eq!(judge_go(text).is_ok(), fine, "{text}");
        }
    }

    #[test]
    fn a_missing_program_is_named_with_what_to_install() {
        let missing = runs("countersign-no-such-program", INSTALL_GIT)
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("countersign-no-such-program is not on the PATH"),
            "{missing}"
        );
        assert!(missing.contains("install git"), "{missing}");
    }
}
