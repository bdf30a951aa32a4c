use super::*;

fn of(trial: Result<Vec<String>, ContainError>, switches: &Switches) -> Host {
    Host::of(trial, switches)
}

fn found(host: &Host, name: &str) -> Ability {
    host.abilities().iter().find(|ability| ability.name == name).expect(name).clone()
}

#[test]
fn what_fails_is_named_with_what_to_do_and_what_comes_after_it_is_unknown() {
    let held = || Err(ContainError::UserNamespacesHeld("EPERM".to_owned()));
    let fix = |switches: Switches| found(&of(held(), &switches), "user namespaces").fix.expect("a sentence");
    assert!(fix(Switches { apparmor: Some(1), ..Switches::default() }).contains("apparmor_parser -r"));
    assert!(fix(Switches { clone: Some(0), ..Switches::default() }).contains("unprivileged_userns_clone=1"));
    assert!(fix(Switches { most: Some(0), ..Switches::default() }).contains("max_user_namespaces"));
    assert!(fix(Switches { container: true, ..Switches::default() }).contains("container"));
    assert!(fix(Switches { apparmor: Some(0), most: Some(9), ..Switches::default() }).contains("CONFIG_USER_NS"));

    let host = of(held(), &Switches::default());
    assert!(!host.contains());
    assert!(matches!(found(&host, "user namespaces").found, Found::No(why) if why.contains("EPERM")));
    for name in ["namespaces", "mounts", "fresh /proc", "network cookie", "overlayfs"] {
        assert_eq!((found(&host, name).found, found(&host, name).fix), (Found::Unknown, None), "{name}");
    }
    let host = of(Err(ContainError::FreshProc("EPERM".to_owned())), &Switches::default());
    assert_eq!(found(&host, "mounts").found, Found::Yes("works".to_owned()));
    assert!(found(&host, "fresh /proc").fix.expect("a sentence").contains("systempaths"));
    assert!(!host.contains());
}

#[test]
fn a_session_that_was_built_shows_all_that_it_took() {
    let host = of(Ok(Vec::new()), &Switches::default());
    for name in ["user namespaces", "namespaces", "mounts", "fresh /proc", "loopback", "network cookie", "overlayfs"] {
        assert!(matches!(found(&host, name).found, Found::Yes(_)), "{name}");
        assert_eq!(found(&host, name).fix, None);
    }
    let needed: Vec<bool> = host.abilities().iter().map(|ability| ability.needed).collect();
    assert!(needed.is_sorted_by(|one, next| one >= next), "the needed first");
    let lacking = of(Ok(vec!["this host has no overlayfs in a user namespace".to_owned()]), &Switches::default());
    assert!(matches!(found(&lacking, "overlayfs").found, Found::No(_)));
    assert!(found(&lacking, "overlayfs").fix.is_some());
    assert_eq!(lacking.contains(), host.contains(), "what is not needed does not count");
}

#[test]
fn an_error_that_is_about_no_ability_is_told_as_it_is() {
    let host = of(Err(ContainError::Lost("it ended without a word".to_owned())), &Switches::default());
    assert!(matches!(&host.abilities()[0].found, Found::No(why) if why.contains("without a word")));
    assert_eq!(found(&host, "user namespaces").found, Found::Unknown);
    assert!(!host.contains());
}
