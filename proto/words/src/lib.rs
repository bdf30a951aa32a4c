//! The words that every part of avouch speaks: SPIFFE IDs, selectors, SVIDs, secrets, digests and clocks as
//! checked types. A value of one of them is valid because it exists. No network, no files, no protobuf.

mod bundle;
mod clock;
mod digest;
mod id_path;
mod name;
mod reference;
mod secret;
mod selector;
mod spiffe_id;
pub mod svid;
pub mod target;
mod text;
mod walls;

pub use bundle::{Bundle, Bundles, JwtAuthority, X509Authority};
pub use clock::{Clock, Millis, SystemClock};
pub use digest::Digest;
pub use id_path::{BadIdPath, IdPath};
pub use name::{BadName, Name, Ulid};
pub use reference::{BadReference, Reference};
pub use secret::Secret;
pub use selector::{BadSelector, Selector};
pub use spiffe_id::{BadSpiffeId, BadTrustDomain, SpiffeId, TrustDomain};
pub use walls::counts_as;
