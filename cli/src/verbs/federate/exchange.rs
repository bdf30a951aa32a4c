//! One exchange of the session's own identity token for the vendor's access token, as the vendor's SDK makes it. What comes
//! back is looked at and thrown away.

use crate::failure::{Exit, Failure};
use crate::verbs::Context;
use avouch_words::target::Vendor;
use avouch_words::{Clock as _, Secret, SystemClock};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What to exchange where.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    /// The vendor.
    pub vendor: String,
    /// The URL of its token endpoint.
    pub endpoint: String,
    /// What it is told beside the token.
    pub settings: BTreeMap<String, String>,
    /// PEM, beside the session's own roots.
    pub ca: Option<String>,
}

/// Reads the order from stdin and exchanges.
pub async fn run(context: &Context) -> Result<(), Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_ORDER).read_to_string(&mut text);
    read.map_err(|error| failed("read the order", &error))?;
    let order: Order = serde_json::from_str(&text).map_err(|error| failed("read the order", &error))?;
    let vendor = Vendor::parse(&order.vendor).ok_or_else(|| failed("read the order", &"no such vendor"))?;
    let token = token(vendor)?;
    let exchanged = tokio::time::timeout(DEADLINE, exchange(vendor, &order, &token)).await;
    let lasts = exchanged.map_err(|_| Failure::new(Exit::Timeout, "the vendor did not answer in time"))??;
    let json = || json!({"vendor": order.vendor, "endpoint": order.endpoint, "expires_in": lasts});
    context.output.tell(|| format!("{} gave access for {lasts} s\n", order.endpoint), json)
}

/// The token in the file that the vendor's SDK would read.
fn token(vendor: Vendor) -> Result<Secret, Failure> {
    let variable = |name: &str| {
        std::env::var(name).map_err(|_| {
            Failure::new(
                Exit::NotAttested,
                format!("{name} is not set: this is no session of an agent that may go there"),
            )
        })
    };
    let file = match vendor.token_variable() {
        Some(name) => variable(name)?,
        None => {
            let config = variable("GOOGLE_APPLICATION_CREDENTIALS")?;
            let config = fs::read(&config).map_err(|error| failed("read the credential configuration", &error))?;
            let config: Value = serde_json::from_slice(&config).unwrap_or_default();
            config["credential_source"]["file"].as_str().unwrap_or_default().to_owned()
        }
    };
    fs::read(&file).map(Secret::new).map_err(|error| failed("read the identity token", &error))
}

async fn exchange(vendor: Vendor, order: &Order, token: &Secret) -> Result<i64, Failure> {
    let token = std::str::from_utf8(token.expose()).map_err(|error| failed("read the identity token", &error))?;
    let setting = |name: &str| order.settings.get(name).map(String::as_str);
    let (kind, body) = match vendor {
        Vendor::Anthropic => {
            let mut body = json!({"grant_type": JWT_BEARER, "assertion": token});
            for (field, name) in [
                ("federation_rule_id", "rule"),
                ("organization_id", "organization"),
                ("service_account_id", "service_account"),
                ("workspace_id", "workspace"),
            ] {
                if let Some(value) = setting(name) {
                    body[field] = json!(value);
                }
            }
            (JSON, body.to_string())
        }
        Vendor::Openai => {
            let Some(provider) = setting("identity_provider") else {
                let sentence = "an exchange is tried for the API, with --identity-provider and --service-account";
                return Err(Failure::new(Exit::Usage, sentence).then("Codex tries its rule by itself when it starts."));
            };
            let body = json!({
                "grant_type": TOKEN_EXCHANGE, "subject_token": token, "subject_token_type": JWT,
                "identity_provider_id": provider, "service_account_id": setting("service_account"),
            });
            (JSON, body.to_string())
        }
        Vendor::Aws => (
            FORM,
            form(&[
                ("Action", "AssumeRoleWithWebIdentity"),
                ("Version", "2011-06-15"),
                ("RoleArn", setting("role_arn").unwrap_or_default()),
                ("RoleSessionName", setting("session_name").unwrap_or("avouch-federate-test")),
                ("WebIdentityToken", token),
            ]),
        ),
        Vendor::Gcp => {
            let audience = format!("//iam.googleapis.com/{}", setting("provider").unwrap_or_default());
            let fields = [
                ("grant_type", TOKEN_EXCHANGE),
                ("audience", audience.as_str()),
                ("scope", "https://www.googleapis.com/auth/cloud-platform"),
                ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
                ("subject_token_type", JWT),
                ("subject_token", token),
            ];
            (FORM, form(&fields))
        }
        Vendor::Azure => (
            FORM,
            form(&[
                ("client_id", setting("client").unwrap_or_default()),
                ("grant_type", "client_credentials"),
                ("scope", "https://management.azure.com/.default"),
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", token),
            ]),
        ),
    };
    let (status, answer) = post(order, vendor, kind, body).await?;
    if status != 200 {
        return Err(Failure::new(Exit::Denied, format!("the vendor answered {status}: {}", told(&answer))));
    }
    granted(vendor, &answer).ok_or_else(|| Failure::new(Exit::Failure, "the vendor's answer holds no access token"))
}

/// How many seconds the access lasts that was given.
fn granted(vendor: Vendor, answer: &str) -> Option<i64> {
    if vendor == Vendor::Aws {
        element(answer, "AccessKeyId").filter(|key| !key.is_empty())?;
        element(answer, "SessionToken").filter(|token| !token.is_empty())?;
        let ends =
            time::OffsetDateTime::parse(element(answer, "Expiration")?, &time::format_description::well_known::Rfc3339);
        return Some(ends.ok()?.unix_timestamp() - SystemClock.now().seconds());
    }
    let answer: Value = serde_json::from_str(answer).ok()?;
    answer["access_token"].as_str().filter(|token| !token.is_empty())?;
    answer["expires_in"].as_i64()
}

/// What a vendor says of a refusal, without what it may repeat of the request.
fn told(answer: &str) -> String {
    let json: Value = serde_json::from_str(answer).unwrap_or_default();
    let error = &json["error"];
    let code = error.as_str().or_else(|| error["type"].as_str()).or_else(|| element(answer, "Code"));
    let message = json["error_description"].as_str().or_else(|| error["message"].as_str());
    let message = message.or_else(|| element(answer, "Message"));
    let all = [code, message].into_iter().flatten().collect::<Vec<_>>().join(": ");
    // Three dots in a row of letters would be a token.
    let words = all.split_whitespace().filter(|word| word.len() <= LONGEST_WORD);
    let text: String = words.collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|letter| !letter.is_control()).take(LONGEST_REASON).collect();
    if text.is_empty() { "without a reason".to_owned() } else { text }
}

fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(value, _)| value)
}

async fn post(order: &Order, vendor: Vendor, kind: &str, body: String) -> Result<(u16, String), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Unreachable, format!("{} cannot be reached: {error}", order.endpoint))
    };
    let url: hyper::Uri = order.endpoint.parse().map_err(|error| failed(&error))?;
    let (Some("https"), Some(host)) = (url.scheme_str(), url.host()) else {
        return Err(Failure::new(
            Exit::Usage,
            "the endpoint has to begin with https://: a token goes over nothing else",
        ));
    };
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), url.port_u16().unwrap_or(443))).await;
    let stream = stream.map_err(|error| failed(&error))?;
    let mut roots = RootCertStore::empty();
    for pem in
        [std::env::var_os("SSL_CERT_FILE").and_then(|file| fs::read(file).ok()), order.ca.clone().map(Into::into)]
    {
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem.unwrap_or_default()).flatten());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| failed(&error))?.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::post(path)
        .header(HOST, url.authority().map_or(host, |authority| authority.as_str()))
        .header(CONTENT_TYPE, kind)
        .header(ACCEPT, "application/json, text/xml");
    if vendor == Vendor::Anthropic {
        request = request.header("anthropic-beta", "oauth-2025-04-20,oidc-federation-2026-04-01");
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await.map_err(|error| failed(&error))?;
    Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
}

/// `application/x-www-form-urlencoded`.
fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes().fold(String::new(), |mut out, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
                other => out.push_str(&format!("%{other:02X}")),
            }
            out
        })
    };
    fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect::<Vec<_>>().join("&")
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("cannot {what}: {why}"))
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const DEADLINE: Duration = Duration::from_secs(30);
/// An order with a few certificates, in bytes.
const MAX_ORDER: u64 = 256 * 1024;
const MAX_ANSWER: usize = 256 * 1024;
/// The longest word of a refusal that is shown: an identity token is one long word.
const LONGEST_WORD: usize = 120;
const LONGEST_REASON: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vendor_repeats_of_a_token_is_not_shown() {
        let token = "e".repeat(400);
        let json = json!({"error": "invalid_grant", "error_description": format!("bad assertion {token} here")});
        assert_eq!(told(&json.to_string()), "invalid_grant: bad assertion here");
        let xml = "<ErrorResponse><Error><Code>InvalidIdentityToken</Code><Message>No provider</Message></Error></ErrorResponse>";
        assert_eq!(told(xml), "InvalidIdentityToken: No provider");
        assert_eq!(told("<html>"), "without a reason");
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form(&[("a", "x y/é"), ("b", "1")]), "a=x%20y%2F%C3%A9&b=1");
    }

    #[test]
    fn an_answer_without_an_access_token_is_none() {
        assert_eq!(granted(Vendor::Gcp, r#"{"access_token":"x","expires_in":3599}"#), Some(3599));
        assert_eq!(granted(Vendor::Gcp, r#"{"access_token":"","expires_in":3599}"#), None);
        assert_eq!(granted(Vendor::Aws, "<AccessKeyId>A</AccessKeyId>"), None);
    }
}
