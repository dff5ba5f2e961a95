//! The services that every gRPC server is expected to have: health, and reflection, so that grpcurl needs no files.

use std::pin::Pin;

use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::watch::Receiver;
use tonic::{Request, Response, Status, server::NamedService};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tonic_reflection::server as reflection;

use super::{
    dispatch::{Kind, Services},
    pb,
};
use crate::{engine::Error, shutdown::Shutdown, store};

/// Largest request of these services, in bytes: each is a name or two.
const MESSAGE_BYTES: usize = 4 << 10;

/// Adds health of all services that are there, and reflection of both versions.
///
/// # Panics
/// The descriptors that were built in are damaged.
#[must_use]
pub fn standard_services(services: Services, shutdown: &Shutdown, store: Receiver<store::Health>) -> Services {
    let health = HealthServer::new(Healthy { shutdown: shutdown.clone(), store, names: services.names().to_vec() })
        .max_decoding_message_size(MESSAGE_BYTES);
    let services = services.methods(&["Watch"], Kind::HealthWatch, MESSAGE_BYTES, health.clone()).methods(
        &[],
        Kind::Check,
        MESSAGE_BYTES,
        health,
    );
    let names = [services.names(), &[V1, V1ALPHA]].concat();
    let (v1, v1alpha) = (describe(&names).build_v1(), describe(&names).build_v1alpha());
    let v1 = v1.expect("built in").max_decoding_message_size(MESSAGE_BYTES);
    let v1alpha = v1alpha.expect("built in").max_decoding_message_size(MESSAGE_BYTES);
    services.methods(&[], Kind::ForeignStream, MESSAGE_BYTES, v1).methods(
        &[],
        Kind::ForeignStream,
        MESSAGE_BYTES,
        v1alpha,
    )
}

const V1: &str = "grpc.reflection.v1.ServerReflection";
const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Everything that can be described; only what is served is listed. The details of errors are in no service's messages,
/// and a client still has to find them.
fn describe(names: &[&str]) -> reflection::Builder<'static> {
    let builder = reflection::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET);
    names.iter().fold(builder, |builder, name| builder.with_service_name(*name))
}

/// `grpc.health.v1.Health`: the server, by the empty name, and each service serve until the server drains. `store` serves while
/// the store can write; the server serves without it, because what is closed goes on being answered.
///
/// tonic's own reporter is not used, because its watches do not end by themselves and would hold up a drain.
#[derive(Clone, Debug)]
struct Healthy {
    shutdown: Shutdown,
    store: Receiver<store::Health>,
    names: Vec<&'static str>,
}

impl Healthy {
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let is_well = match service {
            STORE => *self.store.borrow() == store::Health::Well,
            "" | HEALTH => true,
            name if self.names.contains(&name) => true,
            _ => return None,
        };
        let is_serving = is_well && !self.shutdown.draining();
        Some(if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing })
    }

    /// Waits until a service's status is another one.
    async fn changed(&mut self, service: &str, status: Option<ServingStatus>) -> Option<ServingStatus> {
        loop {
            let now = self.status(service);
            if now != status {
                return now;
            }
            tokio::select! {
                () = self.shutdown.drained(), if !self.shutdown.draining() => {}
                // The sender lives as long as the store; after it, only the drain is left.
                Ok(()) = self.store.changed(), if service == STORE => {}
                else => std::future::pending().await,
            }
        }
    }
}

const HEALTH: &str = <HealthServer<Healthy> as NamedService>::NAME;
/// The store, among the names whose health can be asked for.
const STORE: &str = "store";

type Healths = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

const fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl Health for Healthy {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        let status = self.status(service).ok_or_else(|| Error::NotFound {
            reason: "SERVICE_NOT_FOUND",
            what: "service",
            name: service.clone(),
            advice: "reflection lists those that there are",
        })?;
        Ok(Response::new(answer(status)))
    }

    type WatchStream = Healths;

    /// Says how things stand, and again whenever that changes, until the server drains.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Healths>, Status> {
        let service = request.into_inner().service;
        let first = (self.clone(), None, false);
        let statuses = stream::unfold(first, move |(mut healthy, told, is_over)| {
            let service = service.clone();
            async move {
                if is_over {
                    return None;
                }
                // A service that is not known may yet come, as far as the protocol goes, so it is no error here.
                let status = match told {
                    None => healthy.status(&service),
                    Some(told) => healthy.changed(&service, told).await,
                };
                let is_over = healthy.shutdown.draining();
                Some((answer(status.unwrap_or(ServingStatus::ServiceUnknown)), (healthy, Some(status), is_over)))
            }
        });
        Ok(Response::new(Box::pin(statuses.map(Ok))))
    }
}
