//! May this be done? The canonical request, bindings, grants and locks, the decision and the permit it makes, and
//! the reason why not. Pure: no network, no files, no clock, no protobuf. What cannot be brought to one form is
//! refused, never normalised, and the object that was judged is the object that is sent.

pub mod address;
pub mod binding;
pub mod decide;
pub mod origin;
pub mod placeholder;
pub mod refusal;
pub mod request;
pub mod state;
pub mod variables;
pub mod why;

pub use binding::{BadBinding, Binding, BindingSpec, Environment, EnvironmentSpec, Slot, SlotSpec};
pub use decide::{Caller, Denial, Dial, Fill, Passage, Permit, Reason, RevealPermit, Verdict, decide, decide_reveal};
pub use origin::{BadOrigin, Host, Origin, Scheme};
pub use placeholder::{Place, Placed, Watch};
pub use refusal::{RefusalCode, Retry};
pub use request::{BadRequest, Body, CanonicalRequest, Method};
pub use state::{Agent, AgentState, Credential, Grant, Lock, LockTarget, PolicyState, StateParts};
pub use variables::{Variables, variables};
