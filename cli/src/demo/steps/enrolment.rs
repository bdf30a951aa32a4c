//! Step 2: a helper joins with a token that is used once.

use super::{NODE, expect};
use crate::demo::child::HelperProcess;
use crate::demo::place::Place;
use crate::demo::world::{IssuerPart, helper_client};
use crate::failure::Failure;
use avouch_wire::local::helper_client::HelperClient;
use avouch_wire::tonic::transport::Channel;
use std::path::{Path, PathBuf};

/// Starts the helper, and a second one that must fail.
pub(super) async fn enrol(
    place: &Place,
    issuer: &mut IssuerPart,
) -> Result<((HelperProcess, HelperClient<Channel>), String), Failure> {
    let token = issuer.token(NODE).await?;
    crate::files::create_private(&place.file("join.token"), format!("{token}\n").as_bytes())?;
    let config = helper_config(place, issuer, "helper", place.dir())?;
    let mut process = HelperProcess::start(place, &config, "helper.log")?;
    let node = issuer.node_connected(&mut process).await?;
    let again = helper_config(place, issuer, "second", &place.file("second"))?;
    let mut second = HelperProcess::start(place, &again, "second.log")?;
    let status = second.wait().await?;
    expect(!status.success(), "a second helper enrolled with the same token")?;
    let said = std::fs::read_to_string(place.file("second.log")).unwrap_or_default();
    expect(said.contains("token"), &format!("the second helper failed for another reason: {said}"))?;
    let line = format!(
        "A helper, process of its own, enrolled as {node} with a one-time token that pins the issuer; \
         the token's second use was refused."
    );
    Ok(((process, helper_client(place).await?), line))
}

/// Settings of a helper below a directory.
fn helper_config(place: &Place, issuer: &IssuerPart, name: &str, dir: &Path) -> Result<PathBuf, Failure> {
    let paths = avouch_config::Paths::below(dir);
    let settings = [
        ("trust_domain", issuer.trust_domain.to_string()),
        ("issuer", issuer.address.to_string()),
        ("state_dir", paths.helper_state().display().to_string()),
        ("runtime_dir", paths.helper_runtime().display().to_string()),
        ("seal_key_file", paths.helper_seal_key().display().to_string()),
        ("join_token_file", place.file("join.token").display().to_string()),
    ];
    let file = place.file(&format!("{name}.toml"));
    crate::files::create_private(&file, toml(&settings).as_bytes())?;
    Ok(file)
}

/// Settings as TOML, one line each; the values are quoted as JSON, which TOML's basic strings read the same.
fn toml(settings: &[(&str, String)]) -> String {
    settings.iter().map(|(key, value)| format!("{key} = {}\n", serde_json::Value::from(value.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_are_quoted_so_that_the_settings_read_them_back() {
        let paths = avouch_config::Paths::below(Path::new("/a \"b\\c"));
        let settings = [
            ("trust_domain", "demo.test".to_owned()),
            ("issuer", "127.0.0.1:1".to_owned()),
            ("state_dir", paths.helper_state().display().to_string()),
        ];
        let read =
            avouch_config::HelperConfig::parse(&toml(&settings), Path::new("x"), &avouch_config::Paths::system());
        assert_eq!(read.unwrap().state_dir, paths.helper_state());
    }
}
