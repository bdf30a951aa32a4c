//! Cases A10 to A16, A18, A19 and A25, each with what the tool's server sees of it.

use super::*;

#[tokio::test]
async fn a10_redirects_are_never_followed() {
    let second = Tool::plain(|_| ok("")).await;
    let port = second.port();
    let tool = Tool::plain(move |request| {
        let code: u16 = request.split(' ').nth(1).unwrap().trim_start_matches("/ok/").parse().unwrap();
        let to = format!("http://127.0.0.1:{port}/?{SECRET}");
        Answer::Keep(format!("HTTP/1.1 {code} X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes())
    })
    .await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let mut conn = connect(world.session("researcher").address).await;
    for code in [301, 302, 303, 307, 308] {
        let response = conn.call(get(&tool, &format!("/ok/{code}"))).await;
        assert_eq!(response.status, code);
        let shown = response.head.to_ascii_lowercase();
        assert!(
            shown.contains(&format!("\r\nlocation: http://127.0.0.1:{port}/?")) && !shows_secret(&response.head),
            "{shown}"
        );
    }
    assert_eq!((tool.count(), second.count()), (5, 0));
}

#[tokio::test]
async fn a11_host_has_to_be_the_target() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let address = tool.address;
    let with = |host: &str| format!("GET http://{address}/ok/x HTTP/1.1\r\n{host}\r\n\r\n");
    for (host, status) in [
        ("Host: evil.test", 421),
        ("Host: 127.0.0.1", 421),
        ("Host: 127.0.0.1:1", 421),
        (&format!("Host: x@{address}"), 421),
        (&format!("Host: {address}."), 421),
        (&format!("Host: {address}/"), 421),
        ("Host:", 421),
        ("X: y", 400),
        (&format!("Host: {address}\r\nHost: {address}"), 400),
        (&format!("Host: {address}\r\nHost: evil.test"), 400),
    ] {
        let mut conn = connect(agents.address).await;
        let response = conn.call(with(host)).await;
        assert_eq!(response.status, status, "{host}");
        assert!(conn.is_closed().await);
    }
    assert_eq!(tool.count(), 0);
    assert_eq!(world.codes(), ["broker.denied"; 10]);
    assert_eq!(once(&agents, with(&format!("Host: {address}"))).await.status, 200);
}

#[tokio::test]
async fn a12_plain_http_goes_to_loopback_only() {
    let world = World::new(
        &[("tool.test", &["93.184.215.14"]), ("mixed.test", &["127.0.0.1", "93.184.215.14"])],
        Unbound::Tunnel,
    );
    let agents = world.session("researcher");
    for host in ["tool.test", "mixed.test"] {
        let spec = format!(
            r#"{{"to":"http://{host}","methods":["GET"],"paths":["/ok/**"],"slot":"bearer","plain":"loopback"}}"#
        );
        world.bind(host, &spec);
        let response = once(&agents, format!("GET http://{host}/ok/x HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!((response.status, response.code().as_str()), (403, "address_refused"), "{host}");
    }
    assert_eq!(world.recorded("broker.intent"), 0);
}

#[tokio::test]
async fn a13_a_host_has_one_spelling() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[("tool.test", &["127.0.0.1"])], Unbound::Tunnel);
    let to = format!(
        r#"{{"to":"http://tool.test:{}","methods":["GET"],"paths":["/ok/**"],"slot":"bearer","plain":"loopback"}}"#,
        tool.port()
    );
    world.bind("tool", &to);
    let agents = world.session("researcher");
    let port = tool.port();
    for host in [
        "TOOL.test",
        "tool.test.",
        "tool.test.evil",
        "evil-tool.test",
        "x.tool.test",
        "tool.test@evil.test",
        "evil.test@tool.test",
        "tool%2etest",
        "tool.test\t",
        "tool.test%00",
        "tööl.test",
        "xn--tool.test",
        "tool..test",
        "tool_.test",
        ".tool.test",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25lo]",
        "",
    ] {
        for host in [format!("{host}:{port}"), format!("{host}:0{port}"), format!("{host}:+{port}")] {
            let response = once(&agents, format!("GET http://{host}/ok/x HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            assert!((400..500).contains(&response.status) || response.status == 502, "{host}: {}", response.status);
        }
    }
    assert_eq!(tool.count(), 0);
    let good =
        once(&agents, format!("GET http://tool.test:{port}/ok/x HTTP/1.1\r\nHost: tool.test:{port}\r\n\r\n")).await;
    assert_eq!(good.status, 200);
}

#[tokio::test]
async fn a14_a_path_has_one_reading_and_is_sent_as_judged() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    for path in [
        "/ok/../no",
        "/ok/./x",
        "/ok//x",
        "/ok/%2e%2e/no",
        "/ok/%2E%2E/no",
        "/ok/%252e",
        "/ok/x%2Fy",
        "/ok/x%2fy",
        "/ok/x;y",
        "/ok\\x",
        "/ok/x#f",
        "/ok/%00",
        "/ok/%c0%af",
        "/ok/%zz",
        "/ok/ü",
        "/ok/x?q=%",
        "/ok/x?",
        "/ok/x?q=1&&q=2",
        "//ok/x",
        "",
        "?q=1",
        "/OK/x",
        "/%6Fk/x",
    ] {
        let response = once(&agents, get(&tool, path)).await;
        assert!([400, 403].contains(&response.status), "{path}: {}", response.status);
    }
    assert_eq!(tool.count(), 0);
    for path in ["/ok/a%20b", "/ok/x/", "/ok/a-b_c~d.e", "/ok/x?q=a%2Fb&q=2"] {
        assert_eq!(once(&agents, get(&tool, path)).await.status, 200, "{path}");
        assert!(tool.last().starts_with(&format!("GET {path} HTTP/1.1\r\n")), "{path}");
    }
}

#[tokio::test]
async fn a15_and_a16_what_steers_or_authenticates_stays_behind() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    let fields = [
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X-Forwarded-Host: evil",
        "Forwarded: for=evil",
        "X-Forwarded-For: 1.2.3.4",
        "Authorization: Bearer mine",
        "AUTHORIZATION: Basic bWluZQ==",
        "Proxy-Authorization: Basic bWluZQ==",
        "Cookie: session=mine",
        "X-Api-Key: mine",
        "Private-Token: mine",
        "Range: bytes=0-0",
        "If-Range: x",
        "Accept-Encoding: br",
        "TE: trailers",
        "Via: 1.1 mine",
        "Authorization_: mine",
        "Keep-Alive: timeout=5",
    ];
    let request = format!(
        "GET http://{0}/ok/x HTTP/1.1\r\nHost: {0}\r\nAccept: text/plain\r\n{1}\r\n\r\n",
        tool.address,
        fields.join("\r\n")
    );
    assert_eq!(once(&agents, request).await.status, 200);
    let sent = tool.last();
    let expected = format!(
        "GET /ok/x HTTP/1.1\r\nhost: {}\r\nAccept: text/plain\r\nauthorization: Bearer {SECRET}\r\naccept-encoding: identity\r\n\r\n",
        tool.address
    );
    assert_eq!(sent, expected, "nothing but this");
    world.open(0).await;
    let stripped = |event: &HelperEvent| matches!(event, HelperEvent::Outcome { stripped: true, .. });
    assert!(world.ledger.events.lock().unwrap().iter().any(stripped));
    let before = tool.count();
    for named in
        ["authorization", "host", "content-length", "x-forwarded-for", "cookie", "accept", "close, authorization"]
    {
        let mut conn = connect(agents.address).await;
        let request = get(&tool, "/ok/x").replace("\r\n\r\n", &format!("\r\nConnection: {named}\r\n\r\n"));
        assert_eq!(conn.call(request).await.status, 400, "{named}");
        assert!(conn.is_closed().await);
    }
    assert_eq!(tool.count(), before);
}

#[tokio::test]
async fn a18_no_other_protocol_is_switched_to() {
    let tool = Tool::plain(|_| Answer::Keep(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_vec())).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    for fields in [
        "Connection: Upgrade\r\nUpgrade: websocket",
        "Upgrade: websocket",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
        "HTTP2-Settings: AA",
    ] {
        let mut conn = connect(agents.address).await;
        let request = get(&tool, "/ok/x").replace("\r\n\r\n", &format!("\r\n{fields}\r\n\r\n"));
        assert_eq!(conn.call(request).await.status, 400, "{fields}");
        assert!(conn.is_closed().await);
    }
    for method in ["TRACE", "TRACK", "PRI", "get", "CONNECT"] {
        assert!(once(&agents, get(&tool, "/ok/x").replace("GET", method)).await.status >= 400, "{method}");
    }
    assert_eq!(tool.count(), 0);
    let switched = once(&agents, get(&tool, "/ok/x")).await;
    assert_eq!((switched.status, switched.code().as_str()), (502, "upstream_unclean"), "unsolicited 101");
}

#[tokio::test]
async fn a19_private_addresses_are_dialled_for_no_unbound_target() {
    let inside = Tool::plain(|_| ok("")).await;
    let names: &[(&str, &[&str])] = &[
        ("loop.test", &["127.0.0.1"]),
        ("mixed.test", &["93.184.215.14", "10.0.0.1"]),
        ("mapped.test", &["::ffff:169.254.169.254"]),
        ("nat64.test", &["64:ff9b::7f00:1"]),
    ];
    let world = World::new(names, Unbound::Tunnel);
    let agents = world.session("researcher");
    let hosts = [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "169.254.170.2",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "198.18.0.1",
        "[::1]",
        "[::]",
        "[fd00::1]",
        "[fe80::1]",
        "[ff02::1]",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::ffff:127.0.0.1]",
        "loop.test",
        "mixed.test",
        "mapped.test",
        "nat64.test",
    ];
    for host in hosts {
        let plain = once(&agents, format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!((plain.status, plain.code().as_str()), (403, "address_refused"), "{host}");
        let tunnel = once(&agents, format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")).await;
        assert_eq!((tunnel.status, tunnel.code().as_str()), (403, "address_refused"), "{host}");
    }
    for host in ["0177.0.0.1", "2130706433", "127.1"] {
        assert_eq!(
            once(&agents, format!("CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")).await.status,
            400,
            "{host}"
        );
    }
    let port = inside.port();
    let listed =
        once(&agents, format!("CONNECT 93.184.215.14:{port} HTTP/1.1\r\nHost: 93.184.215.14:{port}\r\n\r\n")).await;
    assert_eq!(listed.code(), "unbound_host", "other ports are listed or not dialled");
    assert_eq!((inside.count(), world.recorded("broker.intent")), (0, 0));
}

#[tokio::test]
async fn a25_a_web_page_gets_no_credential_and_the_port_takes_no_origin_form() {
    let tool = Tool::plain(|_| ok("")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let agents = world.session("researcher");
    for field in [
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site",
        "Origin: https://evil.test",
        "Origin: null",
    ] {
        let request = get(&tool, "/ok/x").replace("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
        let response = once(&agents, request).await;
        assert_eq!((response.status, response.code().as_str()), (403, "browser_request"), "{field}");
    }
    for target in ["/ok/x", "*", "ok/x", "ftp://x/", "HTTP://127.0.0.1/"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n\r\n", tool.address);
        assert_eq!(once(&agents, request).await.status, 400, "{target}");
    }
    assert_eq!(tool.count(), 0);
    let own = format!("Sec-Fetch-Site: none\r\nOrigin: http://{}", tool.address);
    let request = get(&tool, "/ok/x").replace("\r\n\r\n", &format!("\r\n{own}\r\n\r\n"));
    assert_eq!(once(&agents, request).await.status, 200);
}

#[tokio::test]
async fn a_listener_is_fenced_by_uid() {
    let world = World::new(&[], Unbound::Deny);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let session = id();
    let anchor = Arc::new(Anchor::new(session, &SystemClock).unwrap());
    let caller = Caller { agent: name("researcher"), instance: id(), session, facts: Arc::default(), contained: false };
    let other_uid = nix::unistd::getuid().as_raw() + 4242;
    let serving = Session { caller, fence: Fence::Uid(other_uid), anchor, ended: CancellationToken::new() };
    tokio::spawn(Arc::clone(&world.proxy).serve(serving, listener));
    let mut conn = connect(address).await;
    let _ = conn.stream.write_all(b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(conn.response(true).await.is_none(), "closed without a word");
    assert_eq!(world.codes(), ["session.listener_refused"]);
}

/// Case U22 with a real second user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sessions_own_user_is_served_and_root_is_not_believed() {
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65534;
    if !nix::unistd::getuid().is_root() {
        println!("not run: needs root");
        return;
    }
    let tool = Tool::plain(|_| ok("hello")).await;
    let world = World::new(&[], Unbound::Deny);
    world.bind_plain(&tool);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let session = id();
    let serving = Session {
        caller: Caller { agent: name("researcher"), instance: id(), session, facts: Arc::default(), contained: false },
        fence: Fence::for_listener(&listener, NOBODY),
        anchor: Arc::new(Anchor::new(session, &SystemClock).unwrap()),
        ended: CancellationToken::new(),
    };
    assert_eq!(serving.fence, Fence::Uid(NOBODY));
    tokio::spawn(Arc::clone(&world.proxy).serve(serving, listener));
    let request = get(&tool, "/ok/x").replace("\r\n", "\\r\\n");
    let script = format!("exec 3<>/dev/tcp/127.0.0.1/{}; printf '{request}' >&3; head -c 12 <&3", address.port());
    let theirs = tokio::task::spawn_blocking(move || {
        std::process::Command::new("bash")
            .args(["-c", &script])
            .uid(NOBODY)
            .gid(NOBODY)
            .current_dir("/")
            .output()
            .unwrap()
    });
    assert_eq!(String::from_utf8_lossy(&theirs.await.unwrap().stdout), "HTTP/1.1 200");
    let mut ours = connect(address).await;
    let _ = ours.stream.write_all(get(&tool, "/ok/x").as_bytes()).await;
    assert!(ours.response(true).await.is_none(), "uid 0 proves nothing");
    assert_eq!(tool.count(), 1);
    assert_eq!(world.recorded("session.listener_refused"), 1);
}
