use super::*;

/// Made up, and cut in two so that nobody's scanner takes this file for a leak.
fn token(prefix: &str) -> String {
    format!("{prefix}{}", "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3")
}

#[test]
fn names_of_secrets_are_known_and_others_are_not() {
    for name in [
        "GITHUB_TOKEN",
        "GH_TOKEN",
        "NPM_TOKEN",
        "NODE_AUTH_TOKEN",
        "VAULT_TOKEN",
        "GITHUBTOKEN",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "STRIPE_KEY",
        "SSH_PRIVATE_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "PGPASSWORD",
        "MYSQL_PWD",
        "DB_PASS",
        "DB_PASSWORD",
        "REDISCLI_AUTH",
        "SSHPASS",
        "RESTIC_PASSWORD",
        "BORG_PASSPHRASE",
        "CLIENT_SECRET",
        "AZURE_CLIENT_SECRET",
        "VAULT_SECRET_ID",
        "DJANGO_SECRET_KEY",
        "SECRET",
        "TOKEN",
        "PASSWORD",
        "apiKey",
        "api-key",
        "authToken",
        "GITHUB_PAT",
        "DOCKER_AUTH_CONFIG",
        "GOOGLE_APPLICATION_CREDENTIALS_JSON",
        "AZURE_STORAGE_CONNECTION_STRING",
        "WALLET_MNEMONIC",
        "SESSION_COOKIE",
        "AUTH_KEY",
        "npm_config_//registry/:_authToken",
    ] {
        assert!(looks_like_secret(name, "correct horse"), "{name}");
        assert!(!looks_like_secret(name, ""), "{name} without a value");
        assert!(!looks_like_secret(name, "avouch:github"), "{name} with a placeholder");
    }
    for (name, value) in [
        ("PATH", "/usr/bin:/bin"),
        ("HOME", "/home/u"),
        ("PWD", "/home/u"),
        ("OLDPWD", "/"),
        ("USER", "u"),
        ("LANG", "C.UTF-8"),
        ("KEYBOARD", "us"),
        ("MONKEY", "george"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("TOKENIZER_NAME", "bpe"),
        ("EDITOR", "vi"),
        ("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22"),
        ("SSH_TTY", "/dev/pts/0"),
        ("KEYTIMEOUT", "1"),
        ("COMPASS", "north"),
        ("MAX_THINKING_TOKENS", "1024"),
        ("ANTHROPIC_MAX_TOKENS", "8192"),
        ("USE_API_KEY", "true"),
        ("SSH_PUBLIC_KEY", "ssh-ed25519 AAAA"),
        ("PRIMARY_KEY", "id"),
        ("TOKEN_TYPE", "bearer"),
        ("SECRET_NAME", "db"),
        ("PASSWORD_STORE_DIR", "/home/u/.pass"),
        ("PGPASSFILE", "/home/u/.pgpass"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/t"),
        ("TOKEN_URL", "https://id.example/token"),
        ("LESSKEY", "/etc/lesskey"),
        ("BYPASS", "local"),
        ("XAUTHORITY_X", "/x"),
        ("HISTSIZE", "1000"),
        ("CI_COMMIT_SHA", "98289e2a98289e2a98289e2a98289e2a98289e2a"),
        ("KEY", "Enter"),
        ("PASS", "2"),
        ("LS_COLORS", "rs=0:di=01;34"),
        ("GPG_TTY", "/dev/pts/1"),
        ("COLORTERM", "truecolor"),
        ("SHELL", "/bin/bash"),
        ("npm_package_name", "npm_utils"),
        ("JAVA_HOME", "/usr/lib/jvm"),
    ] {
        assert!(!looks_like_secret(name, value), "{name}={value}");
    }
}

#[test]
fn values_are_known_by_their_shape_whatever_their_name() {
    for (value, shape) in [
        (token("ghp_"), "a GitHub token"),
        (token("github_pat_"), "a GitHub token"),
        (token("glpat-"), "a GitLab token"),
        (token("sk-ant-api03-"), "an Anthropic key"),
        (token("sk-"), "an OpenAI key"),
        (token("sk_live_"), "a Stripe key"),
        (token("xoxb-123-"), "a Slack token"),
        (token("npm_"), "an npm token"),
        (token("pypi-AgEIcHlwaS"), "a PyPI token"),
        (token("hf_"), "a Hugging Face token"),
        (token("AIza"), "a Google key"),
        (token("hvs."), "a Vault token"),
        (format!("AKIA{}", "ABCDEFGHIJ234567"), "an AWS access key"),
        (format!("{}.{}.{}", token("eyJhbGciOi"), token("eyJ"), token("s")), "a JSON Web Token"),
        (format!("-----BEGIN {}PRIVATE KEY-----\nMII\n", "RSA "), "a private key"),
        (format!("-----BEGIN {}PRIVATE KEY-----\\nMII\\n", "OPENSSH "), "a private key"),
        ("postgres://app:hunter2@db.example/app".to_owned(), "a URL with a password"),
        (format!("https://{}@github.example/o/r", token("ghp_")), "a URL with a password"),
        ("Server=db;User Id=app;Password=hunter2;".to_owned(), "a connection string with a password"),
        (format!("https://hooks.{}/services/T0/B0/x", "slack.com"), "the address of a webhook, which is its own key"),
        (format!("Bearer {}", token("")), "an Authorization header"),
        (format!("--header x-key={} -v", token("ghp_")), "a GitHub token"),
        (format!("{{\"key\":\"{}\"}}", token("sk-ant-")), "an Anthropic key"),
    ] {
        assert_eq!(secret_shape(&value), Some(shape), "{value}");
        assert!(looks_like_secret("HARMLESS", &value));
    }
    for value in [
        "",
        "avouch:github",
        "xoxb-avouch:slack",
        "sk-ant-avouch:anthropic-prod",
        "sk-learn",
        "sk-some-long-name-without-numbers",
        "npm_test",
        "ghp_",
        "https://example.com/a@b:c",
        "https://user@example.com/",
        "http://127.0.0.1:4567",
        "-----BEGIN CERTIFICATE-----",
        "eyJ.a.b",
        "bearer",
        "the token ring",
        "/usr/lib/node_modules/npm_something/bin",
        "key=value;other=1",
        "AKIA",
        "tcp://10.0.0.1:2375",
    ] {
        assert_eq!(secret_shape(value), None, "{value}");
    }
    // A placeholder hides nothing that stands beside it.
    assert!(looks_like_secret("X", "postgres://u:hunter2@db/?x=avouch:y"));
    assert!(looks_like_secret("X", &format!("{} avouch:y", token("ghp_"))));
}
