//! Which addresses are dialled (case A19). The public internet is; private ranges only where a binding names the
//! address; a machine's metadata service never.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// A cloud's metadata or credential service, in any wrapping. Never permitted.
    #[error("the address is a cloud metadata service")]
    Metadata,
    /// An address that no binding can permit.
    #[error("the address is {0}, which is never dialled")]
    Never(Class),
    /// An address that a binding may permit by naming it, and none did.
    #[error("the address is {0}, which is dialled only if the binding names it")]
    Private(Class),
    /// Plain HTTP, and the address is not loopback.
    #[error("plain HTTP is spoken to loopback addresses only")]
    NotLoopback,
}

/// A range that is not the public internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// RFC 1918, unique local, deprecated site-local.
    Private,
    /// 169.254.0.0/16, `fe80::/10`.
    LinkLocal,
    /// 100.64.0.0/10, shared by customers of one carrier.
    CarrierGrade,
    /// Documentation, benchmarking, protocol assignments, reserved space.
    Reserved,
    /// 0.0.0.0/8, `::`, which some kernels take for this machine.
    Unspecified,
    /// Multicast and broadcast.
    Multicast,
    /// An IPv4 address inside an IPv6 one: mapped, compatible, NAT64, 6to4, Teredo, ISATAP.
    Embedded,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::CarrierGrade => "a carrier's shared address",
            Self::Reserved => "a reserved address",
            Self::Unspecified => "the unspecified address",
            Self::Multicast => "a multicast or broadcast address",
            Self::Embedded => "an IPv4 address wrapped in an IPv6 one",
        })
    }
}

/// Whether an address that a host resolved to (or a binding names) may be dialled. `permitted` is the address that
/// the binding names; `plain_loopback` is whether plain HTTP is spoken, which only loopback hears. The address judged
/// must be the one dialled.
pub fn judge(ip: IpAddr, permitted: Option<IpAddr>, plain_loopback: bool) -> Result<(), AddressRefused> {
    if is_metadata(ip) {
        return Err(AddressRefused::Metadata);
    }
    let class = classify(ip);
    if let Some(never @ (Class::Unspecified | Class::Multicast | Class::Embedded)) = class {
        return Err(AddressRefused::Never(never));
    }
    if plain_loopback {
        return if class == Some(Class::Loopback) { Ok(()) } else { Err(AddressRefused::NotLoopback) };
    }
    match class {
        None => Ok(()),
        Some(_) if permitted == Some(ip) => Ok(()),
        Some(class) => Err(AddressRefused::Private(class)),
    }
}

fn is_metadata(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => METADATA_V4.contains(&ip),
        IpAddr::V6(ip) => METADATA_V6.contains(&ip) || embedded(ip).is_some_and(|ip| METADATA_V4.contains(&ip)),
    }
}

/// None for an address of the public internet.
fn classify(ip: IpAddr) -> Option<Class> {
    match ip {
        IpAddr::V4(ip) => classify_v4(ip),
        IpAddr::V6(ip) => classify_v6(ip),
    }
}

fn classify_v4(ip: Ipv4Addr) -> Option<Class> {
    let class = match ip.octets() {
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [10, ..] | [192, 168, ..] | [172, 16..=31, ..] => Class::Private,
        [169, 254, ..] => Class::LinkLocal,
        [100, 64..=127, ..] => Class::CarrierGrade,
        [224..=239, ..] | [255, 255, 255, 255] => Class::Multicast,
        // IETF protocol assignments, documentation, 6to4 relays, benchmarking, AS112 and the future.
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Reserved,
        [192, 88, 99, _] | [198, 18..=19, ..] | [192, 31, 196, _] | [192, 52, 193, _] | [192, 175, 48, _] => {
            Class::Reserved
        }
        [240..=255, ..] => Class::Reserved,
        _ => return None,
    };
    Some(class)
}

fn classify_v6(ip: Ipv6Addr) -> Option<Class> {
    if ip == Ipv6Addr::UNSPECIFIED {
        return Some(Class::Unspecified);
    }
    if ip == Ipv6Addr::LOCALHOST {
        return Some(Class::Loopback);
    }
    if embedded(ip).is_some() {
        return Some(Class::Embedded);
    }
    let class = match ip.segments() {
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        // Only 2000::/3 is routed; in it, protocol assignments (2001::/23) and documentation are not.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => return None,
        _ => Class::Reserved,
    };
    Some(class)
}

/// The IPv4 address inside an IPv6 one, whatever way it is wrapped.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    match ip.segments() {
        // Mapped (with the form of SIIT) and compatible.
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0, 0, 0, 0, 0xffff, 0, a, b] => v4(a, b),
        [0, 0, 0, 0, 0, 0, a, b] if ip != Ipv6Addr::UNSPECIFIED && ip != Ipv6Addr::LOCALHOST => v4(a, b),
        // NAT64, well-known and local-use.
        [0x64, 0xff9b, 0..=1, .., a, b] => v4(a, b),
        // 6to4, Teredo (the client's address is stored inverted).
        [0x2002, a, b, ..] => v4(a, b),
        [0x2001, 0, .., a, b] => v4(!a, !b),
        // ISATAP.
        [.., 0 | 0x200, 0x5efe, a, b] => v4(a, b),
        _ => None,
    }
}

/// AWS, Azure, GCP, OpenStack and others; ECS and EKS credentials; Alibaba; Oracle; Azure's wire server.
const METADATA_V4: [Ipv4Addr; 8] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(169, 254, 169, 253),
    Ipv4Addr::new(169, 254, 169, 123),
    Ipv4Addr::new(169, 254, 170, 2),
    Ipv4Addr::new(169, 254, 170, 23),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(192, 0, 0, 192),
    Ipv4Addr::new(168, 63, 129, 16),
];
/// EC2's metadata, resolver and time, EKS pod identity, GCP's metadata.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x123),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
];

#[cfg(test)]
mod tests;
