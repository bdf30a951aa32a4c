//! What happened: the closed set of records, their one canonical form, the chains and the tree they are hashed
//! into, the signed head of that tree, and the check of all of it. Pure: no files, no network, no clock.
//!
//! A helper seals its [`HelperEvent`](record::HelperEvent)s into its spool's chain ([`spool`]); the issuer puts
//! them, and its own [`IssuerEvent`](record::IssuerEvent)s, into numbered entries ([`entry`]), hashes those into
//! an RFC 6962 tree ([`tree`]) and signs its root ([`checkpoint`], a C2SP [`note`]). [`mod@verify`] reads an
//! [`export`] and believes nothing.

pub mod canonical;
pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod field;
pub mod note;
pub mod record;
pub mod spool;
pub mod tree;
pub mod verify;
