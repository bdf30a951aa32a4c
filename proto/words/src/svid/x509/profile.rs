//! The parts of a certificate that the SPIFFE profile speaks of, each read once.

use crate::Millis;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

/// What the certificate says of itself.
pub(super) struct Profile<'a> {
    pub serial: &'a [u8],
    pub not_before: Millis,
    pub not_after: Millis,
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    pub public_key: &'a [u8],
    pub uris: Vec<&'a str>,
    pub names_critical: bool,
    pub basic: Option<Basic<'a>>,
    pub key_usage: Option<Extension<KeyUsage>>,
    pub extended_usage: Option<Extended>,
    pub subject_key: Option<&'a [u8]>,
    pub authority_key: Option<&'a [u8]>,
    pub name_constraints: bool,
    pub unknown_critical: bool,
}

/// An extension and whether it is critical.
pub(super) struct Extension<T> {
    pub value: T,
    pub critical: bool,
}

/// Basic constraints, and their bytes.
pub(super) struct Basic<'a> {
    pub ca: bool,
    pub path_length: Option<u32>,
    pub der: &'a [u8],
}

/// Extended key usage.
pub(super) struct Extended {
    pub server_auth: bool,
    pub client_auth: bool,
}

impl<'a> Profile<'a> {
    /// Reads DER. None if it is not exactly one version 3 certificate, or if an extension we care for is unreadable
    /// or there twice: then nothing that it says can be believed.
    pub fn read(der: &'a [u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() || certificate.version() != X509Version::V3 {
            return None;
        }
        let tbs = certificate.tbs_certificate;
        let mut profile = Self {
            serial: tbs.raw_serial(),
            not_before: Millis(tbs.validity.not_before.timestamp().checked_mul(1000)?),
            not_after: Millis(tbs.validity.not_after.timestamp().checked_mul(1000)?),
            issuer: tbs.issuer.as_raw(),
            subject: tbs.subject.as_raw(),
            public_key: tbs.subject_pki.raw,
            uris: Vec::new(),
            names_critical: false,
            basic: None,
            key_usage: None,
            extended_usage: None,
            subject_key: None,
            authority_key: None,
            name_constraints: false,
            unknown_critical: false,
        };
        let mut seen = Vec::with_capacity(tbs.extensions().len());
        for extension in tbs.extensions() {
            if seen.contains(&&extension.oid) {
                return None;
            }
            seen.push(&extension.oid);
            let critical = extension.critical;
            match extension.parsed_extension() {
                ParsedExtension::ParseError { .. } => return None,
                ParsedExtension::SubjectAlternativeName(names) => {
                    profile.names_critical = critical;
                    for name in &names.general_names {
                        match name {
                            GeneralName::URI(uri) => profile.uris.push(uri),
                            // One that cannot be read may be a URI to somebody else.
                            GeneralName::Invalid(..) => return None,
                            _ => {}
                        }
                    }
                }
                ParsedExtension::BasicConstraints(basic) => {
                    profile.basic =
                        Some(Basic { ca: basic.ca, path_length: basic.path_len_constraint, der: extension.value });
                }
                ParsedExtension::KeyUsage(usage) => {
                    profile.key_usage = Some(Extension { value: *usage, critical });
                }
                ParsedExtension::ExtendedKeyUsage(usage) => {
                    profile.extended_usage =
                        Some(Extended { server_auth: usage.server_auth, client_auth: usage.client_auth });
                }
                ParsedExtension::SubjectKeyIdentifier(id) => profile.subject_key = Some(id.0),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    profile.authority_key = id.key_identifier.as_ref().map(|id| id.0);
                }
                ParsedExtension::NameConstraints(_) => profile.name_constraints = true,
                _ => profile.unknown_critical |= critical,
            }
        }
        Some(profile)
    }

    pub fn is_ca(&self) -> bool {
        self.basic.as_ref().is_some_and(|basic| basic.ca)
    }

    pub fn path_length(&self) -> Option<u32> {
        self.basic.as_ref().and_then(|basic| basic.path_length)
    }

    /// X509-20, X509-21.
    pub fn may_sign_certificates(&self) -> bool {
        self.is_ca() && self.key_usage.as_ref().is_some_and(|usage| usage.value.key_cert_sign())
    }
}
