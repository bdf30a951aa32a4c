use super::*;
use clap::CommandFactory as _;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_lines_of_the_manual_are_read() {
    for line in [
        "avouch demo",
        "avouch dev",
        "avouch server --config s.toml",
        "avouch helper --config h.toml",
        "avouch run --agent researcher -- curl -v https://x/",
        "avouch token create --node n --out -",
        "avouch node list -o json",
        "avouch agent create r --owner me@example.test --selector unix:uid:0",
        "avouch secret put github --value-stdin --to https://api.example.test:443 --method GET --path /repos/** --as bearer",
        "avouch secret put t --value-file f --to https://x --method GET --method POST --path /a --query q --as header:x-key:Token --address 10.0.0.1:8443 --ca ca.pem",
        "avouch grant create --agent r --credential c",
        "avouch lock create --agent r --reason test --ttl 1h",
        "avouch lock list --all",
        "avouch svid show",
        "avouch audit verify export.jsonl --key k",
        "avouch explain denied",
        "avouch status --runtime-dir /run/avouch",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err().map(|e| e.to_string()));
    }
}

#[test]
fn what_is_missing_or_wrong_is_a_usage_error_that_names_it() {
    for (line, named) in [
        ("avouch agent create r --selector unix:uid:0", "--owner"),
        ("avouch agent create r --owner me", "--selector"),
        ("avouch agent create R --owner me --selector unix:uid:0", "a name is 1 to 64"),
        ("avouch agent create r --owner me --selector uid", "a selector is type:value"),
        ("avouch lock create --agent r", "--reason"),
        ("avouch run --agent r", "COMMAND"),
        ("avouch token create --node n --ttl 10 --out -", "90s, 10m, 1h or 7d"),
        ("avouch token create --node n --ttl 0s --out -", "90s, 10m, 1h or 7d"),
        ("avouch secret put c --to https://x --method GET --path / --as bearer", "--value"),
        ("avouch secret put c --value-stdin --to https://x --method GET --path / --as cookie", "bearer, basic:USER"),
        (
            "avouch secret put c --value-stdin --to https://x --method GET --path / --as header:Connection",
            "never filled",
        ),
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(named), "{line}: {error}");
    }
}

#[test]
fn a_secret_has_no_flag_to_be_given_by() {
    let line = "avouch secret put c --value hunter2-hunter2 --to https://x --method GET --path / --as bearer";
    assert!(parse(line).is_err());
}

#[test]
fn help_begins_with_examples() {
    let help = Cli::command().render_long_help().to_string();
    assert!(help.starts_with("Examples:\n"), "{help}");
    let mut command = Cli::command();
    for noun in command.get_subcommands_mut() {
        let name = noun.get_name().to_owned();
        let verbs: Vec<_> = noun.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
        if verbs.iter().any(|verb| verb == "create") {
            let verb = noun.find_subcommand_mut("create").expect("a verb");
            assert!(verb.render_long_help().to_string().starts_with("Example"), "{name} create");
        }
    }
}

#[test]
fn slots_and_times_are_read() {
    assert_eq!(slot("basic:me"), Ok(SlotSpec::Basic { username: "me".into() }));
    let prefixed = SlotSpec::Header { name: "x-key".into(), prefix: Some("Token: ".into()) };
    assert_eq!(slot("header:x-key:Token: "), Ok(prefixed));
    assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
    assert!(
        duration("m").is_err() && duration("").is_err() && duration("4294967295d").is_err() && duration("1é").is_err()
    );
}
