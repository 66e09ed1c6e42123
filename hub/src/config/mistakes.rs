//! Collects what is wrong with options while they are read one by one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::config::ConfigMistake;

/// Bytes of a file with a secret.
const SECRET_FILE_BYTES_MAX: u64 = 64 << 10;

/// What is wrong with options, collected: all of it comes at once.
#[derive(Default)]
pub(super) struct Mistakes(pub(super) Vec<ConfigMistake>);

impl Mistakes {
    pub(super) fn add(&mut self, option: &'static str, problem: &str) -> bool {
        self.0.push(ConfigMistake {
            option,
            problem: problem.to_owned(),
        });
        false
    }

    pub(super) fn required<T>(&mut self, option: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.add(option, "is required");
        }
        value
    }

    pub(super) fn check<T>(
        &mut self,
        option: &'static str,
        result: Result<T, impl std::fmt::Display>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.add(option, &error.to_string());
                None
            }
        }
    }

    pub(super) fn range(
        &mut self,
        option: &'static str,
        value: Option<u64>,
        default: u64,
        min: u64,
        max: u64,
    ) -> u64 {
        let value = value.unwrap_or(default);
        if !(min..=max).contains(&value) {
            self.add(option, &format!("must be {min} to {max}, is {value}"));
            return default;
        }
        value
    }

    pub(super) fn address(
        &mut self,
        option: &'static str,
        value: Option<String>,
        default: &str,
    ) -> SocketAddr {
        let text = value.unwrap_or_else(|| default.to_owned());
        let fallback = SocketAddr::from(([127, 0, 0, 1], 0));
        self.check(
            option,
            text.parse()
                .map_err(|_| "must be an address and port, as 127.0.0.1:8443"),
        )
        .unwrap_or(fallback)
    }

    pub(super) fn secret(
        &mut self,
        option: &'static str,
        path: Option<PathBuf>,
        here: &Path,
    ) -> Option<SecretString> {
        let bytes = zeroize::Zeroizing::new(self.check(option, read(&here.join(path?)))?);
        let text = std::str::from_utf8(&bytes)
            .map(str::trim_end)
            .unwrap_or_default();
        if text.is_empty() {
            self.add(option, "names a file that holds no text");
            return None;
        }
        Some(text.to_owned().into())
    }
}

/// A small file, whole.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let problem = |error: std::io::Error| format!("{}: {error}", path.display());
    if std::fs::metadata(path).map_err(problem)?.len() > SECRET_FILE_BYTES_MAX {
        return Err(format!("{}: is larger than 64 KiB", path.display()));
    }
    std::fs::read(path).map_err(problem)
}
