//! The issuer's rules: who may run where, what is signed for whom, what a lock changes, when a key is made and when
//! it goes. No network, no SQL, no ambient clock and no ambient random source: moments and generators are arguments.

pub mod agent;
pub mod authority;
pub mod credential;
pub mod instance;
pub mod issue;
pub mod keys;
pub mod lock;
pub mod node;
pub mod refusal;
pub mod spool;
pub mod state;
pub mod target;

pub use agent::{Agent, Registration, SubjectNames};
pub use credential::{Credential, Grant};
pub use instance::Instance;
pub use lock::{Lock, LockTarget};
pub use node::{JoinToken, Node};
pub use refusal::{Denial, Fault, Refusal};
pub use target::OpenTarget;
