//! CONNECT: interception of bound hosts, and what has to agree; tunnels to others.

use super::*;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const HOST: &str = "tools.demo.test";

async fn connected(agents: &Agents, authority: &str, host: &str) -> (u16, Conn<TcpStream>) {
    let mut conn = connect(agents.address).await;
    conn.write(format!("CONNECT {authority} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
    let status = conn.head().await.expect("an answer").0;
    (status, conn)
}

/// A client's TLS inside a tunnel, trusting the session's anchor only.
async fn handshake(
    agents: &Agents,
    conn: Conn<TcpStream>,
    host: &str,
    alpn: &[&str],
) -> std::io::Result<Conn<TlsStream<TcpStream>>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(agents.anchor.pem().as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, conn.stream).await?;
    Ok(Conn { stream, held: Vec::new() })
}

/// A client that believes everybody.
#[derive(Debug)]
struct Careless;

impl rustls::client::danger::ServerCertVerifier for Careless {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

async fn careless(conn: Conn<TcpStream>, name: &str, sni: bool) -> Conn<TlsStream<TcpStream>> {
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Careless))
        .with_no_client_auth();
    config.enable_sni = sni;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, conn.stream).await.unwrap();
    Conn { stream, held: Vec::new() }
}

fn inner(host: &str) -> String {
    format!("GET /ok/x HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

async fn world() -> (Tool, World, Agents) {
    let (tool, ca) = Tool::tls(&[HOST], |_| ok("hello")).await;
    let world = World::new(&[], Unbound::Tunnel);
    world.bind("tool", &tls_binding(HOST, &tool, &ca));
    let agents = world.session("researcher");
    (tool, world, agents)
}

#[tokio::test]
async fn a_bound_host_is_intercepted_under_the_sessions_anchor() {
    let (tool, world, agents) = world().await;
    let (status, conn) = connected(&agents, &format!("{HOST}:443"), &format!("{HOST}:443")).await;
    assert_eq!(status, 200);
    let mut conn = handshake(&agents, conn, HOST, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(conn.stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    for _ in 0..3 {
        let response = conn.call(inner(HOST)).await;
        assert_eq!((response.status, response.body.as_str()), (200, "hello"));
    }
    assert!(
        tool.last().contains(&format!("authorization: Bearer {SECRET}"))
            && tool.last().contains(&format!("host: {HOST}\r\n"))
    );
    assert_eq!(tool.connections.load(Ordering::SeqCst), 1);
    let denied = conn.call("GET /no/x HTTP/1.1\r\nHost: tools.demo.test\r\n\r\n").await;
    assert_eq!(denied.code(), "denied");
    drop(conn);
    world.open(0).await;
    assert_eq!(
        (world.recorded("broker.intent"), world.recorded("broker.outcome"), world.recorded("broker.denied")),
        (3, 3, 1)
    );
}

#[tokio::test]
async fn connect_sni_and_host_have_to_agree() {
    let (tool, world, agents) = world().await;
    let authority = format!("{HOST}:443");
    // CONNECT's own Host.
    for host in ["evil.test:443", HOST.to_uppercase().as_str(), "tools.demo.test:8443", "tools.demo.test.:443"] {
        assert_eq!(connected(&agents, &authority, host).await.0, 421, "{host}");
    }
    // The CONNECT target itself.
    for target in [
        HOST,
        "TOOLS.demo.test:443",
        "tools.demo.test.:443",
        "x@tools.demo.test:443",
        "tools.demo.test:0443",
        "https://tools.demo.test:443",
        "/",
    ] {
        assert_eq!(connected(&agents, target, target).await.0, 400, "{target}");
    }
    // Without one there is nothing to disagree, but only HTTP/1.0 may leave it out.
    for (version, status) in [("1.0", 200), ("1.1", 400)] {
        let mut conn = connect(agents.address).await;
        conn.write(format!("CONNECT {authority} HTTP/{version}\r\n\r\n")).await;
        assert_eq!(conn.head().await.unwrap().0, status, "{version}");
    }
    // The name in TLS; these clients would take any certificate.
    for (what, name, sni) in [("another name", "other.demo.test", true), ("no name", HOST, false)] {
        let (_, conn) = connected(&agents, &authority, &authority).await;
        let mut conn = careless(conn, name, sni).await;
        let response = conn.call(inner(HOST)).await;
        assert_eq!((response.status, response.code().as_str()), (421, "misdirected"), "{what}");
        assert!(conn.is_closed().await);
    }
    // The inner Host and target.
    for (host, status) in [
        ("evil.test", 421),
        ("tools.demo.test:8443", 421),
        ("TOOLS.demo.test", 421),
        ("tools.demo.test.", 421),
        ("x@tools.demo.test", 421),
    ] {
        let (_, conn) = connected(&agents, &authority, &authority).await;
        let mut conn = handshake(&agents, conn, HOST, &[]).await.unwrap();
        assert_eq!(conn.call(inner(host)).await.status, status, "{host}");
        assert!(conn.is_closed().await);
    }
    for request in [
        format!("GET https://{HOST}/ok/x HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        format!("CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
    ] {
        let (_, conn) = connected(&agents, &authority, &authority).await;
        let mut conn = handshake(&agents, conn, HOST, &[]).await.unwrap();
        assert_eq!(conn.call(request).await.status, 400, "only origin-form in a tunnel");
    }
    assert_eq!(tool.count(), 0);
    assert_eq!(world.recorded("broker.intent"), 0);
}

#[tokio::test]
async fn a_client_that_speaks_only_h2_or_plain_text_gets_nothing() {
    let (tool, _world, agents) = world().await;
    let authority = format!("{HOST}:443");
    let (_, conn) = connected(&agents, &authority, &authority).await;
    assert!(handshake(&agents, conn, HOST, &["h2"]).await.is_err());
    let (_, mut conn) = connected(&agents, &authority, &authority).await;
    conn.write(inner(HOST)).await;
    assert!(conn.response(true).await.is_none_or(|response| response.status != 200));
    // Bytes sent before the tunnel is open.
    let mut early = connect(agents.address).await;
    let refused = early.call(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n\x16\x03\x01")).await;
    assert_eq!(refused.status, 400);
    assert_eq!(tool.count(), 0);
}

#[tokio::test]
async fn an_address_without_a_name_is_intercepted_and_with_one_is_not() {
    let (tool, ca) = Tool::tls(&["127.0.0.1"], |_| ok("hello")).await;
    let world = World::new(&[], Unbound::Deny);
    let binding =
        tls_binding("127.0.0.1", &tool, &ca).replace("127.0.0.1:443\"", &format!("127.0.0.1:{}\"", tool.port()));
    world.bind("tool", &binding);
    let agents = world.session("researcher");
    let authority = tool.address.to_string();
    let (_, conn) = connected(&agents, &authority, &authority).await;
    let mut conn = handshake(&agents, conn, "127.0.0.1", &[]).await.unwrap();
    assert_eq!(conn.call(inner(&authority)).await.status, 200);
}

/// Case T07.
#[tokio::test]
async fn a_server_that_cannot_be_verified_gets_no_byte() {
    let (tool, _) = Tool::tls(&[HOST], |_| ok("")).await;
    let (_, foreign_ca) = Tool::tls(&[HOST], |_| ok("")).await;
    let (other, other_ca) = Tool::tls(&["other.demo.test"], |_| ok("")).await;
    let no_ca = tls_binding(HOST, &tool, "").replace(r#","ca":"""#, "");
    for (what, binding) in [
        ("another authority", tls_binding(HOST, &tool, &foreign_ca)),
        ("another name", tls_binding(HOST, &other, &other_ca)),
        ("not of the system's roots", no_ca),
    ] {
        let world = World::new(&[], Unbound::Deny);
        world.bind("tool", &binding);
        let agents = world.session("researcher");
        let authority = format!("{HOST}:443");
        let (_, conn) = connected(&agents, &authority, &authority).await;
        let mut conn = handshake(&agents, conn, HOST, &[]).await.unwrap();
        let response = conn.call(inner(HOST)).await;
        assert_eq!((response.status, response.code().as_str()), (502, "upstream_unreachable"), "{what}");
        world.open(1).await;
        assert_eq!(world.codes(), ["broker.intent", "broker.outcome"], "{what}");
    }
    assert_eq!((tool.count(), other.count()), (0, 0));
}

#[tokio::test]
async fn a_lock_cuts_an_intercepted_tunnel_even_between_requests() {
    let (tool, world, agents) = world().await;
    let authority = format!("{HOST}:443");
    let (_, conn) = connected(&agents, &authority, &authority).await;
    let mut conn = handshake(&agents, conn, HOST, &[]).await.unwrap();
    assert_eq!(conn.call(inner(HOST)).await.status, 200);
    world.open(1).await;
    world.lock("researcher");
    assert!(conn.is_closed().await);
    world.open(0).await;
    assert_eq!(tool.count(), 1);
    assert_eq!(connected(&agents, &authority, &authority).await.0, 403, "no tunnel while locked");
    assert_eq!((tool.count(), world.recorded("broker.denied")), (1, 1));
}

#[tokio::test]
async fn unbound_hosts_are_denied_or_tunnelled_as_set_and_never_for_a_locked_agent() {
    let world = World::new(&[("public.test", &["93.184.215.14"])], Unbound::Deny);
    let agents = world.session("researcher");
    let mut conn = connect(agents.address).await;
    let refused = conn.call("CONNECT public.test:443 HTTP/1.1\r\nHost: public.test:443\r\n\r\n").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "unbound_host"));
    let world = World::new(&[("public.test", &["93.184.215.14"])], Unbound::Tunnel);
    world.lock("researcher");
    let agents = world.session("researcher");
    let refused = once(&agents, "CONNECT public.test:443 HTTP/1.1\r\nHost: public.test:443\r\n\r\n").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "denied"));
    assert_eq!(world.codes(), ["broker.denied"]);
}

/// The address check lets no test server through, so what follows it is tried by itself.
#[tokio::test]
async fn a_tunnel_passes_bytes_unseen_and_a_lock_cuts_it() {
    let world = World::new(&[("public.test", &["93.184.215.14"])], Unbound::Tunnel);
    let tool = Tool::plain(|_| ok("hello")).await;
    let caller =
        Caller { agent: name("researcher"), instance: id(), session: id(), facts: Arc::default(), contained: false };
    let origin = avouch_policy::Origin::from_connect(b"public.test:443").unwrap();
    let body = avouch_policy::Body::Streamed;
    let request = avouch_policy::CanonicalRequest::from_origin_form(origin, b"TUNNEL", b"/", body).unwrap();
    let ended = CancellationToken::new();
    let mut tunnel = world.broker.open_tunnel(&caller, &ended, request).await.unwrap();
    assert_eq!(tunnel.addresses, ["93.184.215.14:443".parse().unwrap()]);
    tunnel.addresses = vec![tool.address];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut conn = connect(listener.local_addr().unwrap()).await;
    let mut io = crate::intercept::h1::Io::Plain(listener.accept().await.unwrap().0);
    let cut = tunnel.entry.cut().clone();
    let carrying = async {
        tokio::select! {
            () = cut.cancelled() => crate::broker::End::Cut,
            end = crate::intercept::tunnel::carry(&mut io, &tunnel) => end,
        }
    };
    let calling = async {
        assert_eq!(conn.head().await.unwrap().0, 200);
        let own = "GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mine\r\n\r\n";
        assert_eq!(conn.call(own).await.body, "hello");
        assert_eq!(tool.last(), own, "as it was sent");
        world.lock("researcher");
    };
    let both = async { tokio::join!(carrying, calling) };
    let (end, ()) = tokio::time::timeout(SOON, both).await.expect("the tunnel stays open");
    assert_eq!(end, crate::broker::End::Cut);
    world.broker.end_tunnel(&caller, &tunnel, end).unwrap();
    drop(tunnel);
    assert_eq!(world.codes(), ["broker.intent", "broker.outcome"]);
}
