//! The ten steps, one file each or, where they are short, in `setup`.

mod audit;
mod calls;
mod enrolment;
mod lock;
mod refusals;
mod setup;
mod walls;

use super::child::Agent;
use super::order::Order;
use super::place::Place;
use super::witness::Witness;
use super::world::Tool;
use crate::failure::{Exit, Failure};
use crate::output::data;

/// Runs all ten, and ends everything that was started. False if this host could not contain anybody.
pub async fn run(place: &Place) -> Result<bool, Failure> {
    let mut issuer = step(1, "issuer", setup::start_issuer(place)).await?;
    let (helper_process, mut helper) = step(2, "enrolment", enrolment::enrol(place, &mut issuer)).await?;
    step(3, "agents", setup::register(&mut issuer, &mut helper)).await?;
    let mut actors = step(4, "identity", setup::identities(place, &issuer)).await?;
    let tool = step(5, "credentials", setup::bind(&mut issuer, &mut helper)).await?;
    step(6, "calls", calls::calls(&mut actors, &tool)).await?;
    step(7, "refusals", refusals::refusals(&mut actors, &tool)).await?;
    let lock = step(8, "lock", lock::lock(&mut issuer, &mut actors, &tool)).await?;
    let target = walls::target(place, &helper_process, lock, &tool);
    let contained = step(9, "walls", walls::walls(&mut actors, &target)).await?;
    actors.end().await?;
    step(10, "audit", audit::audit(place, &mut issuer, &mut helper, &tool)).await?;
    drop(helper);
    helper_process.stop().await?;
    issuer.stop().await?;
    tool.stop();
    Ok(contained)
}

/// The two agents, and what they have seen.
struct Actors {
    researcher: Agent,
    intruder: Agent,
    /// The researcher again, without containment; or why nobody is contained here.
    loose: Result<Agent, String>,
    witness: Witness,
}

impl Actors {
    async fn end(self) -> Result<(), Failure> {
        self.researcher.end().await?;
        self.intruder.end().await?;
        match self.loose {
            Ok(loose) => loose.end().await,
            Err(_) => Ok(()),
        }
    }
}

/// Does a step and says what it proved; a failure names the step.
async fn step<T>(
    number: u8,
    name: &str,
    doing: impl Future<Output = Result<(T, String), Failure>>,
) -> Result<T, Failure> {
    let (value, proved) = doing
        .await
        .map_err(|failure| Failure::with_code(failure.code(), format!("step {number} ({name}) failed: {failure}")))?;
    data(format!("{number}. {proved}\n"))?;
    Ok(value)
}

fn get(url: &str) -> Order {
    Order::Call { method: "GET".to_owned(), url: url.to_owned() }
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(Exit::Failure, otherwise)) }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("   {line}\n")).collect::<String>().trim_end().to_owned()
}

impl Tool {
    fn http(&self, rest: &str) -> String {
        format!("http://{}{PATH}{rest}", self.plain)
    }

    fn https(&self, rest: &str) -> String {
        format!("https://{HOST}:{}{PATH}{rest}", self.tls.port())
    }
}

const NODE: &str = "demo-node";
const HOST: &str = "tools.demo.test";
const PATH: &str = "/v1/report";
