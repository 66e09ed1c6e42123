//! A Helm repository over the web: its index (for a lock alone) and archives by their digest.
use bytes::Bytes;

use super::archive::ARCHIVE_BYTES_MAX;
use super::error::SourceError;
use super::index::{INDEX_BYTES_MAX, IndexProblem, find};
use super::lock::{LockedChart, Sha256};
use super::web::{Answer, Ask, Authorization, Web, WebUrl};

/// Fetches a pinned archive.
///
/// # Errors
/// [`SourceError`]
/// # Cancel safety
/// May be dropped.
pub async fn download<W: Web>(web: &W, pin: &LockedChart) -> Result<Bytes, SourceError> {
    let what = format!("chart {} {} of {}", pin.chart, pin.version, pin.repository);
    let url = WebUrl::parse(&pin.url)?;
    let content = get(web, url, what.clone(), ARCHIVE_BYTES_MAX).await?;
    let got = Sha256::of(&content);
    if got != pin.digest {
        return Err(SourceError::Digest {
            what,
            got,
            locked: pin.digest.clone(),
        });
    }
    Ok(content)
}

/// What a chart's version is, by the repository's index: a pin that nothing was fetched for yet.
///
/// # Errors
/// [`SourceError`]
/// # Cancel safety
/// May be dropped.
pub async fn look_up<W: Web>(
    web: &W,
    repository: &str,
    chart: &str,
    version: &str,
) -> Result<LockedChart, SourceError> {
    let base = WebUrl::parse(&format!("{}/", repository.trim_end_matches('/')))?;
    let url = base.join("index.yaml")?;
    let what = format!("index.yaml of {repository}");
    let index = get(web, url, what, INDEX_BYTES_MAX).await?;
    let (name, wanted) = (chart.to_owned(), version.to_owned());
    // Megabytes of YAML must not hold up other tasks.
    let parsing = tokio::task::spawn_blocking(move || find(&index, &name, &wanted));
    let entry = parsing
        .await
        .map_err(|error| SourceError::Cache {
            why: error.to_string(),
        })?
        .map_err(|problem| unpinnable(repository, &problem))?;
    let address = base.join(&entry.url)?;
    Ok(LockedChart {
        repository: repository.to_owned(),
        chart: chart.to_owned(),
        version: version.to_owned(),
        url: address.to_string(),
        digest: entry.digest,
        resolved: (entry.version != version).then_some(entry.version),
        dependencies: Vec::new(),
    })
}

fn unpinnable(repository: &str, problem: &IndexProblem) -> SourceError {
    let code = match problem {
        IndexProblem::Unreadable { .. } => "SOURCE_PROTOCOL",
        IndexProblem::NoChart { .. } | IndexProblem::NoVersion { .. } => "SOURCE_NOT_FOUND",
        IndexProblem::Range(_) => "SPEC_INVALID",
        IndexProblem::NoDigest { .. } | IndexProblem::NoAddress { .. } => "DIGEST_MISSING",
    };
    SourceError::Other {
        code,
        message: format!("{repository}: {problem}"),
        fault: false,
    }
}

async fn get<W: Web>(
    web: &W,
    url: WebUrl,
    what: String,
    bytes_max: u64,
) -> Result<Bytes, SourceError> {
    let host = url.authority();
    let ask = Ask {
        url,
        accept: "",
        authorization: Authorization::Of(host.clone()),
        what: what.clone(),
        bytes_max,
    };
    match web.get(ask).await? {
        Answer::Found(content) => Ok(content),
        Answer::Absent => Err(SourceError::NotFound { what }),
        Answer::Unauthorized(_) => Err(SourceError::Denied { host, status: 401 }),
    }
}
