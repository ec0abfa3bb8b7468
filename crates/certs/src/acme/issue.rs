//! One order, from its beginning to the certificate (RFC 8555, section 7.4).

use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier, NewOrder, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName};

use super::challenges::{Challenges, Showing};
use super::config::Authority;
use crate::certificate::{Certificate, Refused};
use crate::files::FileError;
use crate::own;

/// How it is asked whether an order has come further.
const POLLING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(Duration::from_secs(90));

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The authority says no, or cannot be reached.
    #[error("{0}")]
    Authority(#[from] Error),
    /// There is none to take back.
    #[error("no authority gave this node a certificate for {0}")]
    NotIssued(String),
    /// It did not come to an end in time.
    #[error("the order was not done in time")]
    Late,
    /// The authority wants to see what cannot be shown here.
    #[error("the authority offers neither http-01 nor tls-alpn-01")]
    NoChallenge,
    /// The authority did not find what it looked for.
    #[error("the authority does not see that {0} leads here: {1}")]
    NotSeen(String, String),
    /// What it issued is not usable.
    #[error("what was issued: {0}")]
    Refused(#[from] Refused),
    /// A file of ours.
    #[error(transparent)]
    File(#[from] FileError),
    /// An account's file.
    #[error("an account's file: {0}")]
    Account(#[from] serde_json::Error),
    /// The key of an account that was made elsewhere.
    #[error("key_file: the key is not in base64url")]
    ExternalKey,
    /// Making a key or a certificate.
    #[error("a key or certificate cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// TLS.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// What is asked for.
pub(super) struct Order<'a> {
    pub(super) name: &'a str,
    pub(super) authority: &'a Authority,
    /// What it is to follow.
    pub(super) replaces: Option<&'a Certificate>,
    pub(super) challenges: &'a Arc<Challenges>,
    /// Whether the name is to be seen over HTTP rather than TLS, if there is a choice.
    pub(super) over_http: bool,
}

impl Order<'_> {
    /// Goes through with it; the key, which never leaves the node, and the chain, as PEM.
    pub(super) async fn issue(&self, account: &Account) -> Result<String, AcmeError> {
        let mut order = self.begin(account).await?;
        // Shown until the order is ready.
        let shown = self.authorize(&mut order).await?;
        if order.poll_ready(&POLLING).await? != OrderStatus::Ready {
            return Err(self.not_seen(&mut order).await);
        }
        drop(shown);
        let key = own::new_key()?;
        let mut params = CertificateParams::new(vec![self.name.to_owned()])?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&POLLING).await?;
        Ok(key.serialize_pem() + &chain)
    }

    /// Places the order: as what follows the last certificate, so that the authority counts it as a renewal (RFC 9773, section 5), or
    /// as a new one if it will not hear of that one.
    async fn begin(&self, account: &Account) -> Result<instant_acme::Order, AcmeError> {
        let identifiers = [Identifier::Dns(self.name.to_owned())];
        let plain = || {
            let order = NewOrder::new(&identifiers);
            if self.authority.profile.is_empty() { order } else { order.profile(&self.authority.profile) }
        };
        let replaces = self.replaces.and_then(Certificate::der);
        if let Some(id) = replaces.and_then(|der| CertificateIdentifier::try_from(der).ok())
            && let Ok(order) = account.new_order(&plain().replaces(id)).await
        {
            return Ok(order);
        }
        Ok(account.new_order(&plain()).await?)
    }

    async fn authorize(&self, order: &mut instant_acme::Order) -> Result<Vec<Showing>, AcmeError> {
        let mut shown = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let offers = |kind: &ChallengeType| authorization.challenges.iter().any(|offered| offered.r#type == *kind);
            let mut kinds = [ChallengeType::TlsAlpn01, ChallengeType::Http01];
            kinds.rotate_left(self.over_http.into());
            let kind = kinds.into_iter().find(offers).ok_or(AcmeError::NoChallenge)?;
            let alpn = kind == ChallengeType::TlsAlpn01;
            let mut challenge = authorization.challenge(kind).ok_or(AcmeError::NoChallenge)?;
            let answer = challenge.key_authorization();
            shown.push(if alpn {
                self.challenges.show_certificate(self.name, answer.digest().as_ref())?
            } else {
                self.challenges.show_file(&challenge.token, answer.as_str())
            });
            challenge.set_ready().await?;
        }
        Ok(shown)
    }

    /// What the authority says of a name that it did not find here.
    async fn not_seen(&self, order: &mut instant_acme::Order) -> AcmeError {
        let mut why = String::new();
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            if let Ok(state) = authorization.refresh().await {
                let said = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
                why.extend(said.filter_map(|problem| problem.detail.as_deref()));
            }
        }
        AcmeError::NotSeen(self.name.to_owned(), why)
    }
}
