use super::*;
use std::os::unix::fs::PermissionsExt as _;

fn refused(text: &str) -> String {
    Profile::parse("mine", text).expect_err(text).to_string()
}

#[test]
fn the_built_in_profiles_are_read_and_say_what_the_docs_say() {
    let of = |name| Profile::builtin(name).expect(name);
    let names: Vec<_> = Profile::builtin_names().collect();
    assert_eq!(names, ["open", "work", "strict"]);
    for name in names {
        read::complete(name, of(name).text()).expect(name);
        assert_eq!(Profile::parse(name, of(name).text()).expect(name), of(name));
        assert!(of(name).sockets.is_empty(), "{name} has a hole");
        assert!(!of(name).home.iter().any(|entry| entry.access == Access::Write), "{name} writes to home");
    }
    assert_eq!(of("open").files.read, [PathBuf::from("/")]);
    assert_eq!((of("open").kernel.landlock, of("open").kernel.namespaces), (Want::Off, Allowed::Allow));
    assert_eq!((of("work").files.work, of("work").kernel.namespaces), (Access::Write, Allowed::Refuse));
    assert_eq!((of("strict").files.work, of("strict").kernel.landlock), (Access::Read, Want::Required));
    assert!(!of("strict").home.iter().any(|entry| entry.access != Access::Read));
}

#[test]
fn work_and_strict_name_nothing_of_home_that_holds_secrets_or_is_run_at_login() {
    let secret = [
        ".ssh",
        ".gnupg",
        ".config",
        ".aws",
        ".kube",
        ".docker",
        ".netrc",
        ".npmrc",
        ".yarnrc.yml",
        ".gitconfig",
        ".git-credentials",
        ".pypirc",
        ".bashrc",
        ".bash_profile",
        ".profile",
        ".zshrc",
        ".bash_history",
        ".cargo/credentials.toml",
        ".cargo/config.toml",
        ".m2/settings.xml",
        ".gradle/gradle.properties",
        ".gem/credentials",
        ".cache/huggingface/token",
        ".local/share/keyrings",
        ".local/share/uv/credentials",
        ".claude",
        ".codex",
        ".mozilla",
        ".password-store",
        ".vault-token",
        ".terraform.d",
        ".azure",
        ".composer/auth.json",
        ".local/share/avouch",
        ".local/state/avouch",
    ];
    for name in ["work", "strict"] {
        for entry in Profile::builtin(name).expect(name).home {
            for secret in secret {
                let secret = Path::new(secret);
                assert!(!secret.starts_with(&entry.path), "{name} names {} over {secret:?}", entry.path.display());
                assert!(!entry.path.starts_with(secret), "{name} names {}", entry.path.display());
            }
        }
    }
}

#[test]
fn a_profile_of_ones_own_adds_to_a_built_in_one() {
    let text = r#"
        from = "work"
        [home]
        read = [".config/git"]
        write = [".cache/pip"]
        [sockets]
        open = ["/var/run/postgresql/.s.PGSQL.5432", "~/.sock", "$XDG_RUNTIME_DIR/wayland-0"]
        [kernel]
        landlock = "required"
        [limits]
        wall_time = "90m"
        memory = "512MiB"
    "#;
    let (mine, work) = (Profile::parse("mine", text).expect("profile"), Profile::builtin("work").expect("work"));
    assert_eq!((mine.name(), &mine.files, mine.home.len()), ("mine", &work.files, work.home.len() + 1));
    let pip: Vec<_> = mine.home.iter().filter(|entry| entry.path == Path::new(".cache/pip")).collect();
    assert_eq!((pip.len(), pip[0].access), (1, Access::Write), "the last word is the profile's own");
    assert_eq!((mine.kernel.landlock, mine.kernel.trace), (Want::Required, work.kernel.trace));
    assert_eq!((mine.limits.wall_time, mine.limits.memory), (Some(Duration::from_secs(5400)), Size::Bytes(512 << 20)));
    let paths: Vec<_> = mine
        .sockets
        .iter()
        .filter_map(|hole| hole.path(Path::new("/home/u"), Some(Path::new("/run/user/7"))))
        .map(|path| path.display().to_string())
        .collect();
    assert_eq!(paths, ["/var/run/postgresql/.s.PGSQL.5432", "/home/u/.sock", "/run/user/7/wayland-0"]);
    assert_eq!(mine.sockets[2].path(Path::new("/home/u"), None), None);
    assert_eq!(Profile::parse("mine", mine.text()).expect("again"), mine);
}

#[test]
fn what_a_profile_does_not_know_is_refused_with_the_nearest_key() {
    for (text, says) in [
        ("from = \"work\"\n[file]\nread = []", "no key `file`: did you mean `files`"),
        ("from = \"work\"\n[kernel]\nlandlok = \"off\"", "no key `kernel.landlok`: did you mean `kernel.landlock`"),
        ("from = \"work\"\n[limits]\nmemroy = \"1GiB\"", "did you mean `limits.memory`"),
        ("about = \"no base\"", "`from` must be"),
        ("from = \"mine\"", "`from` must be"),
        ("from = \"work\"\n[files]\nwork = \"rw\"", "line 3"),
        ("from = \"work\"\n[kernel]\nlandlock = \"maybe\"", "line 3"),
        ("from = \"work\"\n[home]\nread = [\"../other\"]", "`home.read` must be below"),
        ("from = \"work\"\n[home]\nread = [\"/etc\"]", "`home.read` must be below"),
        ("from = \"work\"\n[home]\nread = [\"~/x\"]", "`home.read` must be below"),
        ("from = \"work\"\n[home]\nread = [\"x\"]\nwrite = [\"x/\"]", "named already"),
        ("from = \"work\"\n[files]\nread = [\"etc\"]", "`files.read` must be absolute"),
        ("from = \"work\"\n[sockets]\nopen = [\"/run/../etc\"]", "`sockets.open` must be absolute"),
        ("from = \"work\"\n[limits]\nprocesses = 0", "at least 1"),
        ("from = \"work\"\n[limits]\nprocesses = -1", "line 3"),
        ("from = \"work\"\n[limits]\nmemory = \"101%\"", "must be a size"),
        ("from = \"work\"\n[limits]\nmemory = \"99999999999TiB\"", "must be a size"),
        ("from = \"work\"\n[limits]\nwall_time = \"0s\"", "must be \"none\""),
        ("from = [", "line 1"),
    ] {
        assert!(refused(text).contains(says), "{text}: {}", refused(text));
    }
}

#[test]
fn a_profile_is_found_by_name_and_a_built_in_one_is_not_overridden() {
    let root = tempfile::tempdir().expect("folder");
    let (first, second) = (root.path().join("etc"), root.path().join("home"));
    let write = |directory: &Path, name: &str, about: &str| {
        std::fs::create_dir_all(directory).expect("folder");
        let file = directory.join(format!("{name}.toml"));
        std::fs::write(&file, format!("from = \"strict\"\nabout = \"{about}\"")).expect("file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("mode");
        file
    };
    let both = [first.clone(), second.clone()];
    let find = |name: &str| Profile::find(name, &both);
    assert_eq!(find("work").expect("built in"), Profile::builtin("work").expect("built in"));
    assert!(matches!(find("mine"), Err(ProfileError::NotFound { .. })));
    let file = write(&second, "mine", "of the user");
    assert_eq!(find("mine").expect("found").about(), "of the user");
    write(&first, "mine", "of the administrator");
    assert_eq!(find("mine").expect("found").about(), "of the administrator");
    for name in ["", "../mine", "Mine", "1mine", "mi/ne", &"m".repeat(MAX_NAME + 1)] {
        assert!(matches!(find(name), Err(ProfileError::Name(_))), "{name}");
    }
    write(&second, "work", "a laxer one");
    assert!(matches!(find("work"), Err(ProfileError::BuiltIn(_))));
    assert!(matches!(Profile::parse("work", "from = \"open\""), Err(ProfileError::BuiltIn(_))));

    let only = [second];
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("mode");
    assert!(matches!(Profile::find("mine", &only), Err(ProfileError::Unsafe(_))));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("mode");
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(54_321), None).expect("owner");
        assert!(matches!(Profile::find("mine", &only), Err(ProfileError::Unsafe(_))), "of another user");
        std::os::unix::fs::chown(&file, Some(0), None).expect("owner");
    }
    std::fs::write(&file, "#".repeat(MAX_FILE as usize + 1)).expect("file");
    assert!(matches!(Profile::find("mine", &only), Err(ProfileError::TooLarge(_))));
}

#[test]
fn sizes_are_bytes_or_a_share_of_the_host() {
    for (text, size, shown) in [
        ("8GiB", Size::Bytes(8 << 30), "8 GiB"),
        ("1500MiB", Size::Bytes(1500 << 20), "1500 MiB"),
        ("7B", Size::Bytes(7), "7 B"),
        ("75%", Size::Share(75), "75% of the host's memory"),
    ] {
        assert_eq!((Size::read(text), size.to_string().as_str()), (Some(size), shown));
    }
    for text in ["", "8", "8GB", "GiB", "0GiB", "-1GiB", "0%", "1.5GiB", "8 GiB"] {
        assert_eq!(Size::read(text), None, "{text}");
    }
    let (half, all) = (Size::Share(50).bytes(), Size::Share(100).bytes());
    assert!(half > 0 && all >= half * 2 && all - half * 2 < 200);
}

#[test]
fn the_profile_in_the_docs_can_be_read() {
    let page = include_str!("../../../../docs/contained.md");
    let text = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a profile");
    let profile = Profile::parse("mine", text).expect("profile");
    assert_eq!((profile.sockets.len(), profile.limits.wall_time), (1, Some(Duration::from_secs(8 * 3600))));
}
