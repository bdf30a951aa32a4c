//! Makes the sources that the settings name.

mod guard;

pub(crate) use guard::guard;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use avouch_config::source::{
    AwsLogin, AwsSource, BinaryForm, ExecSource, OpenBaoLogin, OpenBaoSource, SourceKind, SourceSettings,
};
use avouch_config::{HelperConfig, StartError};
use avouch_sources::aws::{Binary, Login};
use avouch_sources::{
    AwsSettings, Command, CommandSource, FileSource, KubernetesSettings, KubernetesSource, OpenBao, Source, Unusable,
    openbao,
};
use avouch_words::Clock;

use crate::intercept::SystemRoots;

/// The longest CA file, in bytes.
const CA_MAX: u64 = 1024 * 1024;

/// All of them, in the order of the settings. `credentials` is `$CREDENTIALS_DIRECTORY`, if the helper was given one.
pub(crate) fn build(
    config: &HelperConfig,
    credentials: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<Vec<Arc<dyn Source>>, StartError> {
    config.sources.iter().map(|settings| source(settings, credentials, clock)).collect()
}

/// The files with values and logins that the settings name by absolute paths.
pub(crate) fn files(config: &HelperConfig) -> Vec<PathBuf> {
    let path = |settings: &SourceSettings| match &settings.kind {
        SourceKind::File(file) => Some(PathBuf::from(&file.path)),
        SourceKind::OpenBao(OpenBaoSource {
            login: OpenBaoLogin::AppRole { secret_id_file: path, .. } | OpenBaoLogin::TokenFile(path),
            ..
        }) => Some(PathBuf::from(path)),
        SourceKind::Aws(AwsSource { login: AwsLogin::File(path), .. }) => Some(PathBuf::from(path)),
        SourceKind::Kubernetes(cluster) => Some(cluster.token_file.clone()),
        SourceKind::OpenBao(_) | SourceKind::Aws(_) | SourceKind::Exec(_) => None,
    };
    config.sources.iter().filter_map(path).filter(|path| path.is_absolute()).collect()
}

fn source(
    settings: &SourceSettings,
    credentials: Option<&Path>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn Source>, StartError> {
    let name = settings.name.clone();
    let built: Result<Arc<dyn Source>, String> = match &settings.kind {
        SourceKind::OpenBao(bao) => {
            let system = SystemRoots::load().store;
            let source = OpenBao::new(name, openbao_settings(bao), &system, credentials, Arc::clone(clock));
            source.map(|source| Arc::new(source) as _).map_err(|wrong| wrong.to_string())
        }
        SourceKind::Aws(aws) => aws_settings(aws).and_then(|aws| {
            let source = avouch_sources::AwsSource::new(name, aws, credentials, Arc::clone(clock));
            source.map(|source| Arc::new(source) as _).map_err(|wrong| wrong.to_string())
        }),
        SourceKind::Kubernetes(cluster) => {
            let cluster = KubernetesSettings {
                server: cluster.server.clone(),
                ca_file: cluster.ca_file.clone(),
                token_file: cluster.token_file.clone(),
            };
            let source = KubernetesSource::new(name, cluster, Arc::clone(clock));
            source.map(|source| Arc::new(source) as _).map_err(|wrong| wrong.to_string())
        }
        SourceKind::Exec(exec) => Ok(Arc::new(CommandSource::new(name, command(exec)))),
        SourceKind::File(file) => FileSource::new(name, &file.path, credentials)
            .map(|source| Arc::new(source) as _)
            .ok_or_else(|| Unusable::Path.to_string()),
    };
    built.map_err(|reason| StartError::Source { name: settings.name.clone(), reason })
}

fn openbao_settings(bao: &OpenBaoSource) -> openbao::Settings {
    let login = match bao.login.clone() {
        OpenBaoLogin::Jwt { mount, role, revoke_role, audience } => {
            openbao::Login::Jwt { mount, role, revoke_role, audience }
        }
        OpenBaoLogin::Cert { mount, role, revoke_role } => openbao::Login::Cert { mount, role, revoke_role },
        OpenBaoLogin::AppRole { mount, role_id, secret_id_file } => {
            openbao::Login::AppRole { mount, role_id, secret_id_file }
        }
        OpenBaoLogin::TokenFile(token_file) => openbao::Login::TokenFile { token_file },
    };
    let (address, namespace) = (bao.address.clone(), bao.namespace.clone());
    openbao::Settings { address, ca_file: bao.ca_file.clone(), namespace, login }
}

fn aws_settings(aws: &AwsSource) -> Result<AwsSettings, String> {
    let ca_pem = aws.ca_file.as_deref().map(read_ca).transpose()?;
    let login = match aws.login.clone() {
        AwsLogin::WebIdentity { role_arn, audience, sts_endpoint } => {
            Login::WebIdentity { role_arn, audience, sts_endpoint }
        }
        AwsLogin::Profile(profile) => Login::Profile(profile),
        AwsLogin::Instance { endpoint } => Login::Instance { endpoint },
        AwsLogin::File(path) => Login::File(path),
    };
    let binary = match aws.binary {
        BinaryForm::Text => Binary::Text,
        BinaryForm::Base64 => Binary::Base64,
    };
    Ok(AwsSettings { region: aws.region.clone(), endpoint: aws.endpoint.clone(), ca_pem, login, binary })
}

fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;

    let mut pem = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(CA_MAX + 1).read_to_end(&mut pem));
    match read {
        Ok(length) if length as u64 <= CA_MAX => Ok(pem),
        Ok(_) => Err(format!("{} is longer than {CA_MAX} bytes", path.display())),
        Err(error) => Err(format!("{} cannot be read: {}", path.display(), error.kind())),
    }
}

/// A variable that the helper itself was not given is not given on.
fn command(exec: &ExecSource) -> Command {
    let given = exec.environment.iter().filter_map(|variable| {
        let value = variable.value.clone().or_else(|| std::env::var(&variable.name).ok())?;
        Some((variable.name.clone(), value))
    });
    Command {
        program: exec.program.clone(),
        arguments: exec.arguments.clone(),
        environment: given.collect(),
        deadline: exec.deadline,
    }
}
