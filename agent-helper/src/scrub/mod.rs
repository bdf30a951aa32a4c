//! Takes every form of a credential out of what comes back (cases A02 to A04, A08; rules B05, B06).
//!
//! An upstream that echoes a request shows the credential to the agent: as it is, in base64 inside some other text,
//! percent-escaped, as a JSON string. Each is looked for, in any mix of escaped and plain bytes, wherever chunks
//! begin and end, and replaced by [`MARKER`]. A plain list of forms finds the unescaped ones; escapes are so rare in
//! what comes back that each can be looked at, and a walk along the form decides.
//!
//! What an upstream transforms in a way of its own is not found; the binding's list of paths is the fence there.
//! Must not know where a value came from or where bytes go.

mod needles;
mod scrubber;
mod walk;

pub use needles::{BadNeedle, MAX_NEEDLE, MAX_NEEDLES, MIN_NEEDLE, Needles};
pub use scrubber::Scrubber;

/// What stands where a credential was.
pub const MARKER: &[u8] = b"[avouch:removed]";

#[cfg(test)]
mod tests;
