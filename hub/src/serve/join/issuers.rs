//! Which clusters may join by their service account: a TOML file, a table a cluster, and the keys that it names.
//!
//! ```toml
//! [clusters.metal-fra]
//! issuer = "https://kubernetes.default.svc.cluster.local"
//! service-account = "countersign/countersign-agent"
//! jwks-file = "metal-fra.jwks"                       # or
//! jwks-url = "https://10.0.0.1:6443/openid/v1/jwks"  # with
//! ca-file = "metal-fra-ca.crt"                       # unless a public CA signed its certificate
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::jwks::{self, JWKS_BYTES_MAX, Key};
use super::jwt::{self, Expected, TokenRefused};

/// Bytes of the file, and of a file that it names.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Keys that were fetched are used so long: strangers who ask must not make the hub ask.
const KEYS_KEPT: Duration = Duration::from_secs(60);
/// An issuer that does not answer within this time is away.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// Clusters that may join by their service account; none by default.
#[derive(Debug, Clone, Default)]
pub struct Issuers(Arc<BTreeMap<String, Issuer>>);

#[derive(Debug)]
struct Issuer {
    issuer: String,
    subject: String,
    keys: Source,
}

/// Where an issuer's keys are.
#[derive(Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Url {
        client: reqwest::Client,
        url: reqwest::Url,
        kept: Mutex<Option<(Instant, Arc<[Key]>)>>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    clusters: BTreeMap<String, Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    issuer: String,
    service_account: String,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    ca_file: Option<PathBuf>,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct BadIssuers {
    path: PathBuf,
    problem: String,
}

/// The keys of an issuer can't be had now.
#[derive(Debug, thiserror::Error)]
pub enum IssuerFault {
    /// The file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The server.
    #[error("{url}: {problem}")]
    Server {
        /// What was asked for.
        url: String,
        /// Why it was not got.
        problem: String,
    },
    /// What came is no key set.
    #[error("{place}: {problem}")]
    Keys {
        /// Where it came from.
        place: String,
        /// What is wrong.
        problem: jwks::NotAKeySet,
    },
}

/// Why a service account does not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinRefused {
    /// The hub's operator allowed no account of that cluster.
    #[error("no service account may join as this cluster")]
    NotAllowed,
    /// The token does not count.
    #[error(transparent)]
    Token(#[from] TokenRefused),
    /// The keys can't be had now.
    #[error(transparent)]
    Fault(#[from] IssuerFault),
}

impl Issuers {
    /// Reads the file at `path`; paths in it are relative to it.
    ///
    /// # Errors
    /// [`BadIssuers`] with what is wrong.
    pub fn read(path: &Path) -> Result<Self, BadIssuers> {
        let bad = |problem: String| BadIssuers {
            path: path.to_owned(),
            problem,
        };
        let text = read(path).map_err(|error| bad(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|error| bad(error.to_string()))?;
        let file: File = toml::from_str(&text).map_err(|error| bad(error.to_string()))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut issuers = BTreeMap::new();
        for (cluster, entry) in file.clusters {
            let wrong = |problem: String| bad(format!("clusters.{cluster}: {problem}"));
            countersign_ledger::name::check("cluster", &cluster)
                .map_err(|error| wrong(error.to_string()))?;
            let issuer = Issuer {
                subject: subject(&entry.service_account).map_err(wrong)?,
                keys: source(&entry, folder).map_err(wrong)?,
                issuer: entry.issuer,
            };
            issuers.insert(cluster, issuer);
        }
        Ok(Self(Arc::new(issuers)))
    }

    /// Judges the token of an agent that says it keeps `cluster`; the account that it proved to be.
    ///
    /// # Errors
    /// [`JoinRefused`]
    ///
    /// # Cancel safety
    /// May be dropped at any point.
    pub async fn check(
        &self,
        cluster: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<String, JoinRefused> {
        let issuer = self.0.get(cluster).ok_or(JoinRefused::NotAllowed)?;
        if token.len() > jwt::TOKEN_BYTES_MAX {
            return Err(TokenRefused::TooLong.into());
        }
        let keys = issuer.keys.get().await?;
        let want = Expected {
            issuer: &issuer.issuer,
            audience: &super::audience(cluster),
            subject: &issuer.subject,
        };
        jwt::check(token, &keys, &want, now.as_second())?;
        Ok(issuer.subject.clone())
    }
}

/// What `sub` says of an account `NAMESPACE/NAME`.
fn subject(account: &str) -> Result<String, String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    };
    match account.split_once('/') {
        Some((namespace, name)) if plain(namespace) && plain(name) => {
            Ok(format!("system:serviceaccount:{namespace}:{name}"))
        }
        _ => Err(format!(
            "service-account must be NAMESPACE/NAME, is {account:?}"
        )),
    }
}

fn source(entry: &Entry, folder: &Path) -> Result<Source, String> {
    Source::named(
        entry.jwks_file.as_deref(),
        entry.jwks_url.as_deref(),
        entry.ca_file.as_deref(),
        folder,
    )
}

impl Source {
    /// By a file, or by a URL and the CA of its server; files are relative to `folder`.
    pub(crate) fn named(
        file: Option<&Path>,
        url: Option<&str>,
        ca: Option<&Path>,
        folder: &Path,
    ) -> Result<Self, String> {
        match (file, url, ca) {
            (Some(file), None, None) => {
                let file = folder.join(file);
                let keys = read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
                jwks::parse(&keys).map_err(|error| format!("{}: {error}", file.display()))?;
                Ok(Source::File(file))
            }
            (None, Some(url), ca) => {
                let url: reqwest::Url =
                    url.parse().map_err(|error| format!("jwks-url: {error}"))?;
                if url.scheme() != "https" {
                    return Err("jwks-url must be https".to_owned());
                }
                let ca = ca.map(|file| folder.join(file));
                let client = client(ca.as_deref())?;
                Ok(Source::Url {
                    client,
                    url,
                    kept: Mutex::default(),
                })
            }
            _ => Err("needs jwks-file, or jwks-url and with it ca-file".to_owned()),
        }
    }
}

/// A client that believes the CA in the file alone, if one is named, and follows nobody.
fn client(ca: Option<&Path>) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .https_only(true)
        .timeout(FETCH_MAX);
    if let Some(path) = ca {
        let named = |error: String| format!("{}: {error}", path.display());
        let pem = read(path).map_err(|error| named(error.to_string()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)
            .map_err(|error| named(error.to_string()))?;
        if roots.is_empty() {
            return Err(named("holds no certificate".to_owned()));
        }
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| error.to_string())
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("larger than 1 MiB"));
    }
    std::fs::read(path)
}

impl Source {
    /// The keys, now; those of a URL may be a minute old.
    pub(crate) async fn get(&self) -> Result<Arc<[Key]>, IssuerFault> {
        match self {
            // Read each time: it is replaced when the cluster's keys are.
            Self::File(path) => {
                let fault = |source| IssuerFault::File {
                    path: path.clone(),
                    source,
                };
                let bytes = read(path).map_err(fault)?;
                parsed(&bytes, || path.display().to_string())
            }
            Self::Url { client, url, kept } => {
                let mut kept = kept.lock().await;
                if let Some((at, keys)) = &*kept
                    && at.elapsed() < KEYS_KEPT
                {
                    return Ok(Arc::clone(keys));
                }
                let keys = fetch(client, url).await?;
                *kept = Some((Instant::now(), Arc::clone(&keys)));
                Ok(keys)
            }
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &reqwest::Url) -> Result<Arc<[Key]>, IssuerFault> {
    let fault = |problem: String| IssuerFault::Server {
        url: url.to_string(),
        problem,
    };
    let answer = client.get(url.clone()).send().await;
    let answer = answer.map_err(|error| fault(error.to_string()))?;
    if !answer.status().is_success() {
        return Err(fault(format!("answered {}", answer.status())));
    }
    let (mut bytes, mut body) = (Vec::new(), answer.bytes_stream());
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|error| fault(error.to_string()))?);
        if bytes.len() > JWKS_BYTES_MAX {
            return Err(fault(format!("sent more than {JWKS_BYTES_MAX} bytes")));
        }
    }
    parsed(&bytes, || url.to_string())
}

fn parsed(bytes: &[u8], place: impl Fn() -> String) -> Result<Arc<[Key]>, IssuerFault> {
    jwks::parse(bytes)
        .map(Into::into)
        .map_err(|problem| IssuerFault::Keys {
            place: place(),
            problem,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Result<Issuers, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("join.toml");
        std::fs::write(&path, text).unwrap();
        Issuers::read(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn the_file_names_clusters_accounts_and_keys_and_nothing_else() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let good = "[clusters.metal]\nissuer = \"https://i\"\nservice-account = \"a/b\"\n";
        let url = format!("{good}jwks-url = \"https://10.0.0.1/jwks\"\n");
        assert!(written(&url).unwrap().0.contains_key("metal"));
        assert!(written("").unwrap().0.is_empty());
        for (text, problem) in [
            (good.to_owned(), "needs jwks-file"),
            (url.replace("https://10", "http://10"), "must be https"),
            (url.replace("a/b", "a"), "NAMESPACE/NAME"),
            (url.replace("a/b", "a/b:c"), "NAMESPACE/NAME"),
            (url.replace("clusters.metal", "clusters.M"), "clusters.M"),
            (format!("{url}jwks-file = \"x\"\n"), "needs jwks-file"),
            (format!("{url}audience = \"x\"\n"), "audience"),
            (format!("{good}jwks-file = \"none\"\n"), "none"),
        ] {
            let told = written(&text).unwrap_err();
            assert!(told.contains(problem), "{text}: {told}");
        }
    }
}
