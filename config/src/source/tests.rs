use super::*;
use crate::{HelperConfig, Paths};
use std::path::Path;
use std::time::Duration;

const BEGINNING: &str = "trust_domain = \"e\"\nissuer = \"i:1\"\n";

fn parse(sources: &str) -> Result<Vec<SourceSettings>, String> {
    let read = HelperConfig::parse(&format!("{BEGINNING}{sources}"), Path::new("helper.toml"), &Paths::system());
    read.map(|config| config.sources).map_err(|faults| faults.to_string())
}

/// One source of a kind, with these keys.
fn one(kind: &str, keys: &str) -> Result<SourceKind, String> {
    let read = parse(&format!("[[source]]\nname = \"s\"\nkind = {kind:?}\n{keys}\n"))?;
    Ok(read.into_iter().next().unwrap().kind)
}

/// The settings in the sample are commented out, as no source fits everybody; here they are not.
#[test]
fn the_samples_sources_are_read() {
    let sample = include_str!("../../helper.toml");
    let written: Vec<&str> = sample
        .lines()
        .skip_while(|line| *line != "# [[source]]")
        .take_while(|line| line.is_empty() || line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("# ").or(line.is_empty().then_some("")))
        .collect();
    let read = parse(&written.join("\n")).unwrap();
    let of = |name: &str| &read.iter().find(|source| source.name.as_str() == name).unwrap().kind;
    assert!(matches!(of("aws"), SourceKind::Aws(AwsSource { login: AwsLogin::WebIdentity { .. }, .. })));
    assert!(matches!(of("vault"), SourceKind::OpenBao(OpenBaoSource { login: OpenBaoLogin::Jwt { .. }, .. })));
    assert!(matches!(of("gh"), SourceKind::Exec(_)));
    assert!(matches!(of("agent"), SourceKind::File(_)));
    let SourceKind::Kubernetes(cluster) = of("cluster") else { panic!("another kind") };
    let SourceKind::Kubernetes(defaults) = one("kubernetes", "").unwrap() else { panic!("another kind") };
    assert_eq!(*cluster, defaults, "the sample says the defaults");
}

#[test]
fn sources_have_names_of_their_own() {
    assert_eq!(parse("").unwrap(), []);
    let file = |name: &str| format!("[[source]]\nname = {name:?}\nkind = \"file\"\npath = \"/p\"\n");
    assert_eq!(parse(&format!("{}{}", file("a"), file("b"))).unwrap().len(), 2);
    assert!(parse(&format!("{}{}", file("a"), file("a"))).unwrap_err().contains("two entries with the name a"));
    assert!(parse(&file("sealed")).unwrap_err().contains("take another name"));
    assert!(parse(&file("A b")).unwrap_err().contains("a name is 1 to 64"));
    let many: String = (0..=SOURCES_MAX).map(|at| file(&format!("s{at}"))).collect();
    assert!(parse(&many).unwrap_err().contains("keep at most 64"));
    assert!(one("vault9", "").unwrap_err().contains("`source[0].kind` must be"));
    assert!(one("file", "path = \"/p\"\nregion = \"x\"").unwrap_err().contains("region"), "a key of another kind");
}

#[test]
fn a_file_is_named_absolutely_or_as_a_credential_of_the_service() {
    let path = |path: &str| one("file", &format!("path = {path:?}"));
    for good in ["/etc/avouch/token", "$CREDENTIALS_DIRECTORY/token"] {
        assert_eq!(path(good).unwrap(), SourceKind::File(FileSource { path: good.to_owned() }));
    }
    for bad in ["token", "/a/../b", "$CREDENTIALS_DIRECTORY/", "$CREDENTIALS_DIRECTORY/../x", "$HOME/x", ""] {
        assert!(path(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_command_is_a_list_with_the_variables_it_is_given() {
    let keys =
        "command = [\"/usr/bin/gh\", \"auth\", \"token\"]\nenvironment = [\"HOME=/x=y\", \"LANG\"]\ndeadline = \"3s\"";
    let SourceKind::Exec(read) = one("exec", keys).unwrap() else { panic!("another kind") };
    assert_eq!((read.program.to_str().unwrap(), read.arguments.len()), ("/usr/bin/gh", 2));
    let given = |name: &str, value: Option<&str>| Variable { name: name.to_owned(), value: value.map(str::to_owned) };
    assert_eq!(read.environment, [given("HOME", Some("/x=y")), given("LANG", None)]);
    assert_eq!(read.deadline, Duration::from_secs(3));
    for bad in [
        "",
        "command = \"gh auth token\"",
        "command = []",
        "command = [\"gh\"]",
        "command = [\"/p\"]\nenvironment = [\"A B\"]",
        "command = [\"/p\"]\nenvironment = [\"=x\"]",
        "command = [\"/p\"]\ndeadline = \"11s\"",
        "command = [\"/p\"]\nshell = true",
    ] {
        assert!(one("exec", bad).is_err(), "{bad}");
    }
}

#[test]
fn a_cluster_is_reached_over_tls() {
    let server = |server: &str| one("kubernetes", &format!("server = {server:?}"));
    assert!(server("https://10.0.0.1:6443").is_ok());
    for bad in ["http://10.0.0.1", "http://127.0.0.1:8001", "kubernetes", "https://", "https://u@h"] {
        assert!(server(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_account_is_entered_in_one_of_four_ways() {
    let with = |keys: &str, login: &str| one("aws", &format!("region = \"eu-west-1\"\n{keys}\nlogin = {{ {login} }}"));
    let web = "method = \"web_identity\", role_arn = \"arn:aws:iam::1:role/avouch-{agent}\", audience = \"sts\"";
    let SourceKind::Aws(read) = with("", web).unwrap() else { panic!("another kind") };
    assert_eq!((read.endpoint, read.ca_file, read.binary), (None, None, BinaryForm::Text));
    assert!(with("endpoint = \"http://127.0.0.1:5000\"\nbinary = \"base64\"\nca_file = \"/ca\"", web).is_ok());
    for good in [
        "method = \"profile\"",
        "method = \"profile\", profile = \"ci\"",
        "method = \"instance\"",
        "method = \"file\", path = \"/keys\"",
    ] {
        assert!(with("", good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "method = \"environment\"",
        "method = \"web_identity\"",
        "method = \"web_identity\", role_arn = \"arn:aws:iam::1:role/x\"",
        "method = \"web_identity\", role_arn = \"avouch\", audience = \"sts\"",
        "method = \"web_identity\", role_arn = \"arn:aws:iam::1:role/{name}\", audience = \"sts\"",
        "method = \"file\"",
        "method = \"file\", path = \"/keys\", profile = \"ci\"",
    ] {
        assert!(with("", bad).is_err(), "{bad}");
    }
    for bad in ["endpoint = \"http://example\"", "binary = \"hex\"", "regoin = \"x\""] {
        assert!(with(bad, web).is_err(), "{bad}");
    }
}

#[test]
fn an_openbao_is_entered_in_one_of_four_ways() {
    let with = |address: &str, login: &str| one("openbao", &format!("address = {address:?}\nlogin = {{ {login} }}"));
    let https = "https://vault:8200";
    let SourceKind::OpenBao(read) = with(https, "method = \"jwt\", audience = \"openbao\"").unwrap() else {
        panic!("another kind")
    };
    let plain = ["jwt", "{agent}", "avouch-revoke", "openbao"].map(str::to_owned);
    let [mount, role, revoke_role, audience] = plain;
    assert_eq!(read.login, OpenBaoLogin::Jwt { mount, role, revoke_role, audience });
    for good in [
        "method = \"cert\", mount = \"team/cert\", role = \"avouch-{agent}\", revoke_role = \"r\"",
        "method = \"approle\", role_id = \"1\", secret_id_file = \"$CREDENTIALS_DIRECTORY/secret-id\"",
        "method = \"token_file\", token_file = \"/run/token\"",
    ] {
        assert!(with(https, good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "method = \"userpass\"",
        "method = \"jwt\"",
        "method = \"jwt\", audience = \"a\", role = \"avouch\"",
        "method = \"cert\", audience = \"a\"",
        "method = \"approle\", role_id = \"1\"",
        "method = \"approle\", role_id = \"1\", secret_id = \"2\"",
        "method = \"token_file\", token = \"hvs.1\"",
    ] {
        assert!(with(https, bad).is_err(), "{bad}");
    }
    assert!(with("http://vault:8200", "method = \"token_file\", token_file = \"/run/token\"").is_err());
}
