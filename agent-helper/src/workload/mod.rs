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
mod reveal;
mod validate_jwt_svid;

pub use caller::Desk;
pub use gate::{CALLS_AT_ONCE, CALLS_PER_SECOND, Gate};
pub use refusal::Refusal;
pub use reveal::{HELD_OF_UID, Reveals};

use crate::peer::Caller;
use avouch_wire::unix::{Slot, Slots};
use avouch_wire::workload as api;
use avouch_wire::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service.
#[derive(Clone)]
pub struct Workload {
    desk: Arc<Desk>,
    streams: Slots,
}

impl Workload {
    /// Serves from this desk, and no more streams than these at a time.
    pub fn new(desk: Arc<Desk>, streams: Slots) -> Self {
        Self { desk, streams }
    }

    /// A stream's place is its user's from before its first message is made until it is dropped: whoever opens streams
    /// and never reads them runs out of places, and others do not (F24).
    fn place(&self, caller: &Caller) -> Result<Slot, Refusal> {
        self.streams.take(caller.uid()).ok_or(Refusal::TooOften)
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
        let caller = caller(&request)?;
        let place = self.place(&caller)?;
        Ok(Response::new(held(fetch_x509_svid::stream(self.desk.clone(), caller).await?, place)))
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<api::X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        let caller = caller(&request)?;
        let place = self.place(&caller)?;
        Ok(Response::new(held(fetch_x509_bundles::stream(self.desk.clone(), caller).await?, place)))
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
        let caller = caller(&request)?;
        let place = self.place(&caller)?;
        Ok(Response::new(held(fetch_jwt_bundles::stream(self.desk.clone(), caller).await?, place)))
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<api::ValidateJwtsvidRequest>,
    ) -> Result<Response<api::ValidateJwtsvidResponse>, Status> {
        let caller = caller(&request)?;
        Ok(Response::new(validate_jwt_svid::answer(&self.desk, &caller, &request.into_inner()).await?))
    }
}

fn held<T: Send + 'static>(stream: Stream<T>, place: Slot) -> Stream<T> {
    stream.inspect(move |_| _ = &place).boxed()
}

fn caller<T>(request: &Request<T>) -> Result<Arc<Caller>, Refusal> {
    request.extensions().get::<Arc<Caller>>().cloned().ok_or(Refusal::NotEntitled)
}

/// Streams open at a time.
pub const STREAMS: usize = 20_480;
/// Of these, streams of one user: many thousands are honest, where many programs of one user run (F23).
pub const STREAMS_OF_UID: usize = 10_240;

#[cfg(test)]
mod tests;
