//! Steps 1, 3, 4 and 5: an issuer, agents with their identities, credentials.

use super::{Actors, HOST, NODE, PATH, expect};
use crate::demo::child::{Agent, Walls};
use crate::demo::order::Order;
use crate::demo::place::Place;
use crate::demo::witness::Witness;
use crate::demo::world::{IssuerPart, Tool};
use crate::failure::Failure;
use crate::output::span;
use avouch_policy::binding::Plain;
use avouch_policy::{BindingSpec, SlotSpec};
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use std::time::Duration;

/// A new trust domain.
pub(super) async fn start_issuer(place: &Place) -> Result<(IssuerPart, String), Failure> {
    let issuer = IssuerPart::start(place).await?;
    let (state, seal) = (place.paths().server_state(), place.paths().server_seal_key());
    expect(state.join(avouch_config::DATABASE_FILE).is_file(), "the issuer made no database")?;
    expect(seal.is_file() && !seal.starts_with(&state), "the seal key is not apart from the state")?;
    let said = format!(
        "The issuer serves the new trust domain {} at {}; its authorities are sealed with a key in another directory.",
        issuer.trust_domain, issuer.address
    );
    Ok((issuer, said))
}

/// Two agents.
pub(super) async fn register(
    issuer: &mut IssuerPart,
    helper: &mut HelperClient<Channel>,
) -> Result<((), String), Failure> {
    let researcher = issuer.register("researcher", NODE).await?;
    let intruder = issuer.register("intruder", NODE).await?;
    issuer.caught_up(helper).await?;
    let line = format!(
        "{researcher} and {intruder} are registered, each with an owner and the node it may run on, and told apart \
         by their sessions: without containment a fence, not a wall, as one uid can trace its own processes."
    );
    Ok(((), line))
}

/// Who the researcher is, and who it cannot be.
pub(super) async fn identities(place: &Place, issuer: &IssuerPart) -> Result<(Actors, String), Failure> {
    let mut actors = start(place).await?;
    let reserved = issuer.trust_domain.issuer().to_string();
    let order = Order::Identity { audience: "https://elsewhere.test".to_owned(), reserved: vec![reserved.clone()] };
    let report = actors.researcher.order(&order).await?;
    let id = format!("spiffe://{}/agent/researcher", issuer.trust_domain);
    expect(report.note("x509") == id && report.note("jwt") == id, "the researcher is somebody else")?;
    expect(report.note("x509 key") == "true", "the X.509-SVID came without its key")?;
    expect(
        report.note("jwt claims missing").is_empty(),
        &format!("the JWT-SVID lacks {}", report.note("jwt claims missing")),
    )?;
    let refused = report.note(&format!("reserved {reserved}"));
    expect(refused == "PermissionDenied", &format!("the reserved audience was answered with {refused}"))?;
    let life = |name: &str| span(Duration::from_secs(report.note(name).parse().unwrap_or_default()));
    let line = format!(
        "The researcher fetched its X.509-SVID (good for {}) and a JWT-SVID (good for {}), chains, profiles and \
         signatures checked; the issuer's own audience was refused to it.",
        life("x509 seconds"),
        life("jwt seconds")
    );
    Ok((actors, line))
}

/// Both agents, contained; or, where this host cannot, without, and why.
async fn start(place: &Place) -> Result<Actors, Failure> {
    let witness = Witness::default();
    let mut researcher = Agent::start(place, "researcher", Walls::Contained)?;
    let begun = researcher.order(&Order::Own).await;
    let Err(failure) = begun else {
        let intruder = Agent::start(place, "intruder", Walls::Contained)?;
        let loose = Ok(Agent::start(place, "researcher", Walls::None)?);
        return Ok(Actors { researcher, intruder, loose, witness });
    };
    let Some(why) = researcher.said() else { return Err(failure) };
    let researcher = Agent::start(place, "researcher", Walls::None)?;
    let intruder = Agent::start(place, "intruder", Walls::None)?;
    Ok(Actors { researcher, intruder, loose: Err(why), witness })
}

/// A tool, and two credentials for it.
pub(super) async fn bind(
    issuer: &mut IssuerPart,
    helper: &mut HelperClient<Channel>,
) -> Result<(Tool, String), Failure> {
    let tool = Tool::start(HOST).await?;
    let plain = BindingSpec {
        to: format!("http://{}", tool.plain),
        methods: vec!["GET".to_owned()],
        paths: vec![PATH.to_owned()],
        query: vec!["mode".to_owned()],
        slot: SlotSpec::Bearer,
        plain: Some(Plain::Loopback),
        address: None,
        ca: None,
        environment: None,
        requires: Vec::new(),
        placeholder_in_body: None,
        reveal: false,
        rotate: None,
    };
    let tls = BindingSpec {
        to: format!("https://{HOST}:{}", tool.tls.port()),
        slot: SlotSpec::Basic { username: "demo".to_owned() },
        plain: None,
        address: Some(tool.tls.to_string()),
        ca: Some(tool.ca_pem.clone()),
        ..plain.clone()
    };
    issuer.credential(helper, "tool-plain", &plain, &tool.plain_secret).await?;
    issuer.credential(helper, "tool-tls", &tls, &tool.tls_secret).await?;
    issuer.caught_up(helper).await?;
    let line = format!(
        "Two secrets are sealed on the node, bound to GET {PATH} of {} (bearer) and of {} (basic), and granted to \
         the researcher alone.",
        plain.to, tls.to
    );
    Ok((tool, line))
}
