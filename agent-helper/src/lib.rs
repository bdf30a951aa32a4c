//! x

pub mod broker;
pub mod scrub;
