//! The committed code under `src/generated` is what the `.proto` files say. `AVOUCH_REGENERATE=1 cargo test -p
//! avouch-wire --test generated` writes it anew; no protoc is needed.

use std::path::Path;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors = protox::compile(FILES, [root.join("proto")]).expect("the .proto files compile");
    let out = tempfile::tempdir().expect("a temporary directory");
    tonic_prost_build::configure()
        .out_dir(out.path())
        // Requests hold tokens and secrets: nothing generated may print itself.
        .skip_debug(SECRET)
        .compile_fds(descriptors)
        .expect("code for the .proto files");
    let committed = root.join("src/generated");
    for name in MODULES {
        let made = std::fs::read_to_string(out.path().join(name)).expect("a generated module");
        if std::env::var_os("AVOUCH_REGENERATE").is_some() {
            std::fs::write(committed.join(name), &made).expect("writing a module");
        }
        let kept = std::fs::read_to_string(committed.join(name)).unwrap_or_default();
        assert!(made == kept, "{name} is stale: run with AVOUCH_REGENERATE=1");
    }
}

const FILES: [&str; 4] = ["workload.proto", "issuer.proto", "admin.proto", "local.proto"];
const MODULES: [&str; 4] = ["_.rs", "avouch.issuer.v1.rs", "avouch.admin.v1.rs", "avouch.local.v1.rs"];
const SECRET: [&str; 9] = [
    "X509SVID",
    "JWTSVID",
    "ValidateJWTSVIDRequest",
    "avouch.issuer.v1.EnrolRequest",
    "avouch.issuer.v1.SignJwtReply",
    "avouch.admin.v1.CreateTokenReply",
    "avouch.local.v1.PutSecretRequest",
    "avouch.local.v1.SealBackupRequest",
    "avouch.local.v1.RevealedPart",
];
