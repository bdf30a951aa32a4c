//! Who is at the other end of a Unix socket. The kernel says it at accept; every byte is checked to come from that same
//! process; and the process is watched until it ends.

mod attested;
mod authority;
mod dial;
mod listen;
mod peer;
mod proc;
pub mod roots;
mod slots;
pub mod users;

pub use attested::Attested;
pub use dial::dial;
pub use listen::{Accepted, Listener, Stranger, Taken, listen};
pub use peer::{Peer, Unattested};
pub use slots::{Slot, Slots};

#[cfg(test)]
mod tests;
