//! x

pub mod scrub;
