//! Comparing a signed answer with the site itself: all of its blocks, each checked, and the bundle made of them anew.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use atoll_content::bundle::{bundle, rules};
use atoll_core::bundle::{LEAVES_MAX, Named};
use atoll_core::manifest::{self, Manifest, Said};
use atoll_core::signed::{Checked, NO_NONCE};
use atoll_core::site::{self, Asked, Found, Rules};
use atoll_core::{Block, Blocks, Cid, car, merkle};
use http_body_util::BodyExt as _;
use percent_encoding::percent_decode_str;

use super::fetch::{Fetched, Url, send};
use super::spool::Spool;

/// The largest site that is compared, as a CAR in bytes: no larger one has a bundle.
const CAR_BYTES_MAX: u64 = LEAVES_MAX * merkle::Bytes::LEAF_BYTES as u64;

/// What came of it.
pub(super) enum Compared {
    /// The answer is what the site with this root says.
    Same(Cid),
    /// It is not.
    Differs(String),
    /// The site could not be had, or is too large.
    Unchecked(String),
}

/// Where a site is seen.
pub(super) struct Place {
    /// The path of its root on the host.
    pub(super) base: String,
    /// The path below it, decoded.
    pub(super) segments: Vec<String>,
    pub(super) slash: bool,
    /// Whether the site has the host for itself, so that its own rules hold.
    pub(super) own: bool,
    /// The root, if the URL names it.
    pub(super) root: Option<Cid>,
}

/// Compares an answer with the site.
pub(super) async fn compare(url: &Url, fetched: &Fetched, checked: &Checked) -> Compared {
    let site = async {
        let place = Place::of(url)?;
        let (root, blocks) = blocks(url, &place).await?;
        if place.root.is_some_and(|named| named.hash() != root.hash()) {
            bail!("{root} came where another root was asked for");
        }
        let blocks: Arc<dyn Blocks> = Arc::new(blocks);
        let rules = rules(&blocks, &root).await?;
        Ok((place, rules, Named::from(bundle(blocks, &root).await?)))
    };
    let (place, rules, named) = match site.await {
        Ok(site) => site,
        Err(error) => return Compared::Unchecked(format!("{error:#}")),
    };
    if named.id != checked.bundle {
        return Compared::Differs(format!("it was signed for a bundle that is not the one of {}", named.bundle.root));
    }
    match differs(&place, &rules, &named.bundle.manifest, url, fetched, checked) {
        Some(why) => Compared::Differs(why),
        None => Compared::Same(named.bundle.root),
    }
}

/// What the site says otherwise.
fn differs(
    place: &Place,
    rules: &Rules,
    manifest: &Manifest,
    url: &Url,
    fetched: &Fetched,
    checked: &Checked,
) -> Option<String> {
    let asked = Asked { segments: &place.segments, slash: place.slash, query: url.query() };
    let none = Rules::default();
    let holding = if place.own { rules } else { &none };
    let same = match manifest.says(holding, &asked) {
        Said::Entry(entry) => {
            let signed = (fetched.status, &*checked.key, checked.digest, checked.head);
            signed == (entry.status, &*entry.key, entry.digest, entry.head)
        }
        Said::Absent => {
            let key = manifest::key(&place.segments, place.slash);
            fetched.status == 404 && key.as_deref() == Some(&checked.key)
        }
        Said::Nothing => false,
    };
    if !same {
        return Some("the site's manifest says otherwise about this path".to_owned());
    }
    let head = head(holding, &asked, fetched, checked);
    (head != Some(checked.head)).then(|| "the head of the answer is not the one that was signed".to_owned())
}

/// The hash of the head that came; `None` if a header that the site's rules set is another, or one that they take away is there.
fn head(rules: &Rules, asked: &Asked<'_>, fetched: &Fetched, checked: &Checked) -> Option<[u8; 32]> {
    let found = match fetched.status {
        200 if asked.slash => Found::Directory { index: true },
        200 => Found::File,
        _ => Found::Absent,
    };
    // A page that is shown in place of what is absent has the headers of the path that was asked for.
    let edits = match site::head(rules, asked, found) {
        Ok(head) if fetched.status == 200 || fetched.status == 404 => head.edits,
        _ => site::Edits::default(),
    };
    let content_type = fetched.field("content-type");
    let location = fetched.field("location").filter(|_| matches!(fetched.status, 301 | 302 | 307 | 308));
    let own_age = checked.nonce != NO_NONCE;
    let set = edits.set.iter().all(|(name, value)| {
        (own_age && name == "cache-control") || fetched.field(name).is_some_and(|actual| actual == value.trim())
    });
    let detached =
        edits.detached.iter().all(|name| edits.set.iter().any(|(set, _)| set == name) || fetched.field(name).is_none());
    let detached = detached || (own_age && edits.detached.iter().any(|name| name == "cache-control"));
    (set && detached).then(|| manifest::head(content_type.as_deref(), location.as_deref(), &edits))
}

impl Place {
    pub(super) fn of(url: &Url) -> Result<Self> {
        let path = url.path();
        let label = url.host().split_once(".ipfs.").map(|(label, _)| label);
        let (base, below, root) = match (label, path.strip_prefix("/ipfs/")) {
            (Some(label), _) => (String::new(), path, Some(label.parse()?)),
            (None, Some(rest)) => {
                let (cid, below) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                (format!("/ipfs/{cid}"), below, Some(cid.parse()?))
            }
            (None, None) => (String::new(), path, None),
        };
        let (segments, slash) = segments(below)?;
        Ok(Self { own: base.is_empty(), base, segments, slash, root })
    }
}

/// A path as gateways read it.
fn segments(path: &str) -> Result<(Vec<String>, bool)> {
    let (mut segments, mut slash) = (Vec::new(), true);
    for raw in path.split('/').skip(1) {
        let segment = percent_decode_str(raw).decode_utf8()?.into_owned();
        slash = matches!(&*segment, "" | "." | "..");
        match &*segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    Ok((segments, slash))
}

/// All blocks of the site, checked, and its root.
async fn blocks(url: &Url, place: &Place) -> Result<(Cid, Spool)> {
    let path = if place.base.is_empty() { "/" } else { &place.base };
    let url = url.at(&format!("{path}?format=car&dag-scope=all"))?;
    let (head, mut body) = send(&url, None, "application/vnd.ipld.car").await?.into_parts();
    if !head.status.is_success() {
        bail!("its blocks cannot be had there: status {}", head.status.as_u16());
    }
    let (mut decoder, mut spool, mut root, mut len) = (car::Decoder::default(), Spool::new()?, None, 0_u64);
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the CAR broke off")?;
        let Some(part) = frame.data_ref() else { continue };
        len = len.saturating_add(part.len() as u64);
        if len > CAR_BYTES_MAX {
            bail!("it is over 1 GiB");
        }
        decoder.push(part);
        while let Some(item) = decoder.next_item()? {
            match item {
                car::Item::Header(roots) => root = roots.first().copied(),
                car::Item::Section(section) => spool.take(Block::verified(section.cid, section.bytes)?)?,
            }
        }
    }
    decoder.finish()?;
    let root = root.context("the CAR names no root")?;
    Ok((Cid::new_v1(root.codec(), *root.hash()), spool))
}
