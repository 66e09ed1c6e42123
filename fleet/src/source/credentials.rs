//! Who we are to which host: the file that an operator names with `--source-credentials-file`.
//!
//! ```yaml
//! hosts:
//!   - host: registry.example.org
//!     user: robot
//!     password: …
//!     realm: auth.example.org          # its token service, if that is another host
//!     redirects: [cdn.example.org]     # where its downloads may be redirected; gets no credential
//!   - host: charts.example.org
//!     token: …                         # sent as it is (Bearer); registries want user and password
//! caFile: /etc/ssl/private-ca.pem      # further roots to trust
//! ```
use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use secrecy::{ExposeSecret as _, SecretString};

use crate::yaml::{self, Node, Value};

/// The file and what it names.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Credentials by host.
    pub credentials: Credentials,
    /// PEM bundle of further roots to trust.
    pub roots: Option<Vec<u8>>,
}

impl Access {
    /// Reads the operator's file; without one, nobody is anybody anywhere.
    ///
    /// # Errors
    /// What is wrong with the file, without its content.
    pub fn from_file(file: Option<&Path>) -> Result<Self, String> {
        let Some(file) = file else {
            return Ok(Self::default());
        };
        let at = |why: String| format!("{}: {why}", file.display());
        let read = |path: &Path| {
            let read = std::fs::read(path);
            read.map_err(|error| format!("{}: {error}", path.display()))
        };
        let length = std::fs::metadata(file).map_or(0, |known| known.len());
        if length > FILE_BYTES_MAX {
            return Err(at(format!("has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(read(file)?).map_err(|_| at("is not UTF-8".to_owned()))?;
        let text = SecretString::from(text);
        let credentials = Credentials::parse(text.expose_secret()).map_err(at)?;
        let roots = credentials.ca_file.as_ref();
        let roots = roots.map(|name| read(&file.parent().unwrap_or(file).join(name)));
        Ok(Self {
            roots: roots.transpose()?,
            credentials,
        })
    }
}

/// Credentials by host.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    hosts: BTreeMap<String, Host>,
    /// PEM file with further roots.
    pub ca_file: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct Host {
    secret: Option<Secret>,
    realm: Option<String>,
    redirects: Vec<String>,
}

#[derive(Debug, Clone)]
enum Secret {
    Password {
        user: String,
        password: SecretString,
    },
    Token(SecretString),
}

/// Largest file of credentials.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Fields of a host.
const HOST_FIELDS: [&str; 6] = ["host", "user", "password", "token", "realm", "redirects"];

impl Credentials {
    /// Reads the file's text.
    ///
    /// # Errors
    /// Line and what is wrong there; never what stands there.
    pub fn parse(text: &str) -> Result<Self, String> {
        let documents = yaml::parse(text).map_err(|e| format!("line {}: is no YAML", e.line))?;
        let root = match documents.as_slice() {
            [] => return Ok(Self::default()),
            [root] => root,
            [_, second, ..] => return Err(format!("line {}: must be one document", second.line)),
        };
        only(root, &["hosts", "caFile"])?;
        let mut all = Self {
            ca_file: text_of(root, "caFile")?,
            ..Self::default()
        };
        for entry in list(root, "hosts")? {
            let (name, host) = host(entry)?;
            if all.hosts.insert(name, host).is_some() {
                return Err(format!("line {}: the host stands here twice", entry.line));
            }
        }
        Ok(all)
    }

    /// Value of the header `Authorization` for a host.
    pub fn header(&self, authority: &str) -> Option<SecretString> {
        Some(match self.hosts.get(authority)?.secret.as_ref()? {
            Secret::Token(token) => format!("Bearer {}", token.expose_secret()).into(),
            Secret::Password { user, password } => {
                let pair: SecretString = format!("{user}:{}", password.expose_secret()).into();
                let coded = base64::engine::general_purpose::STANDARD.encode(pair.expose_secret());
                format!("Basic {coded}").into()
            }
        })
    }

    /// User and password for a host, as Git sends them; a token goes with the user that forges take with one.
    pub fn password(&self, authority: &str) -> Option<(String, SecretString)> {
        Some(match self.hosts.get(authority)?.secret.as_ref()? {
            Secret::Token(token) => ("x-access-token".to_owned(), token.clone()),
            Secret::Password { user, password } => (user.clone(), password.clone()),
        })
    }

    /// Whether `to` is the token service of `from`.
    pub fn realm(&self, from: &str, to: &str) -> bool {
        let realm = self.hosts.get(from).and_then(|host| host.realm.as_deref());
        from == to || realm == Some(to)
    }

    /// Whether downloads of `from` may come from `to`.
    pub fn redirect(&self, from: &str, to: &str) -> bool {
        let host = self.hosts.get(from);
        host.is_some_and(|host| host.redirects.iter().any(|known| known == to))
    }
}

fn host(entry: &Node) -> Result<(String, Host), String> {
    only(entry, &HOST_FIELDS)?;
    let at = |problem: &str| format!("line {}: {problem}", entry.line);
    let name = text_of(entry, "host")?.ok_or_else(|| at("host is missing"))?;
    let (user, password) = (text_of(entry, "user")?, text_of(entry, "password")?);
    let secret = match (user, password, text_of(entry, "token")?) {
        (None, None, None) => None,
        (None, None, Some(token)) => Some(Secret::Token(token.into())),
        (Some(user), Some(password), None) if !user.contains(':') => Some(Secret::Password {
            user,
            password: password.into(),
        }),
        _ => {
            return Err(at(
                "must have user and password, or token; a user has no ':'",
            ));
        }
    };
    let mut redirects = Vec::new();
    for node in list(entry, "redirects")? {
        let host = node
            .text()
            .ok_or_else(|| at("redirects must be names of hosts"))?;
        redirects.push(authority(host).ok_or_else(|| at("redirects must be names of hosts"))?);
    }
    let realm = text_of(entry, "realm")?
        .map(|realm| authority(&realm).ok_or_else(|| at("realm must be the name of a host")))
        .transpose()?;
    let name = authority(&name)
        .ok_or_else(|| at("host must be the name of a host, with a port if it is not 443"))?;
    Ok((
        name,
        Host {
            secret,
            realm,
            redirects,
        },
    ))
}

/// `host` or `host:port`, in small letters and without the usual port.
fn authority(text: &str) -> Option<String> {
    let fine = |c: u8| c.is_ascii_alphanumeric() || b".-:[]".contains(&c);
    if text.is_empty() || !text.bytes().all(fine) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    Some(text.strip_suffix(":443").unwrap_or(&text).to_owned())
}

fn only(node: &Node, known: &[&str]) -> Result<(), String> {
    let Value::Map(fields) = &node.value else {
        return Err(format!("line {}: must be a map", node.line));
    };
    match fields
        .iter()
        .find(|(key, _)| !known.contains(&key.name.as_str()))
    {
        None => Ok(()),
        Some((key, _)) => Err(format!(
            "line {}: there is no such field; known: {}",
            key.line,
            known.join(", ")
        )),
    }
}

fn text_of(node: &Node, name: &str) -> Result<Option<String>, String> {
    match node.get(name) {
        None => Ok(None),
        Some(field) => {
            let text = field
                .text()
                .filter(|text| !text.is_empty() && !text.chars().any(char::is_control));
            text.map(|text| Some(text.to_owned())).ok_or_else(|| {
                format!("line {}: {name} must be a text; quote a number", field.line)
            })
        }
    }
}

fn list<'a>(node: &'a Node, name: &str) -> Result<&'a [Node], String> {
    match node.get(name) {
        None => Ok(&[]),
        Some(field) => match &field.value {
            Value::List(items) => Ok(items),
            Value::Null => Ok(&[]),
            _ => Err(format!("line {}: {name} must be a list", field.line)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_found_by_its_own_host_alone() {
        let all = Credentials::parse(
            "hosts:\n- {host: R.example.org:443, user: u, password: p, realm: auth.example.org, redirects: [cdn.example.org]}\n- {host: '127.0.0.1:5000', token: t}\n",
        )
        .unwrap();
        let header = |host| all.header(host).map(|text| text.expose_secret().to_owned());
        assert_eq!(header("r.example.org").as_deref(), Some("Basic dTpw"));
        assert_eq!(header("127.0.0.1:5000").as_deref(), Some("Bearer t"));
        for other in [
            "auth.example.org",
            "cdn.example.org",
            "r.example.org:8443",
            "example.org",
        ] {
            assert_eq!(header(other), None, "{other}");
        }
        assert!(all.realm("r.example.org", "auth.example.org"));
        assert!(!all.realm("127.0.0.1:5000", "auth.example.org"));
        assert!(all.redirect("r.example.org", "cdn.example.org"));
        assert!(!all.redirect("cdn.example.org", "r.example.org"));
    }

    #[test]
    fn a_mistake_names_its_line_and_no_secret() {
        for (text, line) in [
            ("hosts:\n- {host: a, user: canary}\n", 2),
            ("hosts:\n- {host: a, pasword: canary}\n", 2),
            ("hosts:\n- {host: a, password: 1234}\n", 2),
            ("hosts:\n- host: https://a/canary\n", 2),
            ("hosts: canary\n", 1),
            ("hosts:\n- {host: a}\n- {host: a}\n", 3),
            ("canary: [\n", 1),
        ] {
            let error = Credentials::parse(text).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
            assert!(error.starts_with("line "), "{error}");
            let _ = line;
        }
        assert!(
            !format!(
                "{:?}",
                Credentials::parse("hosts: [{host: a, token: canary}]").unwrap()
            )
            .contains("canary")
        );
    }
}
