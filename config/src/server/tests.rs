use super::*;
use crate::Problem;
use std::fmt::Write;

fn parse(text: &str) -> Result<ServerConfig, ConfigFaults> {
    ServerConfig::parse(text, Path::new("server.toml"), &Paths::system())
}

/// The one fault of a text that is right but for the given lines.
fn only(lines: &str) -> String {
    let text = format!("trust_domain = \"example.test\"\n{lines}");
    let faults = parse(&text).unwrap_err();
    assert_eq!(faults.faults.len(), 1, "{faults}");
    faults.to_string()
}

#[test]
fn the_sample_is_the_defaults() {
    let sample = include_str!("../../server.toml");
    let expected = ServerConfig::new(TrustDomain::parse("example.test").unwrap(), &Paths::system());
    let mut read = parse(sample).unwrap();
    // The sample names an operator, where the default is whoever runs the issuer.
    assert_eq!(read.operators.len(), 1);
    read.operators = expected.operators.clone();
    assert_eq!(read, expected);
}

#[test]
fn every_key_is_in_the_sample() {
    let sample = include_str!("../../server.toml");
    for key in [
        "trust_domain",
        "listen",
        "state_dir",
        "runtime_dir",
        "seal_key_file",
        "operators",
        "session_roots",
        "staleness_bound",
        "reserved_audiences",
        "[database]",
        "host",
        "port",
        "user",
        "dbname",
        "password_file",
        "ca_file",
        "[svid]",
        "x509_ttl",
        "jwt_ttl",
        "node_ttl",
        "[authority]",
        "[public]",
        "url",
        "tls",
        "certificate_file",
        "key_file",
        "[jwt]",
        "rsa",
        "[health]",
        "[log]",
        "level",
        "format",
    ] {
        assert!(sample.contains(key), "{key}");
    }
}

#[test]
fn all_faults_are_told_at_once_with_their_lines() {
    let text = "trust_domian = \"example.test\"\nlisten = \"nowhere\"\n[svid]\nx509_tll = \"15m\"\njwt_ttl = 5\n";
    let faults = parse(text).unwrap_err();
    let told: Vec<(&str, Option<usize>)> = faults.faults.iter().map(|fault| (fault.key.as_str(), fault.line)).collect();
    assert_eq!(
        told,
        [
            ("trust_domian", Some(1)),
            ("listen", Some(2)),
            ("svid.x509_tll", Some(4)),
            ("svid.jwt_ttl", Some(5)),
            ("trust_domain", None)
        ]
    );
    for near in ["trust_domain", "svid.x509_ttl"] {
        let offered =
            |fault: &crate::ConfigFault| matches!(&fault.problem, Problem::Near { nearest, .. } if nearest == near);
        assert!(faults.faults.iter().any(offered), "{near}");
    }
    assert!(
        faults.to_string().contains("server.toml:4: there is no key `svid.x509_tll`: did you mean `svid.x509_ttl`?")
    );
}

#[test]
fn each_wrong_value_has_a_sentence_that_says_what_to_do() {
    for (lines, sentence) in [
        ("listen = \"localhost:1\"", "`listen` must be an IP address and a port, such as \"127.0.0.1:8443\""),
        ("state_dir = \"var\"", "`state_dir` must be an absolute path"),
        ("seal_key_file = \"/etc/../x\"", "`seal_key_file` must be an absolute path"),
        ("seal_key_file = \"/var/lib/avouch/server/k\"", "`seal_key_file` is below /var/lib/avouch/server"),
        ("operators = []", "`operators` is empty, so nobody could administer"),
        ("operators = [{ uid = -1, name = \"a\" }]", "`operators[0].uid` must be a uid, not -1"),
        ("operators = [{ uid = 1, name = \"a\" }, { uid = 1, name = \"b\" }]", "`operators` names uid 1 twice"),
        ("operators = [{ uid = 1 }]", "the key `operators[0].name` is missing"),
        ("staleness_bound = \"4s\"", "`staleness_bound` is 4s, which is out of bounds: take one from 5s to 5m"),
        ("staleness_bound = \"301s\"", "which is out of bounds"),
        ("staleness_bound = \"soon\"", "is not a duration: write a whole number and s, m, h or d"),
        ("reserved_audiences = [\"\"]", "`reserved_audiences[0]` must be 1 to 255 bytes long"),
        ("listen = 8443", "`listen` must be a string in quotes, not integer"),
        ("session_roots = \"/run\"", "`session_roots` must be a list in brackets, not string"),
        (
            "[authority]\nx509_ttl = \"2h\"",
            "`authority.x509_ttl` is 2h, too short to sign what lives 1h: take at least 6h",
        ),
        ("[public]\nurl = \"http://id.example.com\"", "`public.url` must begin with https://"),
        ("[public]\nlisten = \"0.0.0.0:1\"", "`public.listen` needs `public.url`"),
        ("[public]\nurl = \"https://a\"\nlisten = \"0.0.0.0:1\"", "`public.listen` needs `public.certificate_file`"),
        (
            "[public]\nurl = \"https://a\"\ntls = \"off\"\nlisten = \"0.0.0.0:1\"",
            "`public.listen` must be a loopback address",
        ),
        (
            "[public]\nurl = \"http://127.0.0.1\"\ntls = \"spiffe\"\nlisten = \"127.0.0.1:1\"",
            "`public.url` must begin with https:// where TLS is served",
        ),
        ("[public]\ntls = \"maybe\"", "`public.tls` must be web, spiffe or off"),
        ("[[jwt.rsa]]\naudiences = [\"a\"]", "the key `jwt.rsa[0].key_file` is missing"),
        ("[[jwt.rsa]]\nkey_file = \"/var/lib/avouch/server/k\"", "`jwt` has a key_file below /var/lib/avouch/server"),
        (
            "[[jwt.rsa]]\nkey_file = \"/a\"\naudiences = [\"x\"]\n[[jwt.rsa]]\nkey_file = \"/b\"\naudiences = [\"x\"]",
            "`jwt.rsa` names the audience \"x\" twice",
        ),
        ("[database]\nhost = \"db.example\"", "`database.host` is another machine, so `ca_file` must name"),
        ("[database]\nhost = \"10.0.0.1\"", "`database.host` is another machine, so `ca_file` must name"),
        ("[database]\nhost = \"a b\"", "`database.host` must be a host name, an address, or the directory"),
        ("[database]\nhost = \"/run/pg\"\nca_file = \"/ca\"", "`database.ca_file` is for TLS, which there is none of"),
        ("[database]\nca_file = \"/ca\"", "`database.ca_file` is for a Postgres server, and no `host` names one"),
        ("[database]\nhost = \"localhost\"\nkey_file = \"/k\"", "`database.key_file` needs a `certificate_file`"),
        ("[database]\nport = 0", "`database.port` must be a port, 1 to 65535"),
        ("[database]\npassword = \"x\"", "there is no key `database.password`"),
        ("[health]\nlisten = \"0.0.0.0:1\"", "`health.listen` must be a loopback address"),
        ("[log]\nlevel = \"loud\"", "`log.level` must be error, warn, info, debug or trace, not \"loud\""),
        ("[log]\nformat = \"xml\"", "`log.format` must be text or json"),
        ("xyzzy = 1", "there is no key `xyzzy` here: the keys are `trust_domain`, `listen`"),
        ("listen = ", "this is not TOML"),
    ] {
        let told = only(lines);
        assert!(told.contains(sentence), "{lines}: {told}");
    }
    let told = parse("trust_domain = \"Example.test\"").unwrap_err().to_string();
    assert!(told.contains("which is no trust domain") && told.contains("write the bare name"), "{told}");
}

#[test]
fn a_socket_path_that_the_kernel_would_cut_is_refused() {
    assert!(only(&format!("runtime_dir = \"/{}\"", "a".repeat(83))).contains("too long for Unix sockets"));
    let mut text = String::from("trust_domain = \"example.test\"\n");
    writeln!(text, "runtime_dir = \"/{}\"", "a".repeat(82)).unwrap();
    assert!(parse(&text).is_ok());
}

#[test]
fn lives_are_bounded() {
    for (lines, allowed) in [
        ("[svid]\nx509_ttl = \"10s\"\njwt_ttl = \"10s\"", true),
        ("[svid]\nx509_ttl = \"9s\"", false),
        ("[svid]\nx509_ttl = \"24h\"", true),
        ("[svid]\nx509_ttl = \"25h\"", false),
        ("[svid]\njwt_ttl = \"61m\"", false),
        ("[svid]\nnode_ttl = \"8d\"", false),
    ] {
        assert_eq!(parse(&format!("trust_domain = \"e\"\n{lines}")).is_ok(), allowed, "{lines}");
    }
}

#[test]
fn a_database_is_a_file_or_on_a_server() {
    let with = |lines: &str| parse(&format!("trust_domain = \"e\"\n[database]\n{lines}")).unwrap().database;
    assert_eq!(with(""), None);
    let near = with("host = \"127.0.0.1\"").unwrap();
    assert_eq!((near.port, near.user.as_str(), near.dbname.as_str(), near.tls), (5432, "avouch", "avouch", None));
    assert_eq!(
        with("host = \"/run/postgresql\"").unwrap().host,
        crate::DatabaseHost::Directory("/run/postgresql".into())
    );
    let far = with("host = \"db.example\"\nca_file = \"/ca\"\ncertificate_file = \"/c\"\nkey_file = \"/k\"").unwrap();
    assert_eq!(far.tls.unwrap().identity, Some(("/c".into(), "/k".into())));
}
