//! Which variables look like secrets, by name or by value. A guess, for what is not told apart otherwise: it prefers to
//! take a plain value for a secret, and knows nothing of a secret that looks like nothing.

#[cfg(test)]
mod tests;

/// Whether a variable should not be shown to a program that is not trusted with secrets.
pub fn looks_like_secret(name: &str, value: &str) -> bool {
    !is_placeholder(value) && (secret_shape(value).is_some() || is_named_as_secret(name, value))
}

/// What a value is by its shape alone, as "a GitHub token".
pub fn secret_shape(value: &str) -> Option<&'static str> {
    if is_placeholder(value) {
        return None;
    }
    if value.contains("-----BEGIN ") && value.contains("PRIVATE KEY") {
        return Some("a private key");
    }
    if value.split_whitespace().any(has_password) {
        return Some("a URL with a password");
    }
    let lower = value.to_ascii_lowercase();
    if WEBHOOKS.iter().any(|address| lower.contains(address)) {
        return Some("the address of a webhook, which is its own key");
    }
    if ASSIGNMENTS.iter().any(|name| assigned(&lower, name)) {
        return Some("a connection string with a password");
    }
    if SCHEMES.iter().any(|scheme| lower.trim_start().strip_prefix(scheme).is_some_and(|rest| rest.trim().len() >= 8)) {
        return Some("an Authorization header");
    }
    let words = value.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.+/=".contains(c)));
    words.flat_map(|word| std::iter::once(word).chain(word.split(['/', '=']))).find_map(shape_of_word)
}

fn shape_of_word(word: &str) -> Option<&'static str> {
    if is_jwt(word) {
        return Some("a JSON Web Token");
    }
    if AWS.iter().any(|prefix| word.starts_with(prefix)) && word.len() == AWS_LENGTH && word.bytes().all(is_upper) {
        return Some("an AWS access key");
    }
    let (_, _, what) = PREFIXES.iter().find(|(prefix, least, _)| {
        word.strip_prefix(prefix).is_some_and(|rest| {
            let random =
                rest.bytes().any(|byte| byte.is_ascii_digit()) && rest.bytes().any(|byte| byte.is_ascii_alphabetic());
            rest.len() >= *least && random
        })
    })?;
    Some(what)
}

/// `GITHUB_TOKEN`, `DB_PASS`, `apiKey`; not `KEYBOARD`, `MAX_TOKENS`, `SSH_KEY_PATH=/x`.
fn is_named_as_secret(name: &str, value: &str) -> bool {
    let value = value.trim();
    if value.is_empty() || SWITCHES.iter().any(|word| value.eq_ignore_ascii_case(word)) {
        return false;
    }
    let words = words_of(name);
    let (Some(last), several) = (words.last().map(String::as_str), words.len() > 1) else {
        return false;
    };
    if words.iter().any(|word| HARMLESS.contains(&word.as_str())) || ABOUT.contains(&last) {
        return false;
    }
    if PLACES.contains(&last) && (value.starts_with(['/', '~', '.']) || value.contains("://")) {
        return false;
    }
    let pairs = || words.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
    words.iter().any(|word| ENDINGS.iter().any(|ending| word.ends_with(ending)) || WORDS.contains(&word.as_str()))
        || pairs().any(|pair| PAIRS.contains(&pair))
        || (several && LAST_WORDS.contains(&last))
}

/// `API_KEY`, `api-key` and `apiKey` are API and KEY.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for c in name.chars() {
        if !c.is_ascii_alphanumeric() || (small && c.is_ascii_uppercase()) {
            words.push(String::new());
        }
        small = c.is_ascii_lowercase();
        if let Some(word) = words.last_mut().filter(|_| c.is_ascii_alphanumeric()) {
            word.push(c.to_ascii_uppercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// `avouch:github`, also behind the prefix that a tool insists on: `xoxb-avouch:slack`. Nothing else may stand beside it.
fn is_placeholder(value: &str) -> bool {
    let Some((prefix, name)) = value.split_once("avouch:") else {
        return false;
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    prefix.len() <= LONGEST_PREFIX && plain(prefix) && !name.is_empty() && name.len() <= LONGEST_NAME && plain(name)
}

/// `scheme://user:password@host`.
fn has_password(word: &str) -> bool {
    let Some((_, rest)) = word.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let token_alone = |user: &str| user.len() >= LONG_USER && secret_shape(user).is_some();
    user.is_some_and(|user| user.split_once(':').map_or(token_alone(user), |(_, password)| !password.is_empty()))
}

fn assigned(lower: &str, name: &str) -> bool {
    lower.match_indices(name).any(|(at, _)| {
        let value = lower[at + name.len()..].split([';', ' ', '&', ',']).next().unwrap_or_default();
        value.len() >= SHORTEST_PASSWORD
    })
}

fn is_jwt(word: &str) -> bool {
    let parts: Vec<_> = word.split('.').collect();
    let encoded = |part: &&str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte));
    word.starts_with("eyJ") && (3..=5).contains(&parts.len()) && parts[0].len() > 8 && parts.iter().all(encoded)
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

/// Ends of a word that is a secret's, wherever the word stands.
const ENDINGS: &[&str] = &[
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "APIKEY",
    "SECRETKEY",
    "ACCESSKEY",
    "PRIVATEKEY",
    "CREDENTIAL",
    "CREDENTIALS",
];
/// Whole words that are.
const WORDS: &[&str] = &["SECRETS", "PASSWORDS", "SSHPASS", "PAT", "JWT", "BEARER", "COOKIE", "MNEMONIC", "NETRC"];
/// Two words in a row that are.
const PAIRS: &[(&str, &str)] = &[("ACCESS", "KEY"), ("AUTH", "CONFIG"), ("CONNECTION", "STRING"), ("SEED", "PHRASE")];
/// Words that are if they are the last of several.
const LAST_WORDS: &[&str] = &["KEY", "KEYS", "PASS", "PWD", "AUTH", "SALT"];
/// Words with which it is none.
const HARMLESS: &[&str] =
    &["PUBLIC", "PUBLISHABLE", "PRIMARY", "FOREIGN", "SORT", "PARTITION", "CACHE", "TOKENIZER", "TOKENIZERS"];
/// Last words of what says something about a secret.
const ABOUT: &[&str] =
    &["TYPE", "NAME", "TTL", "HEADER", "EXPIRY", "EXPIRES", "LENGTH", "COUNT", "LIMIT", "BUDGET", "TIMEOUT", "TOKENS"];
/// Last words of what says where one is, if the value does.
const PLACES: &[&str] = &["FILE", "PATH", "DIR", "HOME", "URL", "URI", "ENDPOINT", "SOCK", "SOCKET"];
/// Values that keep nothing secret.
const SWITCHES: &[&str] = &["0", "1", "true", "false", "yes", "no", "on", "off", "none", "null"];

/// How tokens begin, how many characters follow at least, and whose they are.
const PREFIXES: &[(&str, usize, &str)] = &[
    ("github_pat_", 20, "a GitHub token"),
    ("ghp_", 20, "a GitHub token"),
    ("gho_", 20, "a GitHub token"),
    ("ghu_", 20, "a GitHub token"),
    ("ghs_", 20, "a GitHub token"),
    ("ghr_", 20, "a GitHub token"),
    ("glpat-", 16, "a GitLab token"),
    ("gldt-", 16, "a GitLab token"),
    ("glrt-", 16, "a GitLab token"),
    ("glcbt-", 16, "a GitLab token"),
    ("glptt-", 16, "a GitLab token"),
    ("sk-ant-", 16, "an Anthropic key"),
    ("sk-proj-", 16, "an OpenAI key"),
    ("sk-or-", 16, "an OpenRouter key"),
    ("sk-lf-", 16, "a Langfuse key"),
    ("sk-", 20, "an OpenAI key"),
    ("sk_live_", 10, "a Stripe key"),
    ("sk_test_", 10, "a Stripe key"),
    ("rk_live_", 10, "a Stripe key"),
    ("rk_test_", 10, "a Stripe key"),
    ("whsec_", 16, "a webhook secret"),
    ("xoxa-", 10, "a Slack token"),
    ("xoxb-", 10, "a Slack token"),
    ("xoxc-", 10, "a Slack token"),
    ("xoxd-", 10, "a Slack token"),
    ("xoxe-", 10, "a Slack token"),
    ("xoxe.", 10, "a Slack token"),
    ("xoxp-", 10, "a Slack token"),
    ("xoxr-", 10, "a Slack token"),
    ("xoxs-", 10, "a Slack token"),
    ("xapp-", 10, "a Slack token"),
    ("AIza", 30, "a Google key"),
    ("ya29.", 20, "a Google token"),
    ("GOCSPX-", 16, "a Google client secret"),
    ("npm_", 30, "an npm token"),
    ("pypi-", 30, "a PyPI token"),
    ("hf_", 24, "a Hugging Face token"),
    ("dop_v1_", 32, "a DigitalOcean token"),
    ("doo_v1_", 32, "a DigitalOcean token"),
    ("SG.", 30, "a SendGrid key"),
    ("lin_api_", 20, "a Linear key"),
    ("lin_oauth_", 20, "a Linear token"),
    ("ntn_", 20, "a Notion token"),
    ("secret_", 32, "a Notion token"),
    ("sntrys_", 20, "a Sentry token"),
    ("sntryu_", 20, "a Sentry token"),
    ("ATATT3", 20, "an Atlassian token"),
    ("ATCTT3", 20, "an Atlassian token"),
    ("hvs.", 16, "a Vault token"),
    ("hvb.", 16, "a Vault token"),
    ("hvr.", 16, "a Vault token"),
    ("dckr_pat_", 16, "a Docker token"),
    ("shpat_", 20, "a Shopify token"),
    ("gsk_", 20, "a Groq key"),
    ("xai-", 20, "an xAI key"),
    ("pplx-", 20, "a Perplexity key"),
    ("r8_", 20, "a Replicate token"),
    ("nvapi-", 20, "an NVIDIA key"),
    ("tvly-", 16, "a Tavily key"),
    ("lsv2_pt_", 20, "a LangSmith key"),
    ("glsa_", 20, "a Grafana token"),
    ("glc_", 20, "a Grafana token"),
    ("sbp_", 20, "a Supabase token"),
    ("figd_", 16, "a Figma token"),
    ("PMAK-", 20, "a Postman key"),
    ("NRAK-", 16, "a New Relic key"),
    ("dp.pt.", 20, "a Doppler token"),
    ("dp.st.", 20, "a Doppler token"),
    ("ops_eyJ", 20, "a 1Password token"),
    ("rubygems_", 20, "a RubyGems key"),
    ("tskey-", 16, "a Tailscale key"),
    ("pul-", 32, "a Pulumi token"),
    ("AGE-SECRET-KEY-1", 30, "an age key"),
];
const AWS: &[&str] = &["AKIA", "ASIA"];
const AWS_LENGTH: usize = 20;
const WEBHOOKS: &[&str] =
    &["hooks.slack.com/services/", "discord.com/api/webhooks/", "discordapp.com/api/webhooks/", "webhook.office.com/"];
const ASSIGNMENTS: &[&str] = &["password=", "passwd=", "pwd=", "accountkey=", "sharedaccesskey=", "_authtoken="];
const SCHEMES: &[&str] = &["bearer ", "basic ", "authorization:", "token "];
/// A user name that is asked whether it is a token.
const LONG_USER: usize = 16;
const SHORTEST_PASSWORD: usize = 4;
/// What a tool may insist on before a placeholder, and the longest name of a credential.
const LONGEST_PREFIX: usize = 16;
const LONGEST_NAME: usize = 128;
