//! The stack's OpenBao, set up by the stack's own script and entered with the stack's own settings, on this machine.

use super::deploy;
use avouch_tests::{Installation, PLAIN, World};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

#[test]
fn the_stacks_settings_let_an_agents_call_have_its_secret_from_the_stacks_openbao() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for name in ["tls", "file", "keys"] {
        fs::create_dir(at(name)).expect("a directory");
    }
    let prepared = Command::new(deploy().join("stack/prepare")).arg(at("tls")).output().expect("prepare");
    assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));
    let [bao_port, public_port] = ports();
    let tls = at("tls").display().to_string();
    // What is at another place here than in the containers.
    let here = |text: &str| {
        let text =
            text.replace("\"/tls", &format!("\"{tls}")).replace("0.0.0.0:8200", &format!("127.0.0.1:{bao_port}"));
        let text = text.replace("openbao:8200", &format!("localhost:{bao_port}"));
        let text = text.replace("openbao:8201", &format!("localhost:{}", bao_port.saturating_add(1)));
        let text = text.replace("issuer:8446", &format!("localhost:{public_port}"));
        text.replace("0.0.0.0:8446", &format!("127.0.0.1:{public_port}"))
            .replace("/openbao/file", &at("file").display().to_string())
    };
    let read = |name: &str| here(&fs::read_to_string(deploy().join("stack").join(name)).expect("a file of the stack"));
    fs::write(at("openbao.hcl"), read("openbao.hcl")).expect("settings");
    let program = PathBuf::from(std::env::var_os("AVOUCH_BAO").expect("AVOUCH_BAO: run this by tests/run"));
    let log = fs::File::create(at("bao.log")).expect("a log");
    let _bao = Ending(
        Command::new(&program)
            .args(["server", &format!("-config={}", at("openbao.hcl").display())])
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("OpenBao"),
    );

    // The part of the stack's settings that is about who may enter and where, over places of this test's own.
    let (server, helper) = (read("server.toml"), read("helper.toml"));
    let reserved = server.lines().find(|line| line.starts_with("reserved_audiences")).expect("a line");
    let public = &server[server.find("[public]").expect("a table")..];
    let source = &helper[helper.find("[[source]]").expect("a table")..];
    let mut made = Installation::prepare_with(&format!("{reserved}\n{public}"), source).expect("settings");
    made.start_server(&[]).and_then(|()| made.token("n1")).expect("an issuer");
    let bao = |command: &mut Command| {
        let beside = program.parent().unwrap_or(Path::new("/")).display().to_string();
        let path = format!("{beside}:{}", std::env::var("PATH").unwrap_or_default());
        command.env("PATH", path).env("HOME", folder.path()).stdin(Stdio::null());
        command.env("BAO_ADDR", format!("https://localhost:{bao_port}")).env("BAO_CACERT", at("tls/ca.pem"));
        command.env("ISSUER", format!("https://localhost:{public_port}")).env("ISSUER_CA", at("tls/ca.pem"));
        let output = command.output().expect("a command");
        let said = || fs::read_to_string(at("bao.log")).unwrap_or_default();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complained}{}\n{}", String::from_utf8_lossy(&output.stdout), said());
    };
    for _ in 0..2 {
        // The second time, as after a restart of the stack, it has nothing to make.
        bao(Command::new("timeout").arg("60").arg(deploy().join("stack/openbao-setup")).arg(at("keys")));
    }
    let keys = fs::read_to_string(at("keys/keys")).expect("the keys");
    let root = keys.lines().find_map(|line| line.strip_prefix("Initial Root Token: ")).expect("a token");
    let value = String::from_utf8_lossy(PLAIN);
    bao(Command::new("bao").args(["kv", "put", "secret/ci/tool", &format!("token={value}")]).env("BAO_TOKEN", root));

    made.start_helper(&[]).expect("a helper");
    let world = World::on(made).expect("a world");
    let origin = world.plain("");
    let create = ["credential", "create", "kept", "--source", "openbao", "--ref", "kv2:secret/ci/tool#token"];
    let binding = ["--to", &origin, "--plain", "loopback", "--method", "GET", "--path", "/kept/**", "--as", "bearer"];
    world.made.run(&[&create[..], &binding].concat()).expect("a credential");
    for agent in ["researcher", "intruder"] {
        world.made.run(&["grant", "create", "--agent", agent, "--credential", "kept"]).expect("a grant");
    }
    let said = world.curl("researcher", &[&world.plain("/kept/x")]).expect("curl");
    assert!(said.ends_with("200"), "{said}{}", world.made.logs());
    // Granted, but OpenBao has no role for it: the store's own policy holds.
    let said = world.curl("intruder", &[&world.plain("/kept/x")]).expect("curl");
    assert!(!said.ends_with("200"), "{said}");
    assert_eq!(world.authorized(), 1);
}

fn ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").port())
}

/// A server that ends with the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
