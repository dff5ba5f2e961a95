//! `ClockService`: moves the time of a server whose clock stands still.

use tonic::{Request, Response, Status};

use super::{
    convert,
    pb::testing::{AdvanceRequest, AdvanceResponse, clock_service_server},
};
use crate::engine::Engine;

/// `ClockService`.
#[derive(Clone, Debug)]
pub struct ClockService {
    engine: Engine,
}

impl ClockService {
    /// The service, for an engine with a manual clock.
    #[must_use]
    pub const fn new(engine: Engine) -> Self {
        Self { engine }
    }
}

#[tonic::async_trait]
impl clock_service_server::ClockService for ClockService {
    async fn advance(&self, request: Request<AdvanceRequest>) -> Result<Response<AdvanceResponse>, Status> {
        let by = convert::advance("duration", request.get_ref().duration.as_ref())?;
        let now = self
            .engine
            .advance(by)
            .ok_or_else(|| Status::failed_precondition("this server's clock moves by itself"))?;
        Ok(Response::new(AdvanceResponse { now: Some(convert::to_timestamp(now)) }))
    }
}
