//! From what may be dialled to the addresses that are (cases A19, A20): a host is looked up once, every address of
//! the answer has to pass, and what was judged is what is dialled.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use avouch_policy::{Dial, Host, RefusalCode, address};
use tokio::time::timeout;

/// How long a name may take to resolve.
pub(crate) const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// The most addresses of one answer that are looked at; an answer with more is refused, as the rest would pass unjudged.
pub(crate) const ADDRESSES_MAX: usize = 64;

/// Addresses on their way.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = std::io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// How names become addresses.
pub trait Resolve: Send + Sync {
    /// The addresses of a host.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// The machine's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect()) })
    }
}

/// What may be dialled for a permit.
pub(crate) async fn addresses(resolver: &dyn Resolve, dial: &Dial) -> Result<Vec<SocketAddr>, RefusalCode> {
    match dial {
        Dial::Address(address) => Ok(vec![*address]),
        Dial::Resolve { host, port, plain_loopback } => resolve(resolver, host, *port, *plain_loopback).await,
    }
}

/// What may be dialled for a host that nothing binds: public addresses only.
pub(crate) async fn unbound(resolver: &dyn Resolve, host: &Host, port: u16) -> Result<Vec<SocketAddr>, RefusalCode> {
    match host.ip() {
        Some(ip) => address::judge(ip, None, false)
            .map(|()| vec![SocketAddr::new(ip, port)])
            .map_err(|_| RefusalCode::AddressRefused),
        None => resolve(resolver, host, port, false).await,
    }
}

async fn resolve(
    resolver: &dyn Resolve,
    host: &Host,
    port: u16,
    plain_loopback: bool,
) -> Result<Vec<SocketAddr>, RefusalCode> {
    let found = timeout(RESOLVE_DEADLINE, resolver.resolve(host.as_str())).await;
    let found = found.ok().and_then(Result::ok).filter(|found| !found.is_empty());
    let found = found.ok_or(RefusalCode::UpstreamUnreachable)?;
    // One bad address refuses the whole answer: whoever gave it is not to choose which one is dialled.
    let all_pass =
        found.len() <= ADDRESSES_MAX && found.iter().all(|ip| address::judge(*ip, None, plain_loopback).is_ok());
    match all_pass {
        true => Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
        false => Err(RefusalCode::AddressRefused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answer(Vec<&'static str>);

    impl Resolve for Answer {
        fn resolve<'a>(&'a self, _: &'a str) -> Resolving<'a> {
            Box::pin(async { Ok(self.0.iter().map(|ip| ip.parse().unwrap()).collect()) })
        }
    }

    async fn ask(answer: &[&'static str], plain_loopback: bool) -> Result<Vec<SocketAddr>, RefusalCode> {
        let dial = Dial::Resolve { host: Host::parse("a.test").unwrap(), port: 443, plain_loopback };
        addresses(&Answer(answer.to_vec()), &dial).await
    }

    #[tokio::test]
    async fn one_bad_address_refuses_the_whole_answer() {
        assert_eq!(ask(&["93.184.215.14"], false).await.unwrap(), ["93.184.215.14:443".parse().unwrap()]);
        for bad in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
        ] {
            assert_eq!(ask(&["93.184.215.14", bad], false).await, Err(RefusalCode::AddressRefused), "{bad}");
        }
        assert_eq!(ask(&["127.0.0.1"], true).await.unwrap().len(), 1);
        assert_eq!(ask(&["127.0.0.1", "93.184.215.14"], true).await, Err(RefusalCode::AddressRefused));
        assert_eq!(ask(&[], false).await, Err(RefusalCode::UpstreamUnreachable));
        assert_eq!(ask(&["93.184.215.14"; ADDRESSES_MAX + 1], false).await, Err(RefusalCode::AddressRefused));
    }

    #[tokio::test]
    async fn what_nothing_binds_goes_to_public_addresses_only() {
        let resolver = Answer(vec!["10.0.0.1"]);
        for host in ["a.test", "127.0.0.1", "[::1]", "169.254.169.254", "192.168.1.1"] {
            let refused = unbound(&resolver, &Host::parse(host).unwrap(), 443).await;
            assert_eq!(refused, Err(RefusalCode::AddressRefused), "{host}");
        }
        assert!(unbound(&resolver, &Host::parse("93.184.215.14").unwrap(), 443).await.is_ok());
    }
}
