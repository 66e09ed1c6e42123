//! The pool of worker processes as a [`Renderer`].
use std::sync::Arc;

use super::{Fresh, Renderer};
use crate::render::{Files, RenderFailure, RenderRequest, Rendered, Trace, WorkerId, Workers};

impl Renderer for Workers {
    fn version(&self) -> String {
        Workers::version(self).to_owned()
    }

    async fn render(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
    ) -> Result<Fresh, RenderFailure> {
        Workers::render(self, &request, files)
            .await
            .map(Fresh::from)
    }

    async fn render_again(
        &self,
        files: Arc<dyn Files>,
        request: RenderRequest,
        first: Option<WorkerId>,
    ) -> Result<Fresh, RenderFailure> {
        let Some(worker) = first else {
            return Renderer::render(self, files, request).await;
        };
        // Only the process matters; what it gave is compared by the caller.
        let first = Rendered {
            objects: Vec::new(),
            trace: Trace::default(),
            warnings: Vec::new(),
            worker,
        };
        Workers::render_again(self, &first, &request, files)
            .await
            .map(Fresh::from)
    }
}
