//! The list that the node's operator writes: what is taken down here. A file like any other list, changed by being written
//! anew beside itself and renamed, so that a crash leaves the old or the new one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use atoll_core::{Cid, Denied, Subject};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use multibase::Base;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::deny::lists::{Decision, Lists};
use crate::deny::rule::{Rule, domain, multihash};
use crate::error::DenyError;

/// The name of the list in a node's data folder.
pub const FILE: &str = "local.deny";
/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 500;
/// What the line before a rule begins with, which says when and why it was added.
const NOTE: &str = "# added ";

/// The operator's own list.
#[derive(Clone, Debug)]
pub struct Local {
    path: PathBuf,
}

/// A rule of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The rule as it is written, with its hints.
    pub rule: String,
    /// When and why it was added, if that is known.
    pub note: String,
}

impl Local {
    /// The list in a data folder, which need not be there yet.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join(FILE) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its rules, in order.
    ///
    /// # Errors
    /// [`DenyError::File`].
    pub fn entries(&self) -> Result<Vec<Entry>, DenyError> {
        let text = self.read()?;
        let mut note = "";
        let mut entries = Vec::new();
        for line in text.lines() {
            if let Some(text) = line.strip_prefix(NOTE) {
                note = text;
            } else if !line.trim().is_empty() && !line.starts_with('#') {
                entries.push(Entry { rule: line.to_owned(), note: std::mem::take(&mut note).to_owned() });
            }
        }
        Ok(entries)
    }

    /// Denies what `subject` names: a CID, a path, or a URL of a gateway. Returns the rule, and whether it is new.
    ///
    /// # Errors
    /// [`DenyError`] if it names nothing, the reason is no line, or the file cannot be written.
    pub fn add(&self, subject: &str, denied: Denied, reason: &str) -> Result<(String, bool), DenyError> {
        let rule = rule_of(subject)?;
        if reason.len() > REASON_BYTES_MAX || reason.contains(char::is_control) {
            return Err(DenyError::Reason);
        }
        let _lock = self.lock()?;
        let line = format!("{rule} status_code={}", denied.status());
        let (text, count) = without(&self.read()?, &rule);
        let at = format_rfc3339_seconds(SystemTime::now());
        self.write(&format!("{text}{NOTE}{at} {reason}\n{line}\n"))?;
        Ok((line, count == 0))
    }

    /// Takes back what was added for `subject`. Returns how many rules that were.
    ///
    /// # Errors
    /// [`DenyError`] if it names nothing, or the file cannot be written.
    pub fn remove(&self, subject: &str) -> Result<usize, DenyError> {
        let rule = rule_of(subject)?;
        let _lock = self.lock()?;
        let (text, count) = without(&self.read()?, &rule);
        if count > 0 {
            self.write(&text)?;
        }
        Ok(count)
    }

    fn read(&self) -> Result<String, DenyError> {
        match fs::read_to_string(&self.path) {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|cause| self.error(cause)),
        }
    }

    fn write(&self, text: &str) -> Result<(), DenyError> {
        let written = atoll_durable::replace(&self.path, |file| file.write_all(text.as_bytes()));
        written.map_err(|cause| self.error(cause))
    }

    /// Keeps other commands from changing the list at the same time, until it is dropped.
    fn lock(&self) -> Result<File, DenyError> {
        let lock = || {
            let file = File::create(self.path.with_extension("deny.lock"))?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|cause| self.error(cause))
    }

    fn error(&self, cause: std::io::Error) -> DenyError {
        DenyError::File { path: self.path.clone(), cause }
    }
}

/// The list without a rule and its note, and how often it was in it.
fn without(text: &str, rule: &str) -> (String, usize) {
    let mut kept: Vec<&str> = Vec::new();
    let mut count = 0_usize;
    for line in text.lines() {
        if line.split_ascii_whitespace().next() != Some(rule) {
            kept.push(line);
            continue;
        }
        count = count.saturating_add(1);
        kept.pop_if(|before| before.starts_with(NOTE));
    }
    let text = kept.iter().flat_map(|line| [*line, "\n"]).collect();
    (text, count)
}

/// The rule that denies what `subject` names: a CID, `/ipfs/…`, `/ipns/…`, `ipfs://…`, a gateway's or a site's URL, a host
/// name, or a double hash. Without a path, all below it is denied; a path is denied alone, unless it ends with `*`.
///
/// # Errors
/// [`DenyError::NoSubject`].
pub fn rule_of(subject: &str) -> Result<String, DenyError> {
    let text = subject.trim();
    let rule = if text.starts_with("//") { Some(text.to_owned()) } else { content_rule(text) };
    let known = rule.filter(|rule| Rule::parse_bytes(rule.as_bytes()).is_ok_and(|parsed| !parsed.allow));
    known.filter(|rule| !rule.contains(char::is_whitespace)).ok_or_else(|| DenyError::NoSubject(subject.to_owned()))
}

/// Which rule of `lists` decides about what `subject` names, exceptions included.
///
/// # Errors
/// [`DenyError::NoSubject`].
pub fn explain(lists: &Lists, subject: &str) -> Result<Option<Decision>, DenyError> {
    let none = || DenyError::NoSubject(subject.to_owned());
    let rule = rule_of(subject)?;
    let (space, rest) = rule.trim_start_matches('/').split_once('/').ok_or_else(none)?;
    let (name, path) = rest.split_once('/').ok_or_else(none)?;
    let path = percent_decode_str(path.trim_end_matches('*')).decode_utf8().map_err(|_| none())?;
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    if space == "ipns" {
        return Ok(lists.explain(Subject::Name { name, names: &names }));
    }
    let root = Cid::try_from(name).map_err(|_| none())?;
    Ok(lists.explain(Subject::Path { root: &root, names: &names }))
}

fn content_rule(text: &str) -> Option<String> {
    let url = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
    let text = text.get(..text.find(['?', '#']).unwrap_or(text.len()))?;
    if let Some(rest) = text.strip_prefix("/ipfs/").or_else(|| text.strip_prefix("ipfs://")) {
        return content_below(rest);
    }
    if let Some(rest) = text.strip_prefix("/ipns/").or_else(|| text.strip_prefix("ipns://")) {
        return named_below(rest);
    }
    let Some(url) = url else { return content_below(text).or_else(|| named_below(text)) };
    let url = url.get(..url.find(['?', '#']).unwrap_or(url.len()))?;
    let (host, path) = url.split_once('/').unwrap_or((url, ""));
    let host = host.split(':').next()?;
    // A gateway's URL names the content; any other names a site by its DNSLink.
    if let Some((label, _)) = host.split_once(".ipfs.") {
        content_below(&format!("{label}/{path}"))
    } else if let Some((label, _)) = host.split_once(".ipns.") {
        named_below(&format!("{label}/{path}"))
    } else if let Some(rest) = path.strip_prefix("ipfs/") {
        content_below(rest)
    } else if let Some(rest) = path.strip_prefix("ipns/") {
        named_below(rest)
    } else {
        named_below(&format!("{host}/{path}"))
    }
}

/// A rule below a CID, which is written in one form.
fn content_below(text: &str) -> Option<String> {
    let (name, path) = text.split_once('/').unwrap_or((text, ""));
    let cid = Cid::try_from(name).ok()?;
    if cid.codec() == LIBP2P_KEY {
        return named_below(text);
    }
    Some(format!("/ipfs/{}/{}", cid.into_v1().ok()?, below(path)?))
}

/// A rule below a key or a host name, each in one form.
fn named_below(text: &str) -> Option<String> {
    let (name, path) = text.split_once('/').unwrap_or((text, ""));
    let name = match multihash(name) {
        Some(hash) => Cid::new_v1(LIBP2P_KEY, hash).to_string_of_base(Base::Base36Lower).ok()?,
        None => domain(name).filter(|name| name.contains('.'))?,
    };
    Some(format!("/ipns/{name}/{}", below(path)?))
}

/// The path of a rule: encoded, so that it is one word.
fn below(path: &str) -> Option<String> {
    let (path, rest) = path.strip_suffix('*').map_or((path, ""), |path| (path, "*"));
    let decoded = percent_decode_str(path.trim_matches('/')).decode_utf8().ok()?;
    let encoded: Vec<_> = decoded.split('/').map(|name| utf8_percent_encode(name, NAME).to_string()).collect();
    Some(if decoded.is_empty() { "*".to_owned() } else { format!("{}{rest}", encoded.join("/")) })
}

/// What stays as it is in a rule's path.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Multicodec of the keys that IPNS names are.
const LIBP2P_KEY: u64 = 0x72;

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq";
    const KEY: &str = "k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf";

    #[test]
    fn a_subject_is_a_cid_a_path_or_a_url() {
        for (subject, rule) in [
            (CID.to_owned(), format!("/ipfs/{CID}/*")),
            ("QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo".to_owned(), format!("/ipfs/{CID}/*")),
            (format!("{CID}/a b"), format!("/ipfs/{CID}/a%20b")),
            (format!("/ipfs/{CID}/"), format!("/ipfs/{CID}/*")),
            (format!("/ipfs/{CID}/a/b*"), format!("/ipfs/{CID}/a/b*")),
            (format!("ipfs://{CID}/a%20b?x#y"), format!("/ipfs/{CID}/a%20b")),
            (format!("https://{CID}.ipfs.gateway.example:8080/a.html?x"), format!("/ipfs/{CID}/a.html")),
            (format!("http://gateway.example/ipfs/{CID}"), format!("/ipfs/{CID}/*")),
            (format!("https://gateway.example/ipns/{KEY}/x"), format!("/ipns/{KEY}/x")),
            (KEY.to_owned(), format!("/ipns/{KEY}/*")),
            ("12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA".to_owned(), format!("/ipns/{KEY}/*")),
            ("https://en-wikipedia--on--ipfs-org.ipns.x/y".to_owned(), "/ipns/en.wikipedia-on-ipfs.org/y".to_owned()),
            ("https://Site.example/page".to_owned(), "/ipns/site.example/page".to_owned()),
            ("site.example".to_owned(), "/ipns/site.example/*".to_owned()),
        ] {
            assert_eq!(rule_of(&subject).ok(), Some(rule), "{subject}");
        }
        for subject in ["", "nonsense", "/ipfs/x", "https://", "!/ipns/a.example", "a.example /ipfs/x", "//x"] {
            assert!(rule_of(subject).is_err() || subject.contains(' '), "{subject}");
        }
    }

    #[test]
    fn rules_are_added_and_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let local = Local::in_folder(folder.path());
        assert_eq!(local.entries().unwrap(), []);
        fs::write(local.path(), "# mine\n/ipns/by.hand").unwrap();
        assert!(local.add(CID, Denied::Legal, "notice 7").unwrap().1);
        assert!(!local.add(&format!("/ipfs/{CID}"), Denied::Gone, "again").unwrap().1);
        let entries = local.entries().unwrap();
        assert_eq!(entries[0], Entry { rule: "/ipns/by.hand".to_owned(), note: String::new() });
        assert_eq!(entries[1].rule, format!("/ipfs/{CID}/* status_code=410"));
        assert!(entries[1].note.ends_with("Z again") && entries.len() == 2);
        assert_eq!((local.remove(CID).unwrap(), local.remove(CID).unwrap()), (1, 0));
        assert_eq!(fs::read_to_string(local.path()).unwrap(), "# mine\n/ipns/by.hand\n");
        assert!(local.add(CID, Denied::Gone, "two\nlines").is_err());
        let lists = Lists::open(&[], local.path(), 100).unwrap();
        let decision = |subject| explain(&lists, subject).unwrap().map(|decision| decision.verdict);
        assert!(decision("https://by.hand/").is_some_and(|verdict| verdict.line == 2 && verdict.denied.is_some()));
        assert_eq!((decision("by.hand/x"), decision(CID)), (None, None));
    }
}
