//! A chart in an OCI registry: the manifest by its digest, then its one layer by the digest that the manifest names.
use std::collections::BTreeMap;

use bytes::Bytes;
use secrecy::SecretString;
use serde::Deserialize;

use super::archive::ARCHIVE_BYTES_MAX;
use super::error::SourceError;
use super::lock::{LockedArtifact, Sha256};
use super::web::{Answer, Ask, Authorization, Web, WebUrl, is_loopback};

/// Media type of a chart's archive.
pub const CHART: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";
/// Media type of a manifest.
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Largest manifest, as registries have it.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Largest answer of a token service.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// A repository in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    base: WebUrl,
    path: String,
}

/// The layer that is the chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// SHA-256 of the archive.
    pub digest: Sha256,
    /// Its size in bytes.
    pub size: u64,
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Repository {
    /// Parses `oci://registry/path/chart`.
    ///
    /// # Errors
    /// [`SourceError::Invalid`]
    pub fn parse(url: &str) -> Result<Self, SourceError> {
        let invalid = |why: &str| SourceError::Invalid {
            what: "the chart's address".to_owned(),
            why: why.to_owned(),
        };
        let rest = url.strip_prefix("oci://").unwrap_or_default();
        let (host, path) = rest
            .split_once('/')
            .ok_or_else(|| invalid("must be oci://registry/path"))?;
        let part = |part: &str| {
            let edge =
                |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(part.chars().next())
                && edge(part.chars().last())
                && part
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        let path = path.trim_end_matches('/');
        if path.len() > 255 || !path.split('/').all(part) {
            return Err(invalid(
                "has a path that no registry takes: small letters, digits and . _ - between slashes",
            ));
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let scheme = if is_loopback(name) { "http" } else { "https" };
        Ok(Self {
            base: WebUrl::parse(&format!("{scheme}://{host}/"))?,
            path: path.to_owned(),
        })
    }

    fn url(&self, kind: &str, name: &str) -> Result<WebUrl, SourceError> {
        self.base.join(&format!("/v2/{}/{kind}/{name}", self.path))
    }
}

/// One visit at a registry: its token is asked for once.
pub struct Visit<'a, W> {
    web: &'a W,
    at: Repository,
    authorization: Authorization,
}

impl<'a, W: Web> Visit<'a, W> {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// [`SourceError::Invalid`]
    pub fn new(web: &'a W, url: &str) -> Result<Self, SourceError> {
        Ok(Self {
            web,
            at: Repository::parse(url)?,
            authorization: Authorization::Nobody,
        })
    }

    /// The manifest that has this digest.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped.
    pub async fn manifest(&mut self, pin: &LockedArtifact) -> Result<Bytes, SourceError> {
        let what = format!("chart {} {}", pin.url, pin.version);
        let url = self.at.url("manifests", &pin.digest.to_string())?;
        let content = self.get(url, MANIFEST, &what, MANIFEST_BYTES_MAX).await?;
        checked(content, &pin.digest, what)
    }

    /// The manifest that a version is now, with its digest.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped.
    pub async fn tagged(&mut self, version: &str) -> Result<(Sha256, Bytes), SourceError> {
        // A tag can't hold the + of a version.
        let tag = version.replace('+', "_");
        let fine = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(fine) {
            return Err(SourceError::Invalid {
                what: format!("version {version:?}"),
                why: "must be exact: a registry has no index to look a range up in; commit a Chart.lock that names one".to_owned(),
            });
        }
        let what = format!(
            "chart {}/{}:{version}",
            self.at.base.authority(),
            self.at.path
        );
        let url = self.at.url("manifests", &tag)?;
        let content = self.get(url, MANIFEST, &what, MANIFEST_BYTES_MAX).await?;
        Ok((Sha256::of(&content), content))
    }

    /// The archive.
    ///
    /// # Errors
    /// [`SourceError`]
    /// # Cancel safety
    /// May be dropped.
    pub async fn layer(&mut self, layer: &Layer) -> Result<Bytes, SourceError> {
        let what = format!("chart {}/{}", self.at.base.authority(), self.at.path);
        let url = self.at.url("blobs", &layer.digest.to_string())?;
        let content = self.get(url, "", &what, ARCHIVE_BYTES_MAX).await?;
        checked(content, &layer.digest, what)
    }

    async fn get(
        &mut self,
        url: WebUrl,
        accept: &'static str,
        what: &str,
        bytes_max: u64,
    ) -> Result<Bytes, SourceError> {
        let denied = SourceError::Denied {
            host: self.at.base.authority(),
            status: 401,
        };
        for first in [true, false] {
            let ask = Ask {
                url: url.clone(),
                accept,
                authorization: self.authorization.clone(),
                what: what.to_owned(),
                bytes_max,
            };
            match self.web.get(ask).await? {
                Answer::Found(content) => return Ok(content),
                Answer::Absent => {
                    return Err(SourceError::NotFound {
                        what: what.to_owned(),
                    });
                }
                Answer::Unauthorized(challenge) if first => self.meet(&challenge).await?,
                Answer::Unauthorized(_) => return Err(denied),
            }
        }
        Err(denied)
    }

    /// Gets what the registry wants to see.
    async fn meet(&mut self, challenge: &str) -> Result<(), SourceError> {
        let host = self.at.base.authority();
        let Some(bearer) = parameters(challenge, "bearer") else {
            self.authorization = Authorization::Of(host);
            return Ok(());
        };
        let protocol = |why: &str| SourceError::Protocol {
            what: host.clone(),
            why: why.to_owned(),
        };
        let realm = bearer
            .get("realm")
            .ok_or_else(|| protocol("names no token service"))?;
        // The scope is ours: a server that asks for more does not get it.
        let scope = format!("repository:{}:pull", self.at.path);
        let mut query = vec![("scope", scope.as_str())];
        if let Some(service) = bearer.get("service") {
            query.push(("service", service));
        }
        let ask = Ask {
            url: WebUrl::parse(realm)?.with_query(&query),
            accept: "application/json",
            authorization: Authorization::Of(host.clone()),
            what: format!("the token service of {host}"),
            bytes_max: TOKEN_BYTES_MAX,
        };
        let Answer::Found(content) = self.web.get(ask).await? else {
            return Err(SourceError::Denied { host, status: 401 });
        };
        let token: Option<Token> = serde_json::from_slice(&content).ok();
        let token = token.and_then(|token| token.token.or(token.access_token));
        let token = token.ok_or_else(|| protocol("its token service gave no token"))?;
        self.authorization = Authorization::Bearer(SecretString::from(token));
        Ok(())
    }
}

/// Parameters of a challenge of this scheme: `Bearer realm="…",service="…"`.
fn parameters(challenge: &str, scheme: &str) -> Option<BTreeMap<String, String>> {
    let (found, mut rest) = challenge.trim().split_once(' ')?;
    if !found.eq_ignore_ascii_case(scheme) {
        return None;
    }
    let mut all = BTreeMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([' ', ',']).to_ascii_lowercase();
        let value;
        (value, rest) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        all.insert(name, value.to_owned());
    }
    Some(all)
}

fn checked(content: Bytes, locked: &Sha256, what: String) -> Result<Bytes, SourceError> {
    let got = Sha256::of(&content);
    if got == *locked {
        return Ok(content);
    }
    Err(SourceError::Digest {
        what,
        got,
        locked: locked.clone(),
    })
}

/// The layer of a manifest that is the chart.
///
/// # Errors
/// [`SourceError::Protocol`], [`SourceError::SizeLimit`]
pub fn chart_layer(manifest: &[u8], what: &str) -> Result<Layer, SourceError> {
    let protocol = |why: &str| SourceError::Protocol {
        what: what.to_owned(),
        why: why.to_owned(),
    };
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|_| protocol("its manifest can't be read"))?;
    let mut charts = manifest
        .layers
        .iter()
        .filter(|layer| layer.media_type == CHART);
    let (Some(layer), None) = (charts.next(), charts.next()) else {
        return Err(protocol(
            "is no Helm chart: its manifest must have one layer with a chart",
        ));
    };
    if layer.size > ARCHIVE_BYTES_MAX {
        return Err(SourceError::SizeLimit {
            what: what.to_owned(),
            limit: ARCHIVE_BYTES_MAX,
        });
    }
    let digest = Sha256::new(&layer.digest).ok_or_else(|| protocol("its layer has no SHA-256"))?;
    Ok(Layer {
        digest,
        size: layer.size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_by_its_parameters() {
        let read = parameters(
            "Bearer realm=\"https://auth.example.org/token?x=1,2\", service=r.example.org,scope=\"a:b,c\"",
            "bearer",
        )
        .unwrap();
        assert_eq!(read["realm"], "https://auth.example.org/token?x=1,2");
        assert_eq!(read["service"], "r.example.org");
        assert_eq!(read["scope"], "a:b,c");
        assert_eq!(parameters("Basic realm=\"x\"", "bearer"), None);
        assert_eq!(parameters("", "bearer"), None);
    }

    #[test]
    fn an_address_names_a_registry_and_a_path() {
        for good in ["oci://r.example.org/charts/redis", "oci://127.0.0.1:5000/a"] {
            assert!(Repository::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "oci://r.example.org",
            "oci://u:p@r.example.org/a",
            "oci://r.example.org/a/../b",
            "oci://r.example.org/a?x=1",
            "oci://r.example.org/A",
            "https://r.example.org/a",
        ] {
            assert!(Repository::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_manifest_with_one_chart_is_one() {
        let layer = |kind: &str| {
            format!(
                "{{\"mediaType\":\"{kind}\",\"digest\":\"sha256:{}\",\"size\":1}}",
                "a".repeat(64)
            )
        };
        let manifest = |layers: &[String]| format!("{{\"layers\":[{}]}}", layers.join(","));
        let chart = layer(CHART);
        let proof = layer("application/vnd.cncf.helm.chart.provenance.v1.prov");
        let of = |text: String| chart_layer(text.as_bytes(), "x").is_ok();
        assert!(of(manifest(&[proof.clone(), chart.clone()])));
        assert!(!of(manifest(&[chart.clone(), chart.clone()])));
        assert!(!of(manifest(&[proof])));
        assert!(!of(manifest(&[chart.replace("sha256:", "md5:")])));
        assert!(!of(manifest(&[
            chart.replace("\"size\":1", "\"size\":99999999999")
        ])));
        assert!(!of("{}".to_owned()));
    }
}
