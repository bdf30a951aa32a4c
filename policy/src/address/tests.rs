//! Case A19.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn only_the_public_internet_is_dialled_without_leave() {
    use AddressRefused as R;
    use Class as C;
    let table: &[(&str, AddressRefused)] = &[
        ("127.0.0.1", R::Private(C::Loopback)),
        ("127.255.255.254", R::Private(C::Loopback)),
        ("::1", R::Private(C::Loopback)),
        ("10.0.0.1", R::Private(C::Private)),
        ("10.255.255.255", R::Private(C::Private)),
        ("172.16.0.1", R::Private(C::Private)),
        ("172.31.255.255", R::Private(C::Private)),
        ("192.168.0.1", R::Private(C::Private)),
        ("fc00::1", R::Private(C::Private)),
        ("fdff::1", R::Private(C::Private)),
        ("fec0::1", R::Private(C::Private)),
        ("169.254.0.1", R::Private(C::LinkLocal)),
        ("169.254.255.255", R::Private(C::LinkLocal)),
        ("fe80::1", R::Private(C::LinkLocal)),
        ("febf::1", R::Private(C::LinkLocal)),
        ("100.64.0.1", R::Private(C::CarrierGrade)),
        ("100.127.255.255", R::Private(C::CarrierGrade)),
        ("192.0.0.1", R::Private(C::Reserved)),
        ("192.0.2.1", R::Private(C::Reserved)),
        ("198.51.100.1", R::Private(C::Reserved)),
        ("203.0.113.1", R::Private(C::Reserved)),
        ("198.18.0.1", R::Private(C::Reserved)),
        ("198.19.255.255", R::Private(C::Reserved)),
        ("192.88.99.1", R::Private(C::Reserved)),
        ("240.0.0.1", R::Private(C::Reserved)),
        ("2001:db8::1", R::Private(C::Reserved)),
        ("2001:2::1", R::Private(C::Reserved)),
        ("3fff::1", R::Private(C::Reserved)),
        ("100::1", R::Private(C::Reserved)),
        ("4000::1", R::Private(C::Reserved)),
        ("0.0.0.0", R::Never(C::Unspecified)),
        ("0.1.2.3", R::Never(C::Unspecified)),
        ("::", R::Never(C::Unspecified)),
        ("224.0.0.1", R::Never(C::Multicast)),
        ("239.255.255.255", R::Never(C::Multicast)),
        ("255.255.255.255", R::Never(C::Multicast)),
        ("ff02::1", R::Never(C::Multicast)),
        ("::ffff:127.0.0.1", R::Never(C::Embedded)),
        ("::ffff:10.0.0.1", R::Never(C::Embedded)),
        ("::ffff:8.8.8.8", R::Never(C::Embedded)),
        ("::ffff:0:127.0.0.1", R::Never(C::Embedded)),
        ("::127.0.0.1", R::Never(C::Embedded)),
        ("64:ff9b::7f00:1", R::Never(C::Embedded)),
        ("64:ff9b:1::a00:1", R::Never(C::Embedded)),
        ("2002:7f00:1::", R::Never(C::Embedded)),
        ("2002:a00:1::1", R::Never(C::Embedded)),
        ("2001::80ff:fffe", R::Never(C::Embedded)),
        ("2606:4700::5efe:7f00:1", R::Never(C::Embedded)),
        ("2606:4700::200:5efe:a00:1", R::Never(C::Embedded)),
        ("169.254.169.254", R::Metadata),
        ("169.254.170.2", R::Metadata),
        ("169.254.170.23", R::Metadata),
        ("100.100.100.200", R::Metadata),
        ("192.0.0.192", R::Metadata),
        ("168.63.129.16", R::Metadata),
        ("fd00:ec2::254", R::Metadata),
        ("fd00:ec2::23", R::Metadata),
        ("fd20:ce::254", R::Metadata),
        ("::ffff:169.254.169.254", R::Metadata),
        ("::169.254.169.254", R::Metadata),
        ("64:ff9b::a9fe:a9fe", R::Metadata),
        ("2002:a9fe:a9fe::1", R::Metadata),
        ("2001::5601:5601", R::Metadata),
    ];
    assert!(table.len() >= 40);
    for (text, fault) in table {
        let address = ip(text);
        assert_eq!(judge(address, None, false), Err(*fault), "{text}");
        // Leave for another address is none for this one.
        assert_eq!(judge(address, Some(ip("10.9.9.9")), false), Err(*fault), "{text}");
        let named = judge(address, Some(address), false);
        match fault {
            AddressRefused::Private(_) => assert_eq!(named, Ok(()), "{text}"),
            _ => assert_eq!(named, Err(*fault), "{text} even when it is named"),
        }
    }
    for public in ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"]
    {
        assert_eq!(judge(ip(public), None, false), Ok(()), "{public}");
    }
}

#[test]
fn plain_http_reaches_loopback_alone() {
    for good in ["127.0.0.1", "127.8.8.8", "::1"] {
        assert_eq!(judge(ip(good), None, true), Ok(()), "{good}");
    }
    for bad in ["8.8.8.8", "10.0.0.1", "fd00::1", "169.254.1.1"] {
        assert_eq!(judge(ip(bad), None, true), Err(AddressRefused::NotLoopback), "{bad}");
        assert_eq!(
            judge(ip(bad), Some(ip(bad)), true),
            Err(AddressRefused::NotLoopback),
            "{bad} even when it is named"
        );
    }
    assert_eq!(judge(ip("::ffff:127.0.0.1"), None, true), Err(AddressRefused::Never(Class::Embedded)));
    assert_eq!(judge(ip("169.254.169.254"), None, true), Err(AddressRefused::Metadata));
}
