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
fn every_noun_and_verb_begins_its_help_with_an_example_that_is_read() {
    let mut command = Cli::command();
    command.build();
    let mut seen = 0;
    walk(&mut command, &mut seen);
    assert!(seen > 30, "{seen}");
}

fn walk(command: &mut clap::Command, seen: &mut usize) {
    let name = command.get_display_name().unwrap_or("avouch").to_owned();
    let help = command.render_long_help().to_string();
    let examples = help.strip_prefix("Example").unwrap_or_else(|| panic!("{name} has no example: {help}"));
    let usage = examples.split("\n\n").next().unwrap_or_default();
    let lines: Vec<_> = usage.lines().skip(1).filter(|line| line.starts_with("  avouch ")).collect();
    assert!(usage.contains(&name.replace('-', " ")), "{name}: its examples show something else");
    for line in lines {
        let words = words(line);
        assert!(Cli::try_parse_from(&words).is_ok(), "{name}: {line}: {:?}", Cli::try_parse_from(&words).err());
    }
    *seen += 1;
    command.get_subcommands_mut().filter(|one| !one.is_hide_set()).for_each(|one| walk(one, seen));
}

/// The words of an example as a shell gives them: up to a pipe or what is said about it.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut quoted, mut blanks) = (false, 0);
    for letter in line.trim().chars() {
        blanks = if letter == ' ' { blanks + 1 } else { 0 };
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted && blanks == 2 => break,
            '|' if !quoted => break,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
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
