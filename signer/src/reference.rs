//! The words by which a key is named: a path, `vault:<mount>/<key>[@<version>]` or `awskms:<arn>`. Pure.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// In a file, plain or with a passphrase.
    File(PathBuf),
    /// In a transit engine of Vault or OpenBao.
    Vault {
        /// Where the engine is mounted.
        mount: String,
        /// The key's name in it.
        key: String,
        /// Its version; none for the one that is wanted, or the newest.
        version: Option<u32>,
    },
    /// In AWS KMS.
    AwsKms(Arn),
}

/// The name of a KMS key, `arn:<partition>:kms:<region>:<account>:key/<id>` or `…:alias/<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arn {
    text: String,
    partition: String,
    region: String,
}

/// Why words name no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceMistake {
    /// Nothing is named.
    #[error("must name a key: a file, vault:<mount>/<key> or awskms:<arn>")]
    Empty,
    /// Not a transit key.
    #[error("{0}: must be vault:<mount>/<key>, with @<version> behind it for one version")]
    Vault(String),
    /// Not a KMS key.
    #[error("{0}: must be awskms:arn:aws:kms:<region>:<account>:key/<id>, or with alias/<name>")]
    AwsKms(String),
}

/// Letters of a mount, a key, a region: what can change neither a URL nor a header.
fn plain(text: &str) -> bool {
    !text.is_empty()
        && text != "."
        && text != ".."
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl FromStr for Reference {
    type Err = ReferenceMistake;

    fn from_str(text: &str) -> Result<Self, ReferenceMistake> {
        if text.is_empty() {
            return Err(ReferenceMistake::Empty);
        }
        if let Some(rest) = text.strip_prefix("vault:") {
            return vault(rest).ok_or_else(|| ReferenceMistake::Vault(text.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("awskms:") {
            let arn = arn(rest).ok_or_else(|| ReferenceMistake::AwsKms(text.to_owned()))?;
            return Ok(Self::AwsKms(arn));
        }
        Ok(Self::File(PathBuf::from(text)))
    }
}

fn vault(rest: &str) -> Option<Reference> {
    let (path, version) = match rest.split_once('@') {
        None => (rest, None),
        Some((path, version)) => (path, Some(version.parse().ok().filter(|v| *v > 0)?)),
    };
    let (mount, key) = path.rsplit_once('/')?;
    let whole = mount.split('/').all(plain) && plain(key);
    whole.then(|| Reference::Vault {
        mount: mount.to_owned(),
        key: key.to_owned(),
        version,
    })
}

fn arn(text: &str) -> Option<Arn> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next();
    let (arn, partition, service) = (next()?, next()?, next()?);
    let (region, account, resource) = (next()?, next()?, next()?);
    let (kind, name) = resource.split_once('/')?;
    let account_ok = !account.is_empty() && account.bytes().all(|b| b.is_ascii_digit());
    let ok = arn == "arn"
        && service == "kms"
        && plain(partition)
        && plain(region)
        && account_ok
        && matches!(kind, "key" | "alias")
        && name.split('/').all(plain);
    ok.then(|| Arn {
        text: text.to_owned(),
        partition: partition.to_owned(),
        region: region.to_owned(),
    })
}

impl Arn {
    /// Its region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Its partition: `aws`, `aws-cn`, `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Vault {
                mount,
                key,
                version: None,
            } => write!(f, "vault:{mount}/{key}"),
            Self::Vault {
                mount,
                key,
                version: Some(version),
            } => write!(f, "vault:{mount}/{key}@{version}"),
            Self::AwsKms(arn) => write!(f, "awskms:{}", arn.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_and_shown_as_it_was_written() {
        for text in [
            "keys/root.key",
            "/etc/keys/a.key",
            "vault:transit/prod",
            "vault:infra/transit/prod@3",
            "awskms:arn:aws:kms:eu-central-1:123456789012:key/0b1c-2d",
            "awskms:arn:aws-cn:kms:cn-north-1:1:alias/countersign/prod",
        ] {
            let read: Reference = text.parse().unwrap();
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_would_change_a_request_is_no_name_of_a_key() {
        for text in [
            "",
            "vault:prod",
            "vault:/prod",
            "vault:transit/",
            "vault:transit/a?b",
            "vault:transit/../sys/x",
            "vault:transit/a@0",
            "vault:transit/a@x",
            "vault:transit/a b",
            "awskms:",
            "awskms:arn:aws:s3:eu:1:key/x",
            "awskms:arn:aws:kms:eu/evil.example#:1:key/x",
            "awskms:arn:aws:kms:eu:x:key/x",
            "awskms:arn:aws:kms:eu:1:grant/x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
