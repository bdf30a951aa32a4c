//! x

pub mod broker;
pub mod intercept;
pub mod scrub;
pub mod spool;
