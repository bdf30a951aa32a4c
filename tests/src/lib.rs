//! What the tests over the whole system stand on: the real programs as processes of their own, in a folder of
//! their own.

mod installation;
mod world;

pub use installation::{Installation, Output};
pub use world::{HOST, PLAIN, TLS, World};

/// Says that a test which needs a second uid was not run; the runner counts these lines.
pub fn needs_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not run: needs root");
    }
    root
}
