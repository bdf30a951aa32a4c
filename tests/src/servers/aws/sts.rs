//! `AssumeRoleWithWebIdentity`: the token is verified against the keys of an OpenID provider that the account knows,
//! its claims against the role's trust policy.

use super::http::{Answer, Asked};
use super::{Account, Known, policy};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An OpenID provider as an account knows it.
#[derive(Clone)]
pub struct IdentityProvider {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Its client ids: the audiences that are believed.
    pub audiences: Vec<String>,
    /// Where its keys are.
    pub keys: ProviderKeys,
}

/// Where the keys of a provider are.
#[derive(Clone)]
pub enum ProviderKeys {
    /// One P-256 key, its point.
    Point(Vec<u8>),
    /// Behind its discovery document, at this loopback `HOST:PORT` in front of which its own name's TLS would be.
    Discovery(String),
}

/// Keys for requests.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// The secret.
    pub secret: String,
    /// The session's token, if it is one of a session.
    pub token: Option<String>,
}

/// A session that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionOf {
    /// The role.
    pub role: String,
    /// Its name, which the account's trail shows.
    pub name: String,
    /// The subject of the token.
    pub subject: String,
    /// How long it lasts, in seconds.
    pub seconds: u64,
}

impl IdentityProvider {
    /// The issuer's URL without its scheme, as it stands in ARNs and conditions.
    pub(super) fn name(&self) -> String {
        self.issuer.split_once("://").map_or(self.issuer.as_str(), |(_, rest)| rest).to_owned()
    }

    fn points(&self, kid: Option<&str>) -> Vec<Vec<u8>> {
        match &self.keys {
            ProviderKeys::Point(point) => vec![point.clone()],
            ProviderKeys::Discovery(at) => discover(&self.issuer, at, kid).unwrap_or_default(),
        }
    }
}

/// Why it is refused: AWS's code and message.
type Refusal = (u16, &'static str, String);

/// What is asked of it.
pub(super) struct Assumed<'a> {
    pub(super) role: &'a str,
    pub(super) token: &'a str,
    pub(super) name: &'a str,
    pub(super) seconds: u64,
    pub(super) policy: Option<Value>,
}

impl Default for Assumed<'_> {
    fn default() -> Self {
        Self { role: "", token: "", name: "somebody", seconds: 3600, policy: None }
    }
}

pub(super) fn answer(account: &Account, asked: &Asked) -> Answer {
    let form = form(&asked.body);
    match read(&form).and_then(|asked| assume(account, &asked)) {
        Ok(answer) => Answer::xml(200, answer),
        Err((status, code, message)) => Answer::xml(
            status,
            format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            ),
        ),
    }
}

fn read(form: &BTreeMap<String, String>) -> Result<Assumed<'_>, Refusal> {
    let bad = |what: &str| (400, "ValidationError", what.to_owned());
    let field = |name: &str| form.get(name).map(String::as_str).ok_or_else(|| bad(name));
    if (field("Action")?, field("Version")?) != ("AssumeRoleWithWebIdentity", "2011-06-15") {
        return Err((400, "InvalidAction", "no such action".to_owned()));
    }
    let name = field("RoleSessionName")?;
    let in_name = |b: u8| b.is_ascii_alphanumeric() || b"_=,.@-".contains(&b);
    if !(2..=64).contains(&name.len()) || !name.bytes().all(in_name) {
        return Err(bad("RoleSessionName"));
    }
    let seconds =
        form.get("DurationSeconds").map_or(Ok(3600), |text| text.parse().map_err(|_| bad("DurationSeconds")))?;
    if !(900..=43_200).contains(&seconds) {
        return Err(bad("DurationSeconds"));
    }
    let read = |text: &String| serde_json::from_str(text).map_err(|_| (400, "MalformedPolicyDocument", text.clone()));
    let policy = form.get("Policy").map(read).transpose()?;
    Ok(Assumed { role: field("RoleArn")?, token: field("WebIdentityToken")?, name, seconds, policy })
}

pub(super) fn assume(account: &Account, asked: &Assumed<'_>) -> Result<String, Refusal> {
    let (arn, name, seconds) = (asked.role, asked.name, asked.seconds);
    let (provider, claims) = verify(account, asked.token)?;
    let denied = || (403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned());
    let mut state = account.lock();
    let role = state.roles.get(arn).ok_or_else(denied)?;
    let federated = format!("arn:aws:iam::{}:oidc-provider/{provider}", super::ACCOUNT);
    let conditions = ["aud", "sub"].map(|claim| (format!("{provider}:{claim}"), claims[claim].clone()));
    if !policy::trusts(&role.trust, &federated, &conditions.into()) {
        return Err(denied());
    }
    let policies = [Some(role.permissions.clone()), asked.policy.clone()].into_iter().flatten().collect();
    state.made += 1;
    let (id, secret) = (format!("ASIA{:016}", state.made), format!("sEsSiOn+{:032}", state.made));
    let token = format!("token/of+session={:040}", state.made);
    let ends = SystemTime::now() + Duration::from_secs(seconds);
    let short = arn.rsplit('/').next().unwrap_or_default();
    let user = format!("arn:aws:sts::{}:assumed-role/{short}/{name}", super::ACCOUNT);
    let known =
        Known { secret: secret.clone(), token: Some(token.clone()), ends: Some(ends), user: user.clone(), policies };
    state.keys.insert(id.clone(), known);
    let subject = claims["sub"].clone();
    state.sessions.push(SessionOf { role: arn.to_owned(), name: name.to_owned(), subject: subject.clone(), seconds });
    Ok(format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Audience>{}</Audience><AssumedRoleUser><AssumedRoleId>AROA:{name}\
         </AssumedRoleId><Arn>{user}</Arn></AssumedRoleUser><Provider>{federated}</Provider><Credentials>\
         <AccessKeyId>{id}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey><SessionToken>{token}</SessionToken>\
         <Expiration>{}</Expiration></Credentials><SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken>\
         </AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>\
         </AssumeRoleWithWebIdentityResponse>",
        claims["aud"],
        iso8601(ends)
    ))
}

/// The provider's name, and the claims `sub` and `aud`.
fn verify(account: &Account, token: &str) -> Result<(String, BTreeMap<&'static str, String>), Refusal> {
    let invalid = |what: &str| (400, "InvalidIdentityToken", what.to_owned());
    let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else {
        return Err(invalid("The ID Token provided is not a valid JWT."));
    };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| invalid("The ID Token is not a valid JWT."));
    let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).map_err(|_| invalid("not a valid JWT"));
    let (header, claims) = (json(decode(head)?)?, json(decode(body)?)?);
    let issuer = claims["iss"].as_str().unwrap_or_default();
    let provider = account.lock().providers.values().find(|provider| provider.issuer == issuer).cloned();
    let provider =
        provider.ok_or_else(|| invalid("No OpenIDConnect provider found in your account for that issuer"))?;
    let signed = format!("{head}.{body}");
    let signature = decode(signature)?;
    let good = |point: &Vec<u8>| {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
    };
    if header["alg"] != "ES256" || !provider.points(header["kid"].as_str()).iter().any(good) {
        return Err(invalid("Couldn't retrieve verification key from your identity provider"));
    }
    let audience = match &claims["aud"] {
        Value::String(one) => one.clone(),
        Value::Array(all) if all.len() == 1 => all[0].as_str().unwrap_or_default().to_owned(),
        _ => return Err(invalid("Incorrect token audience")),
    };
    if !provider.audiences.contains(&audience) {
        return Err(invalid("Incorrect token audience"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if claims["exp"].as_u64().is_none_or(|exp| exp <= now) {
        return Err((400, "ExpiredTokenException", "Token expired".to_owned()));
    }
    let subject = claims["sub"].as_str().ok_or_else(|| invalid("no subject"))?.to_owned();
    Ok((provider.name(), BTreeMap::from([("aud", audience), ("sub", subject)])))
}

/// The keys behind a discovery document, which has to be of this issuer.
fn discover(issuer: &str, at: &str, kid: Option<&str>) -> Option<Vec<Vec<u8>>> {
    let path = |url: &str| url.split_once("://").and_then(|(_, rest)| Some(rest.split_once('/')?.1.to_owned()));
    let prefix = path(&format!("{issuer}/"))?;
    let document = get(at, &format!("/{prefix}.well-known/openid-configuration").replace("//", "/"))?;
    if document["issuer"] != issuer {
        return None;
    }
    let keys = get(at, &format!("/{}", path(document["jwks_uri"].as_str()?)?))?;
    let wanted = keys["keys"].as_array()?.iter().filter(|key| key["kty"] == "EC" && key["kid"].as_str() == kid);
    let point = |key: &Value| {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
        Some([vec![4], part("x")?, part("y")?].concat())
    };
    Some(wanted.filter_map(point).collect())
}

fn get(at: &str, path: &str) -> Option<Value> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: id.example.com\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    serde_json::from_slice(&answer[end + 4..]).ok()
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let decode = |text: &str| {
        let (mut out, mut bytes) = (Vec::new(), text.bytes());
        while let Some(byte) = bytes.next() {
            let digits =
                |a: Option<u8>, b: Option<u8>| u8::from_str_radix(std::str::from_utf8(&[a?, b?]).ok()?, 16).ok();
            out.push(match byte {
                b'+' => b' ',
                b'%' => digits(bytes.next(), bytes.next()).unwrap_or(b'%'),
                byte => byte,
            });
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    text.split('&').filter_map(|pair| pair.split_once('=')).map(|(key, value)| (decode(key), decode(value))).collect()
}

/// A moment as `2026-11-21T19:00:00Z` (days by Howard Hinnant's `civil_from_days`).
fn iso8601(moment: SystemTime) -> String {
    let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let (month, day) = ((5 * of_year + 2) / 153, of_year - (153 * ((5 * of_year + 2) / 153) + 2) / 5 + 1);
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", of_day / 3600, of_day / 60 % 60, of_day % 60)
}
