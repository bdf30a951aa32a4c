//! Clouds and model vendors over TLS (`tests/federation/vendors.py`): they trust one issuer, fetch its discovery and keys
//! from its own endpoint, and let in whom they were told.

use super::{installed, until_up};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The vendors; they end when they are dropped.
pub struct Vendors {
    trust: Trust,
    child: Option<Child>,
    port: u16,
}

/// What is there before the vendors are: certificates of both sides, and a port for the issuer.
pub struct Trust {
    folder: tempfile::TempDir,
    python: PathBuf,
    issuer_port: u16,
}

impl Trust {
    /// The issuer's URL, as everybody knows it: its name leads to this machine for the vendors alone.
    pub const ISSUER: &str = "https://id.example.test/avouch";

    /// Makes the certificates.
    pub fn make() -> io::Result<Self> {
        let folder = installed("AVOUCH_FEDERATION")?;
        let python = folder.join("bin/python");
        let folder = tempfile::tempdir()?;
        for (who, name) in [("issuer", "id.example.test"), ("vendor", "127.0.0.1")] {
            certificate(folder.path(), who, name)?;
        }
        let issuer_port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        Ok(Self { folder, python, issuer_port })
    }

    /// Lines for the issuer's settings: its URL, where it is served, and an RSA key for the audience that wants one.
    pub fn settings(&self) -> io::Result<String> {
        let (at, port) = (self.folder.path().display(), self.issuer_port);
        let key = self.folder.path().join("rsa.key");
        let made =
            Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").stderr(Stdio::null()).status()?;
        if !made.success() {
            return Err(io::Error::other("openssl made no key"));
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok(format!(
            "[public]\nurl = \"{}\"\nlisten = \"127.0.0.1:{port}\"\ncertificate_file = \"{at}/issuer.pem\"\n\
             key_file = \"{at}/issuer.key\"\n[[jwt.rsa]]\naudiences = [\"api://AzureADTokenExchange\"]\n\
             key_file = \"{at}/rsa.key\"\n",
            Self::ISSUER
        ))
    }

    /// Starts the vendors, who trust the issuer in what `vendors` says for each of them.
    pub fn start(self, vendors: &Value) -> io::Result<Vendors> {
        self.start_with(vendors, &json!({}))
    }

    /// The same with more that they are told.
    pub fn start_with(self, vendors: &Value, more: &Value) -> io::Result<Vendors> {
        let mut trust = json!({"issuer": Self::ISSUER, "port": self.issuer_port, "vendors": vendors});
        for (name, value) in more.as_object().into_iter().flatten() {
            trust[name] = value.clone();
        }
        let at = self.folder.path().to_owned();
        fs::write(at.join("trust.json"), trust.to_string())?;
        let log = fs::File::create(at.join("err"))?;
        let mut child = Command::new(&self.python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/federation/vendors.py"))
            .arg(&at)
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()?;
        let said = || fs::read_to_string(at.join("err")).unwrap_or_default();
        until_up(&mut child, said, || at.join("port").exists())?;
        let port = fs::read_to_string(at.join("port"))?.trim().parse().map_err(io::Error::other)?;
        Ok(Vendors { trust: self, child: Some(child), port })
    }
}

impl Vendors {
    /// Where they are, as `https://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The certificate of their authority.
    pub fn ca(&self) -> PathBuf {
        self.trust.folder.path().join("vendor-ca.pem")
    }

    /// What was exchanged with them, in order.
    pub fn log(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.trust.folder.path().join("log")).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What of it this vendor let in, by `jti`.
    pub fn let_in(&self, vendor: &str) -> Vec<String> {
        let of = |entry: &Value| entry["vendor"] == vendor && entry["ok"] == true;
        self.log().into_iter().filter(of).map(|entry| entry["jti"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The vendor's own SDK in a session, with its arguments; not yet started.
    pub fn sdk(&self, arguments: &[&str]) -> Vec<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/federation/sdk.py");
        let (ca, python) = (self.ca().display().to_string(), self.trust.python.display().to_string());
        let command = ["env".to_owned(), format!("TEST_CA={ca}"), python, script.to_owned()];
        command.into_iter().chain(arguments.iter().map(|argument| (*argument).to_owned())).collect()
    }
}

impl Drop for Vendors {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().and_then(|()| child.wait()).ok();
        }
    }
}

/// A certificate for `name` under an authority of its own.
fn certificate(folder: &Path, who: &str, name: &str) -> io::Result<()> {
    let failed = |error: rcgen::Error| io::Error::other(error.to_string());
    let ca_key = KeyPair::generate().map_err(failed)?;
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(DnType::CommonName, format!("authority of the {who}"));
    ca.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
    let ca_certificate = ca.self_signed(&ca_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let mut leaf = CertificateParams::new([name.to_owned()]).map_err(failed)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).map_err(failed)?;
    fs::write(folder.join(format!("{who}-ca.pem")), ca_certificate.pem())?;
    fs::write(folder.join(format!("{who}.pem")), leaf.pem())?;
    let file = folder.join(format!("{who}.key"));
    fs::write(&file, key.serialize_pem())?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}
