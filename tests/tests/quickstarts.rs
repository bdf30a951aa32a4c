//! The pages of `docs/quickstarts`, run as they stand with the real tools; a local server stands for each service.
//! `tests/run` installs the tools by the pages' own lines, and names their folder in `AVOUCH_QUICKSTARTS`.

use avouch::demo::canary;
use avouch_tests::page::{self, Block};
use avouch_tests::{Dev, Service};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

#[test]
fn the_page_of_curl() {
    let arrived = Page { name: "curl", host: "api.github.com", slot: Slot::Bearer }.run();
    assert_eq!(arrived, ["GET /user"]);
}

#[test]
fn the_page_of_git() {
    let arrived = Page { name: "git", host: "github.com", slot: Slot::Basic("x-access-token") }.run();
    for service in ["git-upload-pack", "git-receive-pack"] {
        assert!(arrived.contains(&format!("GET /acme/hello.git/info/refs?service={service}")), "{arrived:?}");
    }
    assert!(arrived.contains(&"POST /acme/hello.git/git-receive-pack".to_owned()), "{arrived:?}");
}

#[test]
fn the_page_of_requests_and_httpx() {
    let arrived = Page { name: "python", host: "api.github.com", slot: Slot::Bearer }.run();
    assert_eq!(arrived, ["GET /user", "GET /user"]);
}

#[test]
fn the_page_of_openais_sdk() {
    let arrived = Page { name: "openai", host: "api.openai.com", slot: Slot::Bearer }.run();
    assert_eq!(arrived, ["POST /v1/responses"]);
}

#[test]
fn the_page_of_anthropics_sdk() {
    let arrived = Page { name: "anthropic", host: "api.anthropic.com", slot: Slot::Header("x-api-key") }.run();
    assert_eq!(arrived, ["POST /v1/messages"]);
}

#[test]
fn the_page_of_nodes_fetch() {
    let arrived = Page { name: "node", host: "api.github.com", slot: Slot::Bearer }.run();
    assert_eq!(arrived, ["GET /user", "GET /user"]);
}

#[test]
fn the_page_of_gos_net_http() {
    let arrived = Page { name: "go", host: "api.github.com", slot: Slot::Bearer }.run();
    assert_eq!(arrived, ["GET /user"]);
}

#[test]
fn the_page_of_cargo() {
    let arrived = Page { name: "cargo", host: "crates.example.com", slot: Slot::Header("authorization") }.run();
    // The crate itself may be in a cache.
    assert!(arrived.contains(&"GET /index/gr/ee/greeting".to_owned()), "{arrived:?}");
}

#[test]
fn the_page_of_npm() {
    let arrived = Page { name: "npm", host: "npm.example.com", slot: Slot::Bearer }.run();
    // The package itself may be in a cache.
    assert!(arrived.contains(&"GET /acme-greeting".to_owned()), "{arrived:?}");
}

#[test]
fn the_page_of_pip() {
    let arrived = Page { name: "pip", host: "pypi.example.com", slot: Slot::Basic("acme") }.run();
    assert_eq!(arrived, ["GET /simple/greeting/", "GET /files/greeting-1.0-py3-none-any.whl"]);
}

#[test]
fn the_page_of_claude_code() {
    let arrived = Page { name: "claude-code", host: "api.anthropic.com", slot: Slot::Header("x-api-key") }.run();
    assert!(arrived.contains(&"POST /v1/messages?beta=true".to_owned()), "{arrived:?}");
}

#[test]
fn the_page_of_codex() {
    let arrived = Page { name: "codex", host: "api.openai.com", slot: Slot::Bearer }.run();
    assert!(arrived.contains(&"POST /v1/responses".to_owned()), "{arrived:?}");
}

#[test]
fn a_page_that_leaves_its_secret_behind_is_no_test_passed() {
    let keep = "```sh\ntee copy | avouch secret put github --value-stdin --to https://api.github.com --method GET --path / --as bearer\n```\n";
    let page = Page { name: "leak", host: "api.github.com", slot: Slot::Bearer };
    let ended = std::panic::catch_unwind(|| page.run_as(keep)).expect_err("it was let through");
    assert!(ended.downcast_ref::<String>().is_some_and(|said| said.contains("leak/copy")), "{ended:?}");
    let sound = Page { name: "sound", host: "api.github.com", slot: Slot::Bearer };
    assert!(sound.run_as(&keep.replace("tee copy", "cat")).is_empty());
}

#[test]
fn each_page_is_run_here() {
    let here = include_str!("quickstarts.rs");
    for entry in fs::read_dir(docs()).expect("docs/quickstarts").flatten() {
        let name = entry.path().file_stem().expect("a name").to_string_lossy().into_owned();
        assert!(name == "README" || here.contains(&format!("name: \"{name}\"")), "{name} is run by no test");
    }
}

/// A page, the service that it calls, and how that service wants the secret.
struct Page {
    name: &'static str,
    host: &'static str,
    slot: Slot,
}

enum Slot {
    Bearer,
    Basic(&'static str),
    Header(&'static str),
}

impl Slot {
    /// The header, and its whole value.
    fn filled(&self, secret: &str) -> (&'static str, String) {
        match self {
            Self::Bearer => ("authorization", format!("Bearer {secret}")),
            Self::Basic(user) => ("authorization", format!("Basic {}", STANDARD.encode(format!("{user}:{secret}")))),
            Self::Header(name) => (name, secret.to_owned()),
        }
    }
}

impl Page {
    /// Runs the page's blocks in its folder, and returns what arrived at the service, each with the secret. What the
    /// tools printed, wrote and left behind has no spelling of the secret in it.
    fn run(self) -> Vec<String> {
        let text = fs::read_to_string(docs().join(format!("{}.md", self.name))).expect("the page");
        self.run_as(&text)
    }

    fn run_as(self, text: &str) -> Vec<String> {
        let folder = installed().join(self.name);
        fs::create_dir_all(&folder).expect("a folder");
        page::sweep(&folder).expect("an empty folder");
        let secret = format!("s3cr3t/{}+odd=bytes-41c0ffee", self.name);
        let (header, value) = self.slot.filled(&secret);
        let service = Service::start(self.host, header, &value).expect("a service");
        let dev = Dev::start().expect("avouch dev");
        fs::write(dev.folder().join("value"), &secret).expect("a value");
        let mut last = String::new();
        for block in page::blocks(text).expect("blocks") {
            match block {
                Block::Install(_) => {}
                Block::File(name, content) => {
                    let path = folder.join(name);
                    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                    fs::write(path, content).expect("a file");
                }
                Block::Run(lines) => last = shell(&dev, &service, &folder, &lines, &secret),
                Block::Printed(expected) => {
                    let missing = page::missing(&expected, &last);
                    assert_eq!(missing, None, "it printed:\n{last}");
                }
            }
        }
        fs::remove_file(dev.folder().join("value")).expect("removed");
        for place in [&folder, dev.folder()] {
            no_secret_in(place, secret.as_bytes());
        }
        let arrived = service.arrived();
        assert!(arrived.iter().all(|request| request.authorized), "{arrived:?}");
        arrived.iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }
}

/// Runs a block; the value is on standard input where a secret is put, and nothing elsewhere.
fn shell(dev: &Dev, service: &Service, folder: &Path, block: &str, secret: &str) -> String {
    let lines = page::as_run(block, &service.instead());
    let puts = block.contains("avouch secret put ");
    let stdin = match puts {
        true => Stdio::from(fs::File::open(dev.folder().join("value")).expect("the value")),
        false => Stdio::null(),
    };
    let output = dev
        .command("timeout", &folder.join(page::TOOLCHAIN).join("bin"))
        .args([BLOCK_SECONDS, "sh", "-euc", &lines])
        .current_dir(folder)
        .stdin(stdin)
        .output()
        .expect("a shell");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}\n{said}\n{complained}\n{}\n{}", dev.log(), service.said());
    for text in [&said, &complained] {
        assert_eq!(canary::find(text.as_bytes(), secret.as_bytes()), None, "{text}");
    }
    said.into_owned()
}

/// Looks through the files below a folder, but for those that a package client installed.
fn no_secret_in(folder: &Path, secret: &[u8]) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        let kind = entry.file_type().expect("a kind");
        if kind.is_dir() && !page::INSTALLED.iter().any(|name| entry.file_name() == *name) {
            no_secret_in(&path, secret);
        } else if kind.is_file() {
            let bytes = fs::read(&path).expect("a file");
            assert_eq!(canary::find(&bytes, secret), None, "{}", path.display());
        }
    }
}

fn installed() -> PathBuf {
    PathBuf::from(std::env::var_os("AVOUCH_QUICKSTARTS").expect("AVOUCH_QUICKSTARTS: run this by tests/run"))
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/quickstarts")
}

/// A safety bound for a block; none is near it.
const BLOCK_SECONDS: &str = "120";
