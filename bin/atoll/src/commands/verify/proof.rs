//! Comparing a signed answer with a version of the site that the asker knows by its name alone: by a proof of one path, instead of all
//! blocks.

use anyhow::{Context as _, Result, bail, ensure};
use atoll_core::bundle::{BundleId, Proof, Proved};
use atoll_core::manifest;
use atoll_core::signed::Checked;
use atoll_core::site::{Edits, HEADERS, REDIRECTS};
use http_body_util::{BodyExt as _, Limited};

use super::fetch::{Fetched, Url, send};
use super::site::{Compared, Place};

/// Compares an answer with `bundle`.
pub(super) async fn compare(url: &Url, fetched: &Fetched, checked: &Checked, bundle: BundleId) -> Compared {
    if checked.bundle != bundle {
        return Compared::Differs(format!("it was signed for the bundle {}", checked.bundle));
    }
    let compared = async {
        let place = Place::of(url)?;
        let asking = Asking { url, place: &place, bundle };
        let proof = asking.about(&checked.key).await?;
        if place.root.is_some_and(|named| named.hash() != proof.root().hash()) {
            let root = proof.root();
            return Ok(Compared::Differs(format!("the bundle is of {root}, not of the root that was asked for")));
        }
        if !is_said(fetched, checked, proof.of(&checked.key)) {
            return Ok(Compared::Differs("the site's manifest says otherwise about this path".to_owned()));
        }
        if manifest::key(&place.segments, place.slash).as_deref() != Some(&*checked.key) {
            let why = format!("the path led to {}", checked.key);
            return asking.unless_absent(REDIRECTS, why).await;
        }
        let content_type = fetched.field("content-type");
        let location = fetched.field("location").filter(|_| manifest::is_listed_redirect(fetched.status));
        let plain = manifest::head(content_type.as_deref(), location.as_deref(), &Edits::default());
        if plain != checked.head {
            let why = "the head of the answer is not the one that was signed".to_owned();
            return asking.unless_absent(HEADERS, why).await;
        }
        anyhow::Ok(Compared::Same(*proof.root()))
    };
    compared.await.unwrap_or_else(|error| Compared::Unchecked(format!("{error:#}")))
}

/// Whether what was signed is what the manifest says.
fn is_said(fetched: &Fetched, checked: &Checked, proved: Option<Proved<'_>>) -> bool {
    match proved {
        Some(Proved::Entry(entry)) => {
            (fetched.status, checked.digest, checked.head) == (entry.status, entry.digest, entry.head)
        }
        Some(Proved::Absent) => fetched.status == 404,
        None => false,
    }
}

/// Whoever is asked for proofs.
struct Asking<'a> {
    url: &'a Url,
    place: &'a Place,
    bundle: BundleId,
}

impl Asking<'_> {
    /// The proof of what is answered under a key.
    async fn about(&self, key: &str) -> Result<Proof> {
        let url = self.url.at(&format!("{}{key}?format=atoll-proof", self.place.base))?;
        let (head, body) = send(&url, None, "application/vnd.atoll.proof").await?.into_parts();
        if !head.status.is_success() {
            bail!("no proof can be had there: status {}", head.status.as_u16());
        }
        let body = Limited::new(body, Proof::BYTES_MAX).collect().await;
        let body = body.map_err(|error| anyhow::anyhow!("the proof did not come whole: {error}"))?;
        let proof = Proof::from_bytes(&body.to_bytes()).context("what came is no proof")?;
        ensure!(proof.bundle() == self.bundle, "the proof that came is of another bundle");
        Ok(proof)
    }

    /// What is wrong is wrong, unless a file of rules that the site has may be the reason.
    async fn unless_absent(&self, file: &str, why: String) -> Result<Compared> {
        let key = format!("/{file}");
        if self.place.own && self.about(&key).await?.of(&key) != Some(Proved::Absent) {
            return Ok(Compared::Unchecked(format!(
                "{why}, which {file} of the site may explain and a proof does not"
            )));
        }
        Ok(Compared::Differs(why))
    }
}
