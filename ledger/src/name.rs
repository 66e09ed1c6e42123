//! Names of fleets, clusters, environments and apps: they become file names, labels and parts of URLs.

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} {text:?} must have 1 to 63 characters of a-z, 0-9 and \"-\", the first and last no \"-\""
)]
pub struct BadName {
    /// What the name is of.
    pub what: &'static str,
    /// The text.
    pub text: String,
}

/// Checks that `text` is a DNS label (RFC 1123).
pub fn check(what: &'static str, text: &str) -> Result<(), BadName> {
    let inner = text
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if inner && (1..=63).contains(&text.len()) && !text.starts_with('-') && !text.ends_with('-') {
        Ok(())
    } else {
        Err(BadName {
            what,
            text: text.chars().take(80).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "metal-fra", "0", &"a".repeat(63)] {
            assert!(check("cluster", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "..",
            &"a".repeat(64),
            "ä",
        ] {
            assert!(check("cluster", bad).is_err(), "{bad}");
        }
    }
}
