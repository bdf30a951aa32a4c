//! What the tests over the whole system stand on: the real programs as processes of their own, in a folder of
//! their own.

mod authority;
mod dev;
mod installation;
pub mod meeting;
pub mod node;
pub mod page;
pub mod place;
pub mod servers;
mod service;
mod several;
pub mod two_hosts;
mod world;

pub use authority::Authority;
pub use dev::Dev;
pub use installation::{Installation, Output, program};
pub use service::{Arrived, Service};
pub use several::Several;
pub use world::{HOST, PLAIN, TLS, World};

/// Says that a test which needs a second uid was not run; the runner counts these lines.
pub fn needs_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not run: needs root");
    }
    root
}
