//! SVIDs as checked types, and how they are verified.

pub mod jwt;
pub mod x509;
