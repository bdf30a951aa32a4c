//! The SPIFFE Workload API: one file for each call. The gate stands before all of them; `caller` says who asks and
//! what that caller is entitled to; `refusal` is the only place that names status codes.

mod bundles;
mod caller;
mod fetch_jwt_bundles;
mod fetch_jwt_svid;
mod fetch_x509_bundles;
mod fetch_x509_svid;
mod gate;
mod refusal;
mod validate_jwt_svid;

pub use caller::Desk;
pub use gate::{CALLS_AT_ONCE, CALLS_PER_SECOND, Gate};
pub use refusal::Refusal;

use crate::peer::Caller;
use avouch_wire::workload as api;
use avouch_wire::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct Workload {
    desk: Arc<Desk>,
}

impl Workload {
    /// Serves from this desk.
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

/// What a call streams: whole states, until entitlement, the caller or the helper ends.
pub type Stream<T> = BoxStream<'static, Result<T, Status>>;

#[tonic::async_trait]
impl SpiffeWorkloadApi for Workload {
    type FetchX509SVIDStream = Stream<api::X509svidResponse>;
    type FetchX509BundlesStream = Stream<api::X509BundlesResponse>;
    type FetchJWTBundlesStream = Stream<api::JwtBundlesResponse>;

    async fn fetch_x509svid(
        &self,
        request: Request<api::X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        Ok(Response::new(fetch_x509_svid::stream(self.desk.clone(), caller(&request)?).await?))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Ok(Response::new(fetch_x509_bundles::stream(self.desk.clone(), caller(&request)?).await?))
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<api::JwtsvidRequest>,
    ) -> Result<Response<api::JwtsvidResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(fetch_jwt_svid::answer(&self.desk, &caller, request.into_inner()).await?))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<api::JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Ok(Response::new(fetch_jwt_bundles::stream(self.desk.clone(), caller(&request)?).await?))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(validate_jwt_svid::answer(&self.desk, &caller, &request.into_inner()).await?))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Arc<Caller>, Refusal> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or(Refusal::NotEntitled)
}

#[cfg(test)]
mod tests;
