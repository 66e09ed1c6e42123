//! The paths that a person's signature counts for, compared byte by byte.

use std::fmt::Write as _;

/// Paths of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    all: bool,
    /// With their slash at the end.
    folders: Vec<Vec<u8>>,
    files: Vec<Vec<u8>>,
}

impl Paths {
    /// Reads paths as the trust root has them: `/` is everything, `a/b/` all below that folder, `a/b` that file.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn read<'a>(paths: impl IntoIterator<Item = &'a str>) -> Result<Self, &'static str> {
        let mut read = Self {
            all: false,
            folders: Vec::new(),
            files: Vec::new(),
        };
        for path in paths {
            if path == "/" {
                read.all = true;
                continue;
            }
            let bare = path.strip_suffix('/').unwrap_or(path);
            let odd = |part: &str| part.is_empty() || part == "." || part == "..";
            if bare.split('/').any(odd) || bare.contains(['\0', '\\', '*']) {
                return Err(
                    "a path that is neither \"/\", nor a file's, nor a folder's that ends in \"/\"",
                );
            }
            if path.ends_with('/') {
                read.folders.push(path.as_bytes().to_vec());
            } else {
                read.files.push(path.as_bytes().to_vec());
            }
        }
        Ok(read)
    }

    /// Everything.
    #[must_use]
    pub const fn all(&self) -> bool {
        self.all
    }

    /// Whether all below a folder is covered; its path ends in a slash, the root's is empty.
    #[must_use]
    pub fn cover_folder(&self, folder: &[u8]) -> bool {
        self.all || self.folders.iter().any(|own| folder.starts_with(own))
    }

    /// Whether a file, link or submodule is covered.
    #[must_use]
    pub fn cover_file(&self, file: &[u8]) -> bool {
        self.all
            || self.files.iter().any(|own| own == file)
            || self.folders.iter().any(|own| file.starts_with(own))
    }
}

/// A path for messages: no control character and no broken UTF-8 gets through.
pub(super) fn escaped(path: &[u8]) -> String {
    path.utf8_chunks().fold(String::new(), |mut text, chunk| {
        for c in chunk.valid().chars() {
            // What terminals act on, or hide, is written out.
            if c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            {
                text.extend(c.escape_unicode());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_covers_what_is_in_it_and_no_namesake() {
        let paths = Paths::read(["apps/cart/", "fleet.yaml"]).unwrap();
        for (path, covered) in [
            ("apps/cart/a.yaml", true),
            ("apps/cart/b/c.yaml", true),
            ("fleet.yaml", true),
            ("apps/cart", false),
            ("apps/cart2/a.yaml", false),
            ("apps/cart.yaml", false),
            ("fleet.yaml/x", false),
            ("Fleet.yaml", false),
        ] {
            assert_eq!(paths.cover_file(path.as_bytes()), covered, "{path}");
        }
        assert!(paths.cover_folder(b"apps/cart/"));
        assert!(!paths.cover_folder(b"apps/"));
        assert!(!paths.cover_folder(b""));
        let all = Paths::read(["/"]).unwrap();
        assert!(all.cover_folder(b"") && all.cover_file(b"x"));
        assert!(
            !Paths::read([]).unwrap().cover_file(b"x"),
            "nothing is nothing"
        );
    }

    #[test]
    fn a_path_that_could_mean_two_things_is_refused() {
        for path in ["", "//", "/a", "a//b", "../a", "a/./b", "a/*", "a\\b"] {
            assert!(Paths::read([path]).is_err(), "{path:?}");
        }
    }
}
