//! `demo`.
pub(crate) mod canary;
