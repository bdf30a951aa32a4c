//! What is wrong with a binding, each with what to do.

use super::environment::BadEnvironment;
use super::pattern::BadPattern;
use super::slot::BadSlot;
use crate::address::AddressRefused;
use crate::origin::BadOrigin;
use crate::request::BadRequest;

/// Why a binding is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBinding {
    /// Above [`super::MAX_BINDING`].
    #[error("the binding is longer than 131072 bytes")]
    TooLong,
    /// No JSON, an unknown field, or a field of another type.
    #[error("the binding cannot be read: {0}")]
    Json(String),
    /// It could never match a request, or must never.
    #[error("{}", join(.0))]
    Faults(Vec<BindingFault>),
}

/// One thing that is wrong with a binding: it could never match a request, or it must never.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BindingFault {
    /// In `to`.
    #[error("to: {0}; write it as https://api.example.test:443")]
    To(BadOrigin),
    /// `http` without `plain`.
    #[error(
        "to: plain HTTP carries the credential readable; use https, or add plain: loopback if the tool is on this machine"
    )]
    PlainMissing,
    /// `https` with `plain`.
    #[error("plain: it permits plain HTTP, but 'to' is https; remove it")]
    PlainWithTls,
    /// `plain: loopback` and another host.
    #[error("to: plain: loopback reaches only this machine, and {0} is elsewhere; use https, or a loopback address")]
    PlainElsewhere(String),
    /// `ca` with `http`.
    #[error("ca: there is no TLS to verify on plain HTTP; remove it")]
    CaWithPlain,
    /// No methods.
    #[error("methods: none is listed, so no request could match; list them, as GET")]
    NoMethods,
    /// Above [`super::MAX_METHODS`].
    #[error("methods: more than 16 are listed; list those the tool needs")]
    TooManyMethods,
    /// In `methods`.
    #[error("methods: {method}: {fault}; write it as GET")]
    Method {
        /// As written.
        method: String,
        /// What is wrong with it.
        fault: BadRequest,
    },
    /// No paths.
    #[error("paths: none is listed, so no request could match; list them, as /repos/**")]
    NoPaths,
    /// Above [`super::MAX_PATHS`].
    #[error("paths: more than 64 are listed; use '*' or '**' for what varies")]
    TooManyPaths,
    /// In `paths`.
    #[error("paths: {path}: {fault}; write it as the tool is called, as /repos/*/issues or /repos/**")]
    Path {
        /// As written.
        path: String,
        /// What is wrong with it.
        fault: BadPattern,
    },
    /// In `query`.
    #[error("query: {key}: {fault}; write each key as it stands in the URL, without '?', '=' and value")]
    QueryKey {
        /// As written.
        key: String,
        /// What is wrong with it.
        fault: BadRequest,
    },
    /// Above [`super::MAX_QUERY_KEYS`] or [`super::MAX_QUERY_KEY`].
    #[error("query: at most 64 keys of at most 128 bytes can be listed")]
    QueryLimits,
    /// In `slot`.
    #[error("slot: {0}")]
    Slot(#[from] BadSlot),
    /// No address in `address`.
    #[error(
        "address: {0} is no IP address with or without a port; write it as 10.0.0.7, 10.0.0.7:8443 or [fd00::7]:8443"
    )]
    Address(String),
    /// In `address`, or in `to` where it is one.
    #[error("{field}: {ip}: {fault}; {}", advice(.fault))]
    AddressRefused {
        /// `to` or `address`.
        field: &'static str,
        /// The address.
        ip: std::net::IpAddr,
        /// Why it is never dialled.
        fault: AddressRefused,
    },
    /// `address` beside a `to` that is another address.
    #[error("address: 'to' is an IP address already, and another one; make the two the same or bind a name")]
    AddressDiffers,
    /// In `ca`.
    #[error(
        "ca: it holds no PEM certificate, one that cannot be read, more than 16, or more than 65536 bytes; give the certificates of the tool's authority"
    )]
    Ca,
    /// A private key pasted with the certificate.
    #[error("ca: it holds a private key; give only the certificate, and take that key for known to others")]
    CaPrivateKey,
    /// In `environment`.
    #[error("environment: {0}")]
    Environment(#[from] BadEnvironment),
    /// In `requires`.
    #[error("requires: {0} is no fact about a session; write it as session:contained:work")]
    Requires(String),
    /// Above [`super::MAX_REQUIRES`].
    #[error("requires: more than 16 facts are listed; list those that matter")]
    TooManyRequires,
    /// In `rotate`.
    #[error("rotate: say after how many seconds or uses, at least 1, or leave it out")]
    Rotate,
}

fn advice(fault: &AddressRefused) -> &'static str {
    match fault {
        AddressRefused::Metadata => "a machine's metadata service is never a tool; bind the tool's own address",
        AddressRefused::Never(_) => "bind an address that names one machine",
        AddressRefused::Private(_) => "if it is meant, permit it by naming it in address",
        AddressRefused::NotLoopback => "use https, or a loopback address",
    }
}

fn join(faults: &[BindingFault]) -> String {
    let lines: Vec<_> = faults.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
