//! The authorities with their keys at hand. They are made from one reading of the store and never change; the next
//! reading makes the next.

use avouch_audit::checkpoint::{Checkpoint, origin};
use avouch_audit::note::VerifierKey;
use avouch_audit::tree::Tree;
use avouch_core::authority::rotation::active;
use avouch_core::authority::{Authority, AuthorityError, AuthorityState, JwtSigner, X509Signer};
use avouch_core::keys::{KeyError, KeyManager, Purpose, Signer};
use avouch_words::{Bundle, Millis, TrustDomain};
use ring::rand::SecureRandom;
use rustls_pki_types::CertificateDer;
use std::sync::Arc;

/// Everything that signs, and what verifies it.
#[derive(Debug)]
pub(crate) struct Signers {
    x509: Vec<(AuthorityState, Arc<X509Signer>)>,
    jwt: Vec<(AuthorityState, Arc<JwtSigner>)>,
    rsa: Arc<[Imported]>,
    log: Option<LogSigner>,
    bundle: Bundle,
}

/// How tokens are signed, as the settings say: in whose name, and with which keys that were brought.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    /// The `iss` of every token.
    pub(crate) issuer: String,
    /// Keys for audiences that want RS256.
    pub(crate) rsa: Arc<[Imported]>,
}

impl Tokens {
    /// Whether tokens for this audience are RS256.
    pub(crate) fn is_rs256(&self, audience: &str) -> bool {
        self.rsa.iter().any(|key| key.audiences.iter().any(|one| one == audience))
    }
}

/// A key that was brought from elsewhere, and whom it is for.
#[derive(Clone, Debug)]
pub(crate) struct Imported {
    pub(crate) audiences: Vec<String>,
    pub(crate) signer: Arc<JwtSigner>,
}

/// What signs a token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenSigner<'a> {
    pub(crate) signer: &'a JwtSigner,
    /// It is an authority, which stays in the bundle until its last token has ended. A key that was brought stays until
    /// somebody takes it away.
    pub(crate) rotates: bool,
}

/// The key of the audit log.
#[derive(Clone, Debug)]
pub(crate) struct LogSigner {
    key: VerifierKey,
    signer: Arc<dyn Signer>,
}

impl Signers {
    /// Opens the keys of all authorities. One that does not open or does not fit fails the whole: an issuer that has
    /// lost a key must not go on as if it never had it.
    pub(crate) fn open(
        trust_domain: &TrustDomain,
        keys: &dyn KeyManager,
        tokens: &Tokens,
        authorities: &[Authority],
        now: Millis,
        rng: &dyn SecureRandom,
    ) -> Result<Self, AuthorityError> {
        let (mut x509, mut jwt) = (Vec::new(), Vec::new());
        for authority in authorities {
            let signer = || keys.open(authority.purpose, &authority.reference, rng);
            match authority.purpose {
                Purpose::X509Authority => {
                    let certificate = CertificateDer::from(authority.public.clone());
                    let opened = X509Signer::open(trust_domain, authority.id, certificate, signer()?)?;
                    x509.push((authority.state, Arc::new(opened)));
                }
                Purpose::JwtAuthority => {
                    let opened = JwtSigner::open(&tokens.issuer, authority.id, authority.not_after, signer()?)?;
                    jwt.push((authority.state, Arc::new(opened)));
                }
                Purpose::Log => {}
            }
        }
        let log = match active(authorities, Purpose::Log, now) {
            Ok(authority) => {
                let signer = keys.open(Purpose::Log, &authority.reference, rng)?;
                let fits = <[u8; 32]>::try_from(signer.public_key()).ok().filter(|key| key[..] == authority.public[..]);
                let public = fits.ok_or(AuthorityError::Mismatch(authority.id))?;
                let key = VerifierKey::new(&origin(trust_domain), public);
                Some(LogSigner { key: key.map_err(|_| AuthorityError::Mismatch(authority.id))?, signer })
            }
            Err(_) => None,
        };
        // Prepared ones too: what a verifier learns here has to be known to it before the first signature (BND-13).
        let bundle = Bundle {
            trust_domain: trust_domain.clone(),
            x509: x509.iter().map(|(_, signer)| signer.certificate().clone()).collect(),
            jwt: jwt
                .iter()
                .map(|(_, signer)| signer)
                .chain(tokens.rsa.iter().map(|key| &key.signer))
                .map(|signer| signer.public())
                .collect(),
        };
        Ok(Self { x509, jwt, rsa: Arc::clone(&tokens.rsa), log, bundle })
    }

    /// What signs X.509-SVIDs now.
    pub(crate) fn x509(&self, now: Millis) -> Result<&Arc<X509Signer>, AuthorityError> {
        active_of(&self.x509).filter(|signer| now < signer.not_after()).ok_or(AuthorityError::NoneActive)
    }

    /// What signs a JWT-SVID for these audiences now: a key that was brought for every one of them, else the authority.
    /// None but its own audiences ever see a signature of a key that was brought.
    pub(crate) fn jwt_for(&self, audience: &[String], now: Millis) -> Result<TokenSigner<'_>, AuthorityError> {
        let brought = |key: &&Imported| !audience.is_empty() && audience.iter().all(|one| key.audiences.contains(one));
        match self.rsa.iter().find(brought) {
            Some(key) => Ok(TokenSigner { signer: &key.signer, rotates: false }),
            None => self.jwt(now).map(|signer| TokenSigner { signer, rotates: true }),
        }
    }

    /// The authority that signs JWT-SVIDs now.
    pub(crate) fn jwt(&self, now: Millis) -> Result<&Arc<JwtSigner>, AuthorityError> {
        active_of(&self.jwt).filter(|signer| now < signer.not_after()).ok_or(AuthorityError::NoneActive)
    }

    /// What signs the log's heads.
    pub(crate) fn log(&self) -> Result<&LogSigner, AuthorityError> {
        self.log.as_ref().ok_or(AuthorityError::NoneActive)
    }

    /// What SVIDs of this trust domain are verified with.
    pub(crate) fn bundle(&self) -> &Bundle {
        &self.bundle
    }
}

impl LogSigner {
    /// The key that the log's heads are verified with.
    pub(crate) fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The signed head of this tree.
    pub(crate) fn sign(&self, tree: &Tree, rng: &dyn SecureRandom) -> Result<String, KeyError> {
        let head = Checkpoint { origin: self.key.name().to_owned(), size: tree.size(), root: tree.root() };
        head.sign(&self.key, |text| {
            let signature = self.signer.sign(text, rng)?;
            <[u8; 64]>::try_from(signature).map_err(|_| KeyError::Broken)
        })
    }
}

fn active_of<T>(signers: &[(AuthorityState, Arc<T>)]) -> Option<&Arc<T>> {
    signers.iter().find(|(state, _)| *state == AuthorityState::Active).map(|(_, signer)| signer)
}
