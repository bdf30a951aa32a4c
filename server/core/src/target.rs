//! Vendors that an operator let an agent go to with identity tokens of its own.

use crate::issue::ReservedAudiences;
use crate::refusal::Invalid;
use avouch_words::target::{Target, Vendor};
use avouch_words::{Millis, Name, TrustDomain};
use std::collections::BTreeMap;

/// An agent may go to a vendor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenTarget {
    /// Who.
    pub agent: Name,
    /// Where to, and with what.
    pub target: Target,
    /// Since when.
    pub created: Millis,
}

/// What an operator writes.
#[derive(Clone, Debug, Default)]
pub struct Opening<'a> {
    /// The agent.
    pub agent: &'a str,
    /// The vendor.
    pub vendor: &'a str,
    /// Whom the tokens are for; empty for the vendor's usual audience.
    pub audience: &'a str,
    /// What the vendor's SDK is told.
    pub settings: BTreeMap<String, String>,
}

impl Opening<'_> {
    /// Checks it. avouch's own audiences are opened to nobody; a source's may be, and then the subject keeps the two
    /// apart (invariant 10).
    pub fn check(
        self,
        trust_domain: &TrustDomain,
        reserved: &ReservedAudiences,
        now: Millis,
    ) -> Result<OpenTarget, Invalid> {
        let agent = Name::parse(self.agent).map_err(|fault| Invalid::new("agent", fault))?;
        let vendor = Vendor::parse(self.vendor).ok_or_else(|| Invalid::new("vendor", "no vendor that is known"))?;
        let audience = Some(self.audience).filter(|audience| !audience.is_empty());
        let target = Target::new(vendor, audience, self.settings).map_err(|fault| Invalid::new("target", fault))?;
        if reserved.contains(target.audience()) && !reserved.is_a_source(target.audience()) {
            return Err(Invalid::new("audience", "avouch's own, which no agent may have a token for"));
        }
        let (length, most) = (trust_domain.agent(&agent).as_str().len(), vendor.longest_subject());
        if length > most {
            let fault = format!("its ID has {length} bytes, and {} takes no subject over {most}", vendor.as_str());
            return Err(Invalid::new("agent", fault));
        }
        Ok(OpenTarget { agent, target, created: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(trust_domain: &str, vendor: &str, audience: &str) -> Result<OpenTarget, Invalid> {
        let trust_domain = TrustDomain::parse(trust_domain).unwrap();
        let reserved = ReservedAudiences::new(&trust_domain, ["sts.amazonaws.com".to_owned()]);
        let pool = "projects/1/locations/global/workloadIdentityPools/p/providers/p";
        let settings: &[(&str, &str)] = match vendor {
            "aws" => &[("role_arn", "arn:aws:iam::123456789012:role/a")],
            _ => &[("provider", pool)],
        };
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Opening { agent: "researcher", vendor, audience, settings }.check(&trust_domain, &reserved, Millis(1))
    }

    #[test]
    fn a_sources_audience_may_be_opened_and_avouchs_own_may_not() {
        assert_eq!(open("example.test", "aws", "").unwrap().target.audience(), "sts.amazonaws.com");
        assert!(open("example.test", "aws", "https://other.test").is_ok());
        for own in ["avouch", "spiffe://example.test", "spiffe://example.test/issuer"] {
            assert!(open("example.test", "aws", own).is_err(), "{own}");
        }
        assert!(open("example.test", "sap", "").is_err());
    }

    #[test]
    fn an_id_that_a_vendor_would_cut_is_refused() {
        let long = "a".repeat(120);
        assert!(open(&long, "aws", "").is_ok());
        assert!(open(&long, "gcp", "").unwrap_err().fault.contains("over 127"));
        let longer = "a".repeat(233);
        assert!(open(&longer, "aws", "").unwrap_err().fault.contains("over 255"));
    }
}
