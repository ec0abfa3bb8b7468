//! A page that lists a directory. Names are whatever a publisher wrote: each is escaped.

use std::fmt::{self, Write as _};
use std::sync::LazyLock;

use atoll_content::reader::{Entry, Resolved};
use atoll_core::unixfs::Meta;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::{content_headers, insert, mime, modified, page_cache_control};
use crate::route::{ContentPath, Mount, encode};

/// The most entries on a page; the rest of a larger directory is told in a line.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// The most bytes of names that are held for a page, however few they are.
pub(crate) const NAMES_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Where a page ends, in bytes: a long way to the directory makes every row long.
const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Changes whenever the page does, so that no cache keeps an old form.
const FORM: u32 = 3;
/// A page of the IPFS project that takes a CID apart; it gets the CID behind `#`, which no server sees.
pub(super) const EXPLORER: &str = "https://cid.ipfs.tech/";
/// What stays as it is of an encoded name within a query. It is encoded again: the form decodes once.
const NON_ALPHANUMERIC_BUT_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(STYLE));
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
h1{font-size:1.1rem;overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}\
td{padding:.15rem .5rem;border-top:1px solid #8884;overflow-wrap:anywhere}td+td{text-align:right;white-space:nowrap}";

/// The headers of a listing, its tag among them.
pub(crate) fn headers(path: &ContentPath, resolved: &Resolved) -> HeaderMap {
    let mut headers = content_headers(path, resolved);
    headers.insert(header::CONTENT_TYPE, mime::HTML);
    headers.insert(header::CACHE_CONTROL, page_cache_control(path));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    insert(&mut headers, header::ETAG, format!("\"DirIndex-{FORM}_CID-{}\"", resolved.cid));
    headers
}

/// The policy of a page on which nothing runs or loads anything, and whose only style is this one (Content Security Policy
/// Level 3, 2.3.1, "hash-source").
pub(super) fn policy(style: &str) -> HeaderValue {
    let hash = multibase::Base::Base64Pad.encode(Sha256::digest(style));
    let policy = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'");
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

/// A page that is being written. Its end says how many of the entries it shows, if not all.
pub(crate) struct Page<'a> {
    path: &'a ContentPath,
    meta: Meta,
    /// What links to entries begin with.
    base: String,
    text: String,
    shown: usize,
}

impl<'a> Page<'a> {
    /// The page of a directory that says this of itself, with so many entries.
    pub(crate) fn new(path: &'a ContentPath, meta: Meta, entries: usize) -> Self {
        let base = directory_link(path);
        let title = format!("{}/{}", path.site_path(), path.segments.join("/"));
        let mut text = String::with_capacity(2048_usize.saturating_add(entries.saturating_mul(320)));
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{}</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
             <body><h1>Index of {}</h1>\n<table>\n",
            Escaped(&title),
            Breadcrumbs(path)
        );
        if !path.segments.is_empty() {
            let _ = writeln!(text, "<tr><td><a href=\"{}/..\">..</a></td><td></td><td></td></tr>", Escaped(&base));
        }
        Self { path, meta, base, text, shown: 0 }
    }

    /// Shows entries, as long as there is room.
    pub(crate) fn show(&mut self, entries: &[Entry]) {
        for entry in entries {
            if self.text.len() >= PAGE_BYTES_MAX {
                return;
            }
            let name = encode(&entry.name).to_string();
            let _ = writeln!(
                self.text,
                "<tr><td><a href=\"{}/{name}\">{}</a></td><td>{}</td><td>{}</td></tr>",
                Escaped(&self.base),
                Escaped(&entry.name),
                HashLink { path: self.path, entry, name: &name },
                Size(entry.tsize)
            );
            self.shown = self.shown.saturating_add(1);
        }
    }

    /// The text. The directory has `entries`, and with `more` still others.
    pub(crate) fn finish(mut self, entries: usize, more: bool) -> String {
        self.text.push_str("</table>\n");
        // As far as the publisher says it; what holds for the entries stands in their own blocks.
        if let Some(mode) = self.meta.mode {
            let _ = writeln!(self.text, "<p>Mode {:04o}</p>", mode & 0o7777);
        }
        if let Some(time) = modified::text(&self.meta) {
            let _ = writeln!(self.text, "<p>Modified {time}</p>");
        }
        if more || self.shown < entries {
            let _ = writeln!(self.text, "<p>Only {} of its entries are shown.</p>", self.shown);
        }
        self.text.push_str("</body></html>\n");
        self.text
    }
}

/// What links to entries begin with, without a slash at the end.
fn directory_link(path: &ContentPath) -> String {
    let mut link = path.link();
    link.truncate(link.trim_end_matches('/').len());
    link
}

/// The way to a directory, each step a link. On a subdomain they lead over the gateway that it belongs to, which knows the
/// labels of all.
struct Breadcrumbs<'a>(&'a ContentPath);

impl fmt::Display for Breadcrumbs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0;
        let site = path.site_path();
        let (namespace, name) = site.rsplit_once('/').unwrap_or_default();
        let (mut link, end) = match &path.mount {
            Mount::Path(base) => (base.clone(), ""),
            Mount::Subdomain(authority) => (format!("//{authority}{site}"), ""),
            Mount::Domain(authority) => (format!("//{authority}"), "/"),
        };
        write!(f, "{namespace}/<a href=\"{}{end}\">{}</a>", Escaped(&link), Escaped(name))?;
        for segment in &path.segments {
            let _ = write!(link, "/{}", encode(segment));
            write!(f, "/<a href=\"{}\">{}</a>", Escaped(&link), Escaped(segment))?;
        }
        Ok(())
    }
}

/// An entry's CID, linked to where it can be had under it. A site's own domain serves nothing but the site, so that
/// there the link leads to a page that explains the CID.
struct HashLink<'a> {
    path: &'a ContentPath,
    entry: &'a Entry,
    /// The entry's name, encoded.
    name: &'a str,
}

impl fmt::Display for HashLink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cid = self.entry.cid;
        let filename = utf8_percent_encode(self.name, NON_ALPHANUMERIC_BUT_NAME);
        f.write_str("<a class=\"ipfs-hash\" translate=\"no\" href=\"")?;
        match &self.path.mount {
            Mount::Path(_) => write!(f, "/ipfs/{cid}?filename={filename}\">")?,
            Mount::Subdomain(authority) => write!(f, "//{}/ipfs/{cid}?filename={filename}\">", Escaped(authority))?,
            Mount::Domain(_) => {
                write!(f, "{EXPLORER}#{cid}\" target=\"_blank\" rel=\"noreferrer noopener\">")?;
            }
        }
        f.write_str(&short(&cid.to_string()))?;
        f.write_str("</a>")
    }
}

/// A CID's beginning and end.
fn short(cid: &str) -> String {
    let (start, end) = (cid.get(..4), cid.get(cid.len().saturating_sub(4)..));
    start.zip(end).filter(|_| cid.len() > 12).map_or_else(|| cid.to_owned(), |(start, end)| format!("{start}…{end}"))
}

/// Text that can stand in HTML and in quoted attributes.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                // Could reorder what stands beside it.
                c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                    f.write_char('\u{fffd}')?;
                }
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A size as people write it.
struct Size(Option<u64>);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(bytes) = self.0 else { return Ok(()) };
        if bytes < 1024 {
            return write!(f, "{bytes} B");
        }
        let power = bytes.ilog2() / 10;
        let unit = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].get(power as usize).copied().unwrap_or("EiB");
        let tenths = (u128::from(bytes) * 10) >> (10 * power);
        write!(f, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::{Site, Target};

    const CID: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn entry(name: &str) -> Entry {
        Entry { name: name.to_owned(), cid: CID.parse().unwrap(), tsize: Some(1536) }
    }

    fn path(path: &str) -> ContentPath {
        let root = CID.parse().unwrap();
        let mount = Mount::Subdomain("localhost:1".to_owned());
        Target::on_own_host(Site::Root(root), mount, path).unwrap().at(root, None)
    }

    fn page(path: &ContentPath, entries: &[Entry], more: bool) -> String {
        let mut page = Page::new(path, Meta { mode: Some(0o755), mtime: Some((784_111_777, 5)) }, entries.len());
        page.show(entries);
        page.finish(entries.len(), more)
    }

    #[test]
    fn a_directory_says_of_itself_what_its_publisher_wrote() {
        let told = page(&path("/"), &[], false);
        assert!(told.contains("<p>Mode 0755</p>") && told.contains("<p>Modified Sun, 06 Nov 1994 08:49:37 GMT</p>"));
        for mtime in [None, Some((-1, 0)), Some((i64::MAX, 0)), Some((253_402_300_800, 0))] {
            let page = Page::new(&path("/"), Meta { mode: None, mtime }, 0).finish(0, false);
            assert!(!page.contains("Mode") && !page.contains("Modified"), "{mtime:?}");
        }
    }

    #[test]
    fn a_page_has_an_end() {
        let path = path(&format!("/{}/", "a".repeat(2000)));
        let page = page(&path, &vec![entry("b"); 10_000], false);
        assert!(page.len() < PAGE_BYTES_MAX + 10_000 && page.contains(" of its entries are shown"));
    }

    #[test]
    fn names_cannot_become_markup() {
        let hostile = "\"><script>alert('x')</script>&\u{202e}\n";
        let path = path("/%22%3E%3Cb%3E/");
        let page = page(&path, &[entry(hostile)], false);
        assert!(!page.contains("<script") && !page.contains("\"><b>"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\u{fffd}\u{fffd}"));
        assert!(
            page.contains("href=\"/%22%3E%3Cb%3E/%22%3E%3Cscript%3Ealert(%27x%27)%3C%2Fscript%3E%26%E2%80%AE%0A\"")
        );
    }

    #[test]
    fn entries_are_sized() {
        let path = path("/");
        let page = page(&path, &[entry("a"), entry("b")], true);
        assert!(page.contains("1.5 KiB") && page.contains("Only 2 of") && !page.contains(">..<"));
    }

    #[test]
    fn sizes_are_readable() {
        let text = |bytes| Size(Some(bytes)).to_string();
        assert_eq!([text(0), text(1023), text(1024), text(u64::MAX)], ["0 B", "1023 B", "1.0 KiB", "15.9 EiB"]);
    }
}
