//! SVIDs as checked types, and how they are verified.

mod json;
pub mod jwt;
mod key;
pub mod x509;
