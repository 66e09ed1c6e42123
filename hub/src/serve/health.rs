//! gRPC's health protocol: serving as long as heads can be served.

use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt as _};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as Protocol;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::state::State;

/// The service over a state.
pub(crate) struct Health {
    state: Arc<State>,
    stop: CancellationToken,
}

impl Health {
    pub(crate) fn new(state: Arc<State>, stop: CancellationToken) -> Self {
        Self { state, stop }
    }
}

fn known(service: &str) -> Result<(), Status> {
    match service {
        "" | "countersign.agent.v1.Agents" => Ok(()),
        _ => Err(Status::not_found("no such service")),
    }
}

fn answer(ready: bool) -> HealthCheckResponse {
    let status = if ready {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Protocol for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        known(&request.get_ref().service)?;
        Ok(Response::new(answer(self.state.is_ready())))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        known(&request.get_ref().service)?;
        let changes = WatchStream::new(self.state.watch_ready()).map(|ready| Ok(answer(ready)));
        let stream = changes.take_until(self.stop.clone().cancelled_owned());
        Ok(Response::new(Box::pin(stream)))
    }
}
