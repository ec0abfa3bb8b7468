//! Taking a certificate back before its end (RFC 8555, section 7.6), for when its key may be known to others, say. In memory it is known
//! until the next start what was revoked; the authority knows it for ever.

use std::fs;
use std::str::FromStr;
use std::sync::PoisonError;

use instant_acme::{RevocationReason, RevocationRequest};

use super::{AcmeError, Manager, file};

/// Why one is taken back (RFC 5280, section 5.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is said.
    Unspecified,
    /// Its key may be known to others.
    KeyCompromise,
    /// Another one is in its place.
    Superseded,
    /// Nothing is served under the name any more.
    CessationOfOperation,
}

/// No reason of that name is known.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no reason: it is one of unspecified, key-compromise, superseded, cessation-of-operation")]
pub struct UnknownReason(String);

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        Ok(match text {
            "unspecified" => Self::Unspecified,
            "key-compromise" => Self::KeyCompromise,
            "superseded" => Self::Superseded,
            "cessation-of-operation" => Self::CessationOfOperation,
            other => return Err(UnknownReason(other.to_owned())),
        })
    }
}

impl Reason {
    fn code(self) -> RevocationReason {
        match self {
            Self::Unspecified => RevocationReason::Unspecified,
            Self::KeyCompromise => RevocationReason::KeyCompromise,
            Self::Superseded => RevocationReason::Superseded,
            Self::CessationOfOperation => RevocationReason::CessationOfOperation,
        }
    }
}

impl Manager {
    /// Has the authority that issued a name's certificate take it back. With `again` another one is asked for at once, with a new key,
    /// and until it is there the old one serves; without, the old one serves no more, and no other is asked for until the next start.
    /// Whether another one is there.
    ///
    /// # Errors
    /// [`AcmeError::NotIssued`], or what the last authority said.
    pub async fn revoke(&self, name: &str, reason: Reason, again: bool) -> Result<bool, AcmeError> {
        let certificate = self.store.issued_for(name);
        let der = certificate.as_deref().and_then(|certificate| certificate.der());
        let der = der.ok_or_else(|| AcmeError::NotIssued(name.to_owned()))?;
        let mut revoked = Err(AcmeError::NotIssued(name.to_owned()));
        // Only who issued it can take it back.
        for (index, authority) in self.config.authorities.iter().enumerate() {
            let request = RevocationRequest { certificate: der, reason: Some(reason.code()) };
            revoked = match self.accounts.open(index, authority).await {
                Ok(account) => account.revoke(&request).await.map_err(AcmeError::from),
                Err(error) => Err(error),
            };
            if revoked.is_ok() {
                tracing::info!(name, authority = authority.directory, ?reason, "a certificate was revoked");
                break;
            }
        }
        revoked?;
        let note = || self.revoked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), again);
        if again {
            // Noted only afterwards: whoever looks after all names would ask at the same time, and an authority takes one order
            // that replaces a certificate (RFC 9773, section 5).
            let is_there = self.obtain(name).await.is_ok();
            if !is_there {
                note();
            }
            return Ok(is_there);
        }
        note();
        self.store.withdrawn(name);
        self.demanded.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let path = file(&self.folder, name);
        match tokio::task::spawn_blocking(move || fs::remove_file(path)).await {
            Ok(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(name, %error, "a revoked certificate is still on disk, and serves after the next start");
            }
            _ => {}
        }
        Ok(false)
    }

    /// Whether a name's certificate was revoked, and if so whether it is to have another one.
    pub(super) fn revoked(&self, name: &str) -> Option<bool> {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied()
    }

    /// It has another one.
    pub(super) fn is_replaced(&self, name: &str) {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_names() {
        assert_eq!("key-compromise".parse::<Reason>().unwrap().code() as u8, 1);
        assert_eq!("superseded".parse::<Reason>().unwrap().code() as u8, 4);
        assert!("remove-from-crl".parse::<Reason>().is_err());
    }
}
