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
use crate::output::Output;
use serde_json::json;

/// Runs all ten, and ends everything that was started. False if this host could not contain anybody.
pub async fn run(place: &Place, output: Output) -> Result<bool, Failure> {
    let steps = Steps(output);
    let mut issuer = steps.step(1, "issuer", setup::start_issuer(place)).await?;
    let (helper_process, mut helper) = steps.step(2, "enrolment", enrolment::enrol(place, &mut issuer)).await?;
    steps.step(3, "agents", setup::register(&mut issuer, &mut helper)).await?;
    let mut actors = steps.step(4, "identity", setup::identities(place, &issuer)).await?;
    let tool = steps.step(5, "credentials", setup::bind(&mut issuer, &mut helper)).await?;
    steps.step(6, "calls", calls::calls(&mut actors, &tool)).await?;
    steps.step(7, "refusals", refusals::refusals(&mut actors, &tool)).await?;
    let lock = steps.step(8, "lock", lock::lock(&mut issuer, &mut actors, &tool)).await?;
    let target = walls::target(place, &helper_process, lock, &tool);
    let contained = steps.step(9, "walls", walls::walls(&mut actors, &target)).await?;
    actors.end().await?;
    steps.step(10, "audit", audit::audit(place, &mut issuer, &mut helper, &tool)).await?;
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

/// Where each step is told.
struct Steps(Output);

impl Steps {
    /// Does a step and says what it proved; a failure names the step.
    async fn step<T>(
        &self,
        number: u8,
        name: &str,
        doing: impl Future<Output = Result<(T, String), Failure>>,
    ) -> Result<T, Failure> {
        let (value, proved) = doing.await.map_err(|failure| {
            Failure::with_code(failure.code(), format!("step {number} ({name}) failed: {failure}"))
        })?;
        let json = || json!({"step": number, "name": name, "proved": proved});
        self.0.line(|| format!("{number}. {proved}\n"), json)?;
        Ok(value)
    }
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
