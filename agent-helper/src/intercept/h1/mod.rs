//! HTTP/1.1 told strictly, in both directions. A general library mends what it reads; here whatever two readers
//! could understand differently is refused, and nothing that was read is ever copied out as a message: heads are
//! written anew.

mod body;
mod head;
mod io;
pub(crate) mod write;

#[cfg(test)]
mod tests;

pub(crate) use body::{BODY_IDLE, Body, BodyFault};
pub(crate) use head::{Framing, HeadFault, RequestHead, ResponseHead};
pub(crate) use io::{Input, Io, Output};
