//! What stands before every call on the Workload API socket, unknown ones included: first the security header, then
//! how often this uid may ask. Only then is anyone attested (WEP-06, U17).

use super::refusal::Refusal;
use crate::limit::UidLimit;
use crate::peer::Caller;
use futures_util::future::{Either, Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tower::{Layer, Service};

/// The layer.
#[derive(Clone)]
pub struct Gate {
    limit: Arc<UidLimit>,
}

/// A service behind it.
#[derive(Clone)]
pub struct Gated<S> {
    inner: S,
    limit: Arc<UidLimit>,
}

impl Gate {
    /// Lets callers pass who carry the header and keep within the limit.
    pub fn new(limit: Arc<UidLimit>) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for Gate {
    type Service = Gated<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Gated { inner, limit: self.limit.clone() }
    }
}

impl<S, B> Service<Request<B>> for Gated<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Self::Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match admit(&request, &self.limit) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(refusal) => Either::Left(ready(Ok(Status::from(refusal).into_http()))),
        }
    }
}

/// Exactly one header with exactly this value.
fn admit<B>(request: &Request<B>, limit: &UidLimit) -> Result<(), Refusal> {
    let mut values = request.headers().get_all(HEADER).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if value.as_bytes() == b"true" => {}
        _ => return Err(Refusal::NoHeader),
    }
    // A connection without a known caller is no connection of ours.
    let caller = request.extensions().get::<Arc<Caller>>().ok_or(Refusal::NotEntitled)?;
    if limit.take(caller.uid()) { Ok(()) } else { Err(Refusal::TooOften) }
}

const HEADER: &str = "workload.spiffe.io";
/// Calls of one uid in a second. Far above what identities need: a stream tells its changes by itself.
pub const CALLS_PER_SECOND: u32 = 4_000;
/// Calls of one uid at once.
pub const CALLS_AT_ONCE: u32 = 8_000;
