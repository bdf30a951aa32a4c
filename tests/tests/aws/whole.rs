//! The whole system before the same account: an issuer whose keys STS finds by OpenID discovery, a helper, an agent
//! under `avouch run`, and a tool that demands what lies in AWS.

use super::rig::{AUDIENCE, page};
use avouch::demo::canary;
use avouch_tests::servers::Aws;
use avouch_tests::servers::aws::{IdentityProvider, ProviderKeys};
use avouch_tests::{Installation, PLAIN, World};
use spiffe::WorkloadApiClient;
use std::net::TcpListener;

const ISSUER: &str = "https://id.example.com/avouch";
/// What an agent is also believed for, as a target of its own (`avouch federate aws`).
const TARGET: &str = "sts.amazonaws.com";

/// A world with an AWS account as its source `aws`; the credential `plain` lies there, and its grant stays.
fn world() -> (World, Aws) {
    let aws = Aws::start().expect("an account");
    let public = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr()).expect("a port").to_string();
    let server = format!(
        "reserved_audiences = [{AUDIENCE:?}]\n[public]\nurl = {ISSUER:?}\nlisten = {public:?}\ntls = \"off\"\n"
    );
    let helper = format!(
        "[[source]]\nname = \"aws\"\nkind = \"aws\"\nregion = \"eu-west-1\"\nendpoint = {0:?}\nca_file = {1:?}\n\
         login = {{ method = \"web_identity\", role_arn = \"arn:aws:iam::123456789012:role/avouch-{{agent}}\", \
         audience = {AUDIENCE:?}, sts_endpoint = {0:?} }}\n",
        aws.address(),
        aws.ca()
    );
    let mut made = Installation::prepare_with(&server, &helper).expect("settings");
    made.start_both().expect("started");
    aws.trust(IdentityProvider {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned(), TARGET.to_owned()],
        keys: ProviderKeys::Discovery(public),
    });
    aws.role("avouch-researcher", &page("trust", "id.example.com/avouch"), &page("permissions", ""));
    aws.moto.create("ci/tool", &String::from_utf8_lossy(PLAIN)).expect("a secret");
    let world = World::on(made).expect("a world");
    let to = world.plain("");
    let create = ["credential", "create", "plain", "--replace", "--source", "aws", "--ref", "ci/tool", "--to", &to];
    let narrow = ["--plain", "loopback", "--method", "GET", "--path", "/repos/**", "--query", "mode", "--as", "bearer"];
    world.made.run(&[&create[..], &narrow].concat()).expect("a credential");
    (world, aws)
}

#[test]
fn a_secret_of_aws_is_injected_scrubbed_and_audited_and_its_role_sees_the_agent() {
    let (world, aws) = world();
    let said = world.curl("researcher", &["-v", &world.plain("/repos/x?mode=echo")]).expect("curl");
    assert!(said.contains("that was all") && said.ends_with("200"), "{said}{}", world.made.logs());
    assert_eq!(world.authorized(), 1);
    let session = aws.sessions();
    assert_eq!(session.len(), 1);
    assert_eq!(session[0].subject, "spiffe://example.test/brokered/agent/researcher");
    assert_eq!(session[0].name, "researcher");

    let audited = world.made.run(&["audit", "list", "-o", "json"]).expect("the audit").stdout;
    assert!(audited.contains("\"plain\"") && audited.contains("researcher"), "{audited}");
    let listed = world.made.run(&["credential", "list", "-o", "json"]).expect("the credentials").stdout;
    assert!(listed.contains("ci/tool"), "{listed}");
    let all = format!("{said}{audited}{listed}{}", world.made.logs());
    assert_eq!(canary::find(all.as_bytes(), PLAIN), None);
    for (path, bytes) in world.made.files().expect("files") {
        assert_eq!(canary::find(&bytes, PLAIN), None, "{}", path.display());
    }

    assert!(!world.curl("intruder", &[&world.plain("/repos/x")]).expect("curl").ends_with("200"));
    assert_eq!(aws.sessions().len(), 1, "nobody logs in for an agent without a grant");
}

/// Invariant 10: for whatever audience an agent has a token of its own, STS refuses it; the reserved one it cannot have.
#[test]
fn sts_refuses_an_agents_own_identity_for_every_audience_and_takes_the_brokered_one() {
    let (world, aws) = world();
    let uid = format!("unix:uid:{}", rustix::process::geteuid().as_raw());
    let agent =
        ["agent", "create", "analyst", "--owner", "me@example.test", "--node", "node:name:n1", "--selector", &uid];
    world.made.run(&agent).expect("an agent");
    // As careless as can be: for its own role, whatever the audience that the account knows.
    let mut trust = page("trust", "id.example.com/avouch");
    let condition = &mut trust["Statement"][0]["Condition"]["StringEquals"];
    condition["id.example.com/avouch:sub"] = "spiffe://example.test/brokered/agent/analyst".into();
    condition["id.example.com/avouch:aud"] = serde_json::json!([AUDIENCE, TARGET]);
    let role = aws.role("avouch-analyst", &trust, &page("permissions", ""));

    let socket = format!("unix://{}", world.made.path("run/workload.sock").display());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let own = |audience: &str| {
        runtime.block_on(async {
            let client = WorkloadApiClient::connect_to(&socket).await.expect("the Workload API");
            client.fetch_jwt_svid([audience], None).await.map(|svid| svid.token().to_owned())
        })
    };
    assert!(own(AUDIENCE).is_err(), "the reserved audience");
    for audience in [TARGET, "avouch.aws/", "AVOUCH.AWS", "https://sts.amazonaws.com", "openbao", ISSUER] {
        let token = own(audience).expect("a token of its own");
        let refused = aws.assume(&role, &token).expect_err(audience);
        assert!(["AccessDenied", "InvalidIdentityToken"].contains(&refused.as_str()), "{audience}: {refused}");
    }
    assert!(aws.sessions().is_empty());
    let said = world.curl("researcher", &[&world.plain("/repos/x")]).expect("curl");
    assert!(said.ends_with("200"), "{said}{}", world.made.logs());
    assert_eq!(aws.sessions().len(), 1, "the brokered one");
}
