//! When a certificate is to be renewed (RFC 9773). Kept in memory; after a crash the authority is asked again.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;

use super::account::Accounts;
use super::config::Authority;
use crate::certificate::Certificate;

/// How long what an authority suggests counts, at least and at most.
const ASK_AGAIN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(86_400)];
/// How long the answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// When to renew, and when to ask for that again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renewal {
    pub(super) due: SystemTime,
    pub(super) ask_again: SystemTime,
}

/// Asks the authorities; the first that knows the certificate counts.
pub(super) async fn of(certificate: &Certificate, accounts: &Accounts, authorities: &[Authority]) -> Renewal {
    let now = SystemTime::now();
    let life = certificate.not_after.duration_since(certificate.not_before).unwrap_or_default();
    for (index, authority) in authorities.iter().enumerate() {
        let suggested = tokio::time::timeout(TIMEOUT, suggested(index, authority, certificate, accounts)).await;
        if let Ok(Some(((start, end), again))) = suggested {
            let [least, most] = ASK_AGAIN;
            // No authority should suggest to let it end, or to renew what was just issued again and again.
            let (first, last) = (certificate.not_before + life / 50, certificate.not_before + life * 5 / 6);
            let due = within(start, end).clamp(first, last);
            return Renewal { due, ask_again: now + again.clamp(least, most) };
        }
    }
    Renewal { due: certificate.not_before + life * 2 / 3, ask_again: now + ASK_AGAIN[0] * 60 }
}

async fn suggested(
    index: usize,
    authority: &Authority,
    certificate: &Certificate,
    accounts: &Accounts,
) -> Option<((SystemTime, SystemTime), Duration)> {
    let account = accounts.open(index, authority).await.ok()?;
    let id = CertificateIdentifier::try_from(certificate.der()?).ok()?;
    let (info, again) = account.renewal_info(&id).await.ok()?;
    let window = info.suggested_window;
    Some(((window.start.into(), window.end.into()), again))
}

/// A moment of the window, by chance, so that not all come at once.
fn within(start: SystemTime, end: SystemTime) -> SystemTime {
    let window = end.duration_since(start).unwrap_or_default();
    let chance = u32::try_from(RandomState::new().hash_one(start) % 1_000).unwrap_or_default();
    start + window / 1_000 * chance
}
