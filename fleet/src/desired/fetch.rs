//! What a render needs from elsewhere, brought by its pin.
use bytes::Bytes;
use countersign_proto::limits::RENDERER_FRAME_BYTES_MAX;

use crate::failure::AppFailure;
use crate::model::{App, Fleet, Source};
use crate::render::{Chart, How, RenderRequest};
use crate::source::lock::{ChartPin, LockedArtifact, LockedChart, LockedRepository};
use crate::tree::SharedTree;

/// Bytes of all archives of one render: a frame to the renderer, less what else stands in it.
const ARCHIVES_BYTES_MAX: usize = RENDERER_FRAME_BYTES_MAX - (4 << 20);

/// Brings what is pinned in the lock file.
pub trait Sources: Send + Sync {
    /// A chart's archive, whose digest was checked.
    fn chart(&self, pin: &LockedChart) -> impl Future<Output = Result<Bytes, AppFailure>> + Send;

    /// A chart's archive from an OCI registry, whose digests were checked.
    fn artifact(
        &self,
        pin: &LockedArtifact,
    ) -> impl Future<Output = Result<Bytes, AppFailure>> + Send;

    /// The tree of a repository's commit.
    fn repository(
        &self,
        pin: &LockedRepository,
    ) -> impl Future<Output = Result<SharedTree, AppFailure>> + Send;
}

/// The tree of another repository.
pub(super) type Outside = Result<SharedTree, AppFailure>;

pub(super) fn not_locked(app: &App) -> AppFailure {
    let why = "the source is not pinned in countersign.lock; run `countersign lock`";
    AppFailure::new("LOCK_MISMATCH", why).at(app.place.file.to_string(), app.place.line)
}

/// Fetches the repository that an app's files lie in; `None` if they lie in none. An archive is fetched only if what it
/// renders to is not known.
pub(super) async fn fetch<S: Sources>(
    sources: &S,
    app: &App,
    fleet: &Fleet,
) -> Option<(String, Outside)> {
    let Source::Git(source) = &app.source else {
        return None;
    };
    let fetched = match fleet.lock.repository(source) {
        None => Err(not_locked(app)),
        Some(pin) => sources.repository(pin).await,
    };
    Some((app.name.clone(), fetched))
}

/// Archives that a render needs, fetched just before it.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) chart: Option<ChartPin>,
    pub(super) dependencies: Vec<(String, ChartPin)>,
}

impl Wanted {
    /// Names all of it, by digest.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (name, pin) in &self.dependencies {
            text.push_str(&format!("{name}={}\n", pin.digest()));
        }
        if let Some(pin) = &self.chart {
            text.push_str(&pin.digest().to_string());
        }
        text
    }

    /// Puts the archives into the request.
    pub(super) async fn bring<S: Sources>(
        self,
        sources: &S,
        request: &mut RenderRequest,
    ) -> Result<(), AppFailure> {
        let How::Helm(helm) = &mut request.how else {
            return Ok(());
        };
        if let Some(pin) = &self.chart {
            helm.chart = Chart::Archive(archive(sources, pin).await?);
        }
        for (name, pin) in self.dependencies {
            let content = archive(sources, &pin).await?;
            helm.dependencies.push((name, content));
        }
        let chart = match &helm.chart {
            Chart::Archive(content) => content.len(),
            Chart::Folder(_) => 0,
        };
        let all = helm.dependencies.iter().map(|(_, content)| content.len());
        if chart + all.sum::<usize>() > ARCHIVES_BYTES_MAX {
            let why =
                format!("the chart's archives have more than {ARCHIVES_BYTES_MAX} bytes together");
            return Err(AppFailure::new("SIZE_LIMIT", why));
        }
        Ok(())
    }
}

async fn archive<S: Sources>(sources: &S, pin: &ChartPin) -> Result<Bytes, AppFailure> {
    match pin {
        ChartPin::Chart(pin) => sources.chart(pin).await,
        ChartPin::Artifact(pin) => sources.artifact(pin).await,
    }
}
