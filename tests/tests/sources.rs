//! The whole way to a real OpenBao: the issuer's own discovery, its brokered tokens, the helper's settings, and an
//! agent that can read nothing there by itself.

use avouch_tests::servers::Bao;
use avouch_tests::{Installation, PLAIN, World};
use avouch_wire::tonic::{Code, Request};
use avouch_wire::unix;
use avouch_wire::workload::JwtsvidRequest;
use avouch_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use serde_json::Value;
use std::net::TcpListener;
use std::process::Child;

const BROKERED: &str = "spiffe://example.test/brokered/agent/researcher";

/// An OpenBao that believes an issuer, and a helper that enters it.
struct Scene {
    bao: Bao,
    world: World,
    /// An instance of `researcher` that does nothing.
    resting: Child,
}

impl Scene {
    fn start() -> Self {
        let bao = Bao::start().expect("OpenBao");
        let listen = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a port");
        let server = format!(
            "reserved_audiences = [\"openbao\"]\n[public]\nurl = \"http://{listen}\"\nlisten = \"{listen}\"\ntls = \"off\"\n"
        );
        let source = |name: &str, audience: &str| {
            format!(
                "[[source]]\nname = \"{name}\"\nkind = \"openbao\"\naddress = \"{}\"\n[source.login]\nmethod = \"jwt\"\naudience = \"{audience}\"\n",
                bao.address()
            )
        };
        let helper = source("vault", "openbao") + &source("open", "not-reserved");
        let mut made = Installation::prepare_with(&server, &helper).expect("settings");
        made.start_both().expect("issuer and helper");
        let world = World::on(made).expect("a world");
        let lines = r#"
            bao auth enable jwt
            bao write auth/jwt/config oidc_discovery_url="$ISSUER"
            printf '%s' 'path "secret/data/ci/*" { capabilities = ["read"] }' | bao policy write ci -
            bao kv put -mount=secret ci/tool token="$VALUE""#;
        let (issuer, value) = (format!("http://{listen}"), String::from_utf8(PLAIN.to_vec()).expect("text"));
        bao.shell(lines, &[("ISSUER", &issuer), ("VALUE", &value)]).expect("the page's lines");
        let binding = ["--to", &world.plain(""), "--plain", "loopback", "--method", "GET", "--path", "/repos/**"];
        let rest = ["--query", "mode", "--as", "bearer"];
        let lies =
            ["credential", "create", "plain", "--replace", "--source", "vault", "--ref", "kv2:secret/ci/tool#token"];
        world.made.run(&[&lies[..], &binding, &rest].concat()).expect("a credential");
        let resting = world.under_run("researcher", &["sleep", "120"]).spawn().expect("an agent");
        let mut scene = Self { bao, world, resting };
        let there = |made: &Installation| {
            made.run(&["status", "-o", "json"]).is_ok_and(|said| said.stdout.contains("\"agent\": \"researcher\""))
        };
        scene.world.made.until("an instance", there).expect("an instance");
        scene
    }

    /// The role of `researcher`, bound as these say and by nothing that was said before.
    fn role(&self, bound: &str) {
        let lines = format!(
            "bao delete auth/jwt/role/researcher
             bao write auth/jwt/role/researcher role_type=jwt user_claim=sub {bound} token_policies=ci token_period=5m"
        );
        self.bao.shell(&lines, &[]).expect("a role");
    }

    fn test(&self, source: &str) -> (Option<i32>, Value, String) {
        let said = self.world.made.avouch(&["source", "test", source, "--agent", "researcher", "-o", "json"]);
        let said = said.expect("source test");
        assert!(!format!("{said:?}").contains(std::str::from_utf8(PLAIN).expect("text")), "{said:?}");
        (said.code, serde_json::from_str(&said.stdout).unwrap_or_default(), said.stderr)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.resting.kill().ok();
        self.resting.wait().ok();
    }
}

/// Rows SR4 to SR7, I10.
#[test]
fn what_lies_in_openbao_reaches_the_tool_and_its_role_is_tried_for_what_it_is_bound_to() {
    let scene = Scene::start();
    let strict = format!("bound_audiences=openbao bound_subject={BROKERED}");
    scene.role(&strict);
    let said = scene.world.curl("researcher", &[&scene.world.plain("/repos/x?mode=echo")]).expect("curl");
    assert!(said.contains("that was all") && scene.world.authorized() == 1, "{said}\n{}", scene.world.made.logs());

    let (code, told, stderr) = scene.test("vault");
    assert_eq!(code, Some(0), "{told:#}\n{stderr}\n{}", scene.world.made.logs());
    assert_eq!((&told["id"], &told["credential"]), (&BROKERED.into(), &"plain".into()));
    assert_eq!(told["as_agent"]["found"]["bytes"], PLAIN.len());
    assert_eq!((&told["as_probe"]["outcome"], &told["as_workload"]["outcome"]), (&"refused".into(), &"refused".into()));

    // The attack: a role that any brokered identity opens.
    scene.role("bound_audiences=openbao");
    let (code, told, stderr) = scene.test("vault");
    assert_eq!((code, &told["as_probe"]["outcome"]), (Some(1), &"let_in".into()), "{told:#}");
    assert!(stderr.contains(&format!("bound_subject={BROKERED}")), "{stderr}");

    // And one that the agent's own tokens open, past the broker.
    scene.role("bound_audiences=openbao bound_audiences=openbao/");
    let (code, told, stderr) = scene.test("vault");
    assert_eq!((code, &told["as_workload"]["outcome"]), (Some(1), &"let_in".into()), "{told:#}");
    assert!(stderr.contains("past the broker"), "{stderr}");

    // A source whose audience the issuer does not reserve is left alone.
    scene.role(&strict);
    let (code, told, stderr) = scene.test("open");
    assert_eq!((code, &told["as_agent"]["fault"]), (Some(1), &"audience_not_reserved".into()), "{told:#}");
    assert!(stderr.contains("reserved_audiences"), "{stderr}");
    let listed = scene.world.made.run(&["source", "list"]).expect("source list").stdout;
    assert!(listed.contains("audience_not_reserved") && listed.contains("ready"), "{listed}");
}

/// Row I10: what an agent gets from the Workload API opens no source that is set up as the page says.
#[test]
fn an_agents_own_tokens_open_no_openbao() {
    let scene = Scene::start();
    scene.role(&format!("bound_audiences=openbao bound_subject={BROKERED}"));
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    let agent = ["agent", "create", "me", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    scene.world.made.run(&agent).expect("an agent");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let fetch = |audience: &'static str| {
        runtime.block_on(async {
            let channel = unix::dial(&scene.world.made.path("run/workload.sock")).await.expect("the Workload API");
            let mut request = Request::new(JwtsvidRequest { audience: vec![audience.into()], ..Default::default() });
            request.metadata_mut().insert("workload.spiffe.io", "true".parse().expect("a header"));
            let reply = SpiffeWorkloadApiClient::new(channel).fetch_jwtsvid(request).await;
            reply.map(|reply| reply.into_inner().svids.remove(0).svid).map_err(|status| status.code())
        })
    };
    let mut allowed = Err(Code::Unavailable);
    for _ in 0..100 {
        allowed = fetch("openbao/");
        if allowed.is_ok() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(fetch("openbao"), Err(Code::PermissionDenied), "a source's audience is nobody's to ask for");
    for audience in ["openbao/", "OpenBao", "spiffe://example.test/openbao"] {
        let token = fetch(audience).expect("a token of its own");
        let login = scene.bao.run(&["write", "auth/jwt/login", "role=researcher", &format!("jwt={token}")]);
        let refused = login.expect_err("it is refused").to_string();
        assert!(refused.contains("400") || refused.contains("403"), "{refused}");
    }
    assert!(allowed.is_ok());
}
