//! Where a repository is, parsed once. Nothing of the text reaches a shell, an option of a process or another host.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::track::trouble::Trouble;

/// Bytes of a URL.
const URL_BYTES_MAX: usize = 2_048;

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A repository on this machine.
    Local(PathBuf),
    /// Smart HTTP; `http` on loopback only.
    Http(HttpUrl),
    /// OpenSSH.
    Ssh(SshUrl),
}

/// `https://host[:port]/path`, without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    origin: Origin,
    path: String,
}

/// What a credential is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// TLS or not.
    pub tls: bool,
    /// Lower case.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// `ssh://[user@]host[:port]/path` or `[user@]host:path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshUrl {
    /// User there; `git` if the URL names none.
    pub user: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// As the remote's shell gets it between single quotes; holds none.
    pub path: String,
}

impl Source {
    /// Parses what an operator wrote after `--repo`. Relative paths are taken from `here`.
    ///
    /// # Errors
    /// [`Trouble::SourceInvalid`]; its text never repeats the URL, which may hold a credential.
    pub fn parse(text: &str, here: &Path) -> Result<Self, Trouble> {
        if text.is_empty() || text.len() > URL_BYTES_MAX {
            return Err(invalid("must have 1 to 2048 bytes"));
        }
        if text.starts_with('-') {
            return Err(invalid("must not start with '-'"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            return match scheme {
                "https" => http(true, rest).map(Self::Http),
                "http" => http(false, rest).map(Self::Http),
                "ssh" => ssh_url(rest).map(Self::Ssh),
                "file" if rest.starts_with('/') => Ok(Self::Local(PathBuf::from(rest))),
                "file" => Err(invalid("file:// must be followed by an absolute path")),
                _ => Err(invalid(
                    "has a scheme other than https, ssh, file (and http for loopback)",
                )),
            };
        }
        if text.contains("::") {
            return Err(invalid(
                "names a remote helper; only https, ssh and local paths are fetched",
            ));
        }
        match text.split_once(':') {
            Some((host, path)) if !host.contains('/') => scp(host, path).map(Self::Ssh),
            _ => Ok(Self::Local(here.join(text))),
        }
    }

    /// For people, and the name under which it stands in statements; holds no credential.
    #[must_use]
    pub fn display(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Http(url) => url.to_string(),
            Self::Ssh(url) => url.to_string(),
        }
    }

    /// Host for messages.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Http(url) => url.origin.to_string(),
            Self::Ssh(url) => url.host.clone(),
        }
    }

    /// `owner/name` in lower case, as forges name it in webhooks; empty for a path without one.
    #[must_use]
    pub fn repository(&self) -> String {
        let path = match self {
            Self::Local(path) => path.to_string_lossy().into_owned(),
            Self::Http(url) => url.path.clone(),
            Self::Ssh(url) => url.path.clone(),
        };
        let path = path.trim_matches('/');
        path.strip_suffix(".git").unwrap_or(path).to_lowercase()
    }
}

impl HttpUrl {
    /// Scope of the credential.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// URL of a service below the repository.
    #[must_use]
    pub fn service(&self, suffix: &str) -> String {
        format!("{self}/{suffix}")
    }
}

fn invalid(problem: &str) -> Trouble {
    Trouble::SourceInvalid {
        field: "repo",
        problem: problem.into(),
    }
}

fn http(tls: bool, rest: &str) -> Result<HttpUrl, Trouble> {
    let (authority, path) = rest.split_once('/').ok_or_else(|| invalid("has no path"))?;
    if authority.contains('@') {
        return Err(invalid(
            "holds a user or password; put the token into a file and name it in --git-token-file",
        ));
    }
    let (host, port) = host_and_port(authority)?;
    if !tls && !is_loopback(&host) {
        return Err(invalid("http:// is for loopback only; use https://"));
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Err(invalid("has no path"));
    }
    if let Some(problem) = http_path_defect(path) {
        return Err(invalid(problem));
    }
    let port = port.unwrap_or(if tls { 443 } else { 80 });
    Ok(HttpUrl {
        origin: Origin { tls, host, port },
        path: path.to_owned(),
    })
}

fn http_path_defect(path: &str) -> Option<&'static str> {
    if path.contains(['?', '#']) {
        return Some("has a query or fragment");
    }
    if !path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~/%+!,=@()".contains(&b))
    {
        return Some("has a character in its path that must be percent-encoded");
    }
    if path
        .split('/')
        .any(|part| part.is_empty() || part == "." || part == "..")
    {
        return Some("has an empty, '.' or '..' part in its path");
    }
    let mut rest = path.as_bytes();
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        let digits = rest
            .get(at + 1..at + 3)
            .and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|d| u8::from_str_radix(d, 16).ok()) {
            None => return Some("has a broken percent-encoding"),
            Some(byte) if byte < 0x20 || byte == 0x7f || b"/\\.%".contains(&byte) => {
                return Some(
                    "hides a control character, '/', '\\', '.' or '%' behind percent-encoding",
                );
            }
            Some(_) => rest = &rest[at + 3..],
        }
    }
    None
}

fn ssh_url(rest: &str) -> Result<SshUrl, Trouble> {
    let (authority, path) = rest.split_once('/').ok_or_else(|| invalid("has no path"))?;
    let (user, host_port) = authority.split_once('@').unwrap_or(("git", authority));
    let (host, port) = host_and_port(host_port)?;
    ssh(user, host, port.unwrap_or(22), &format!("/{path}"))
}

fn scp(authority: &str, path: &str) -> Result<SshUrl, Trouble> {
    let (user, host) = authority.split_once('@').unwrap_or(("git", authority));
    let (host, port) = host_and_port(host)?;
    ssh(user, host, port.unwrap_or(22), path)
}

fn ssh(user: &str, host: String, port: u16, path: &str) -> Result<SshUrl, Trouble> {
    if user.contains(':') {
        return Err(invalid("holds a password"));
    }
    let word = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    if !word(user) || user.starts_with('-') {
        return Err(invalid("has a user that is not a plain name"));
    }
    let trimmed = path.trim_matches('/');
    let path_ok = path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-._~/+@,=".contains(&b));
    if !path_ok
        || trimmed.is_empty()
        || path.starts_with('-')
        || trimmed.split('/').any(|p| p.starts_with('-') || p == "..")
    {
        return Err(invalid(
            "has a path with a character that a shell could read, a part that starts with '-', or '..'",
        ));
    }
    Ok(SshUrl {
        user: user.to_owned(),
        host,
        port,
        path: path.to_owned(),
    })
}

fn host_and_port(authority: &str) -> Result<(String, Option<u16>), Trouble> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (address, after) = rest
            .split_once(']')
            .ok_or_else(|| invalid("has a broken IPv6 address"))?;
        address
            .parse::<std::net::Ipv6Addr>()
            .map_err(|_| invalid("has a broken IPv6 address"))?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(invalid("has a broken port")),
        };
        (format!("[{}]", address.to_ascii_lowercase()), port)
    } else {
        let (host, port) = authority
            .split_once(':')
            .map_or((authority, None), |(host, port)| (host, Some(port)));
        let label = |label: &str| {
            !label.is_empty()
                && !label.starts_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        if host.len() > 253 || !host.split('.').all(label) {
            return Err(invalid("has no valid host name"));
        }
        (host.to_ascii_lowercase(), port)
    };
    let port = match port {
        None => None,
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            match digits.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return Err(invalid("has a port that is not 1 to 65535")),
            }
        }
        Some(_) => return Err(invalid("has a port that is not 1 to 65535")),
    };
    Ok((host, port))
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.tls {
            ("https", 443)
        } else {
            ("http", 80)
        };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.path)
    }
}

impl fmt::Display for SshUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.starts_with('/') {
            ""
        } else {
            "/~/"
        };
        write!(f, "ssh://{}@{}", self.user, self.host)?;
        if self.port != 22 {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "{slash}{}", self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Source, &'static str> {
        Source::parse(text, Path::new("/srv")).map_err(|trouble| trouble.code())
    }

    #[test]
    fn what_operators_write_is_understood() {
        let shown = |text: &str| parse(text).unwrap().display();
        assert_eq!(
            shown("https://GitHub.com/Acme/Fleet.git"),
            "https://github.com/Acme/Fleet.git"
        );
        assert_eq!(
            shown("https://git.example.org:8443/fleet/"),
            "https://git.example.org:8443/fleet"
        );
        assert_eq!(
            shown("http://127.0.0.1:3000/fleet"),
            "http://127.0.0.1:3000/fleet"
        );
        assert_eq!(shown("http://[::1]:3000/fleet"), "http://[::1]:3000/fleet");
        assert_eq!(
            shown("git@github.com:acme/fleet.git"),
            "ssh://git@github.com/~/acme/fleet.git"
        );
        assert_eq!(
            shown("ssh://deploy@git.example.org:2222/srv/fleet"),
            "ssh://deploy@git.example.org:2222/srv/fleet"
        );
        assert_eq!(parse("./fleet"), Ok(Source::Local("/srv/./fleet".into())));
        assert_eq!(
            parse("/srv/my fleet"),
            Ok(Source::Local("/srv/my fleet".into()))
        );
        assert_eq!(
            parse("file:///srv/fleet"),
            Ok(Source::Local("/srv/fleet".into()))
        );
        assert_eq!(
            parse("https://github.com/Acme/Fleet.git")
                .unwrap()
                .repository(),
            "acme/fleet"
        );
        assert_eq!(
            parse("git@github.com:Acme/Fleet.git").unwrap().repository(),
            "acme/fleet"
        );
    }

    #[test]
    fn cve_2025_21613_hostile_urls_are_refused_by_the_parser() {
        let hostile = [
            "",
            "--upload-pack=x",
            "-oProxyCommand=x",
            "ext::sh -c id",
            "fd::7",
            "ftp://h/x",
            "git://h/x",
            "https:///h",
            "https://h",
            "https://h/",
            "https://user:pw@h/x",
            "https://token@h/x",
            "https://h/x?a=b",
            "https://h/x#y",
            "https://h/%0a",
            "https://h/%2e%2e/x",
            "https://h/../x",
            "https://h/a//b",
            "https://h:0/x",
            "https://h:99999/x",
            "https://h:/x",
            "https://h:+1/x",
            "https://-h/x",
            "https://h h/x",
            "https://h/a b",
            "https://h/'x",
            "http://example.org/x",
            "http://127.0.0.1.example.org/x",
            "ssh://-F@h/x",
            "ssh://-oProxyCommand=x/y",
            "-F@h:x",
            "git@-oProxyCommand=id:x",
            "git@h:-x",
            "git@h:a/-b",
            "git@h:$(id)",
            "git@h:a'b",
            "git@h:a b",
            "git@h:../x",
            "u:p@h:x",
            "ssh://u:p@h/x",
            "https://h/x\ny",
            "git@h:x\nid",
            "socks5://$(id)@h",
            "https://[::1/x",
            "https://[zz]/x",
            "https://h\\@evil/x",
            "https://h%00/x",
            "ssh://h",
            "file://srv/x",
            "git@:x",
            "git@h:",
        ];
        for text in hostile {
            assert_eq!(parse(text), Err("SOURCE_INVALID"), "{text:?}");
        }
        assert!(parse(&format!("https://h/{}", "x".repeat(3000))).is_err());
    }

    #[test]
    fn a_refusal_never_repeats_a_credential() {
        let refusal = Source::parse("https://user:canary-7f3a@h/x", Path::new("/")).unwrap_err();
        assert!(!refusal.to_string().contains("canary"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic_or_yield_an_option(text in ".{0,80}") {
            match parse(&text) {
                Ok(Source::Ssh(url)) => {
                    prop_assert!(!url.user.starts_with('-') && !url.host.starts_with('-') && !url.path.starts_with('-'));
                    prop_assert!(!url.path.contains(['\'', '\n', '$', '`', ';', ' ']));
                }
                Ok(Source::Http(url)) => prop_assert!(!url.to_string().contains(['@', '\n', ' ', '?']) || url.path.contains('@')),
                Ok(Source::Local(path)) => prop_assert!(path.is_absolute()),
                Err(code) => prop_assert_eq!(code, "SOURCE_INVALID"),
            }
        }

        #[test]
        fn what_is_shown_parses_to_the_same_place(host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}", port in 1u16.., path in "[a-z]{1,8}(/[a-z]{1,8}){0,2}") {
            let url = parse(&format!("https://{host}:{port}/{path}")).unwrap();
            prop_assert_eq!(parse(&url.display()).unwrap(), url);
        }
    }
}
