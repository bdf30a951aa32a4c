//! `demo`.
pub mod canary;
