//! The closed set of what is recorded. Each event has a stable code; a code, a field or a value that is not known
//! here is refused on reading. No event has a field that could hold a secret, a body or free text.

mod helper;
mod issuer;
mod parts;

pub use helper::HelperEvent;
pub use issuer::IssuerEvent;
pub use parts::{Caller, LeaseOf, Loss, Mode, Operator, Outcome, Request, SpoolEnd, StaleCause, Use};

/// An enum of events: `Name = "stable.code" { fields }`. Every variant has braces, as serde lets unknown fields of
/// a variant without any pass.
macro_rules! events {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(
                $(#[$doc:meta])*
                $event:ident = $code:literal { $( $(#[$field_meta:meta])* $field:ident: $ty:ty, )* }
            )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "code", deny_unknown_fields)]
        pub enum $name {
            $(
                $(#[$doc])*
                #[serde(rename = $code)]
                $event { $( $(#[$field_meta])* $field: $ty, )* },
            )*
        }

        impl $name {
            /// All codes.
            pub const CODES: &'static [&'static str] = &[$($code),*];

            /// The stable code.
            pub const fn code(&self) -> &'static str {
                match self {
                    $(Self::$event { .. } => $code,)*
                }
            }
        }
    };
}
use events;

#[cfg(test)]
mod tests;
