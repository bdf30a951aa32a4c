//! Real servers for tests, each a process of its own that ends with its guard. `tests/run` installs them
//! (`tests/servers/install`) and names where they are.

pub mod aws;
mod bao;
mod moto;
mod postgres;
mod proxy;
mod vendors;

pub use aws::Aws;
pub use bao::Bao;
pub use moto::Moto;
pub use postgres::Postgres;
pub use proxy::{At, Mode, Proxy};
pub use vendors::{Trust, Vendors};

use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

/// What a variable that `tests/run` sets says; without it the test cannot be run, and says so.
fn installed(variable: &str) -> io::Result<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    path.filter(|path| path.exists())
        .ok_or_else(|| io::Error::other(format!("{variable} names no installed server: run this by tests/run")))
}

/// A loopback port that nothing listens on, nor on the one after it.
fn free_port() -> io::Result<u16> {
    for _ in 0..TRIES {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        if let Some(next) = port.checked_add(1)
            && TcpListener::bind(("127.0.0.1", next)).is_ok()
        {
            return Ok(port);
        }
    }
    Err(io::Error::other("there are no two free ports beside each other"))
}

/// Waits until a server answers; if it ends before, or does not come up, what it `said` is told.
fn until_up(child: &mut Child, said: impl Fn() -> String, up: impl Fn() -> bool) -> io::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < START {
        if let Some(status) = child.try_wait()? {
            return Err(io::Error::other(format!("the server ended: {status}\n{}", said())));
        }
        if up() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(io::Error::other(format!("the server did not come up\n{}", said())))
}

const TRIES: usize = 64;
const START: Duration = Duration::from_secs(30);
