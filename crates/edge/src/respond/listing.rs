//! A page that lists a directory. Names are whatever a publisher wrote: each is escaped.

use std::fmt::{self, Write as _};

use atoll_content::reader::{Entry, Resolved};
use http::{HeaderMap, HeaderValue, Response, header};

use super::{LISTING, content_headers, insert, mime};
use crate::body::Body;
use crate::route::{ContentPath, encode};

/// The most entries on a page; the rest of a larger directory is told in a line.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Changes whenever the page does, so that no cache keeps an old form.
const FORM: u32 = 1;
/// Nothing on the page runs or loads anything.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'");
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
h1{font-size:1.1rem;overflow-wrap:anywhere}table{width:100%;border-collapse:collapse}\
td{padding:.15rem .5rem;border-top:1px solid #8884;overflow-wrap:anywhere}td+td{text-align:right;white-space:nowrap}";

/// The headers of a listing, its tag among them.
pub(crate) fn headers(path: &ContentPath, resolved: &Resolved) -> HeaderMap {
    let mut headers = content_headers(path, resolved);
    headers.insert(header::CONTENT_TYPE, mime::HTML);
    headers.insert(header::CACHE_CONTROL, LISTING);
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY);
    insert(&mut headers, header::ETAG, format!("\"DirIndex-{FORM}_CID-{}\"", resolved.cid));
    headers
}

/// The page with those headers. `more` says that the directory has more entries than these.
pub(crate) fn respond(headers: HeaderMap, path: &ContentPath, entries: Vec<Entry>, more: bool) -> Response<Body> {
    let mut response = Response::new(Body::one(page(path, entries, more).into()));
    *response.headers_mut() = headers;
    response
}

fn page(path: &ContentPath, mut entries: Vec<Entry>, more: bool) -> String {
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    let base = path.link();
    let title = format!("/ipfs/{}/{}", path.root, path.segments.join("/"));
    let mut page = String::with_capacity(1024 + entries.len() * 160);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n<body><h1>{0}</h1>\n<table>\n",
        Escaped(&title)
    );
    if !path.segments.is_empty() {
        let up = path.segments.split_last().map(|(_, up)| up.to_vec()).unwrap_or_default();
        let up = ContentPath { segments: up, slash: true, ..path.clone() };
        let _ = writeln!(page, "<tr><td><a href=\"{}\">..</a></td><td></td></tr>", Escaped(&up.link()));
    }
    for entry in &entries {
        let _ = writeln!(
            page,
            "<tr><td><a href=\"{}{}\">{}</a></td><td>{}</td></tr>",
            Escaped(&base),
            encode(&entry.name),
            Escaped(&entry.name),
            Size(entry.tsize)
        );
    }
    page.push_str("</table>\n");
    if more {
        let _ = writeln!(page, "<p>Only {} of its entries are shown.</p>", entries.len());
    }
    page.push_str("</body></html>\n");
    page
}

/// Text that can stand in HTML and in quoted attributes.
struct Escaped<'a>(&'a str);

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

    const CID: &str = "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";

    fn entry(name: &str) -> Entry {
        Entry { name: name.to_owned(), cid: CID.parse().unwrap(), tsize: Some(1536) }
    }

    #[test]
    fn names_cannot_become_markup() {
        let hostile = "\"><script>alert('x')</script>&\u{202e}\n";
        let path = ContentPath::on_own_host(CID.parse().unwrap(), "/%22%3E%3Cb%3E/").unwrap();
        let page = page(&path, vec![entry(hostile)], false);
        assert!(!page.contains("<script") && !page.contains("\"><b>"), "{page}");
        assert!(page.contains("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;\u{fffd}\u{fffd}"));
        assert!(
            page.contains("href=\"/%22%3E%3Cb%3E/%22%3E%3Cscript%3Ealert(%27x%27)%3C%2Fscript%3E%26%E2%80%AE%0A\"")
        );
    }

    #[test]
    fn entries_are_sorted_and_sized() {
        let path = ContentPath::on_own_host(CID.parse().unwrap(), "/").unwrap();
        let page = page(&path, vec![entry("b"), entry("a")], true);
        assert!(page.find(">a<").unwrap() < page.find(">b<").unwrap());
        assert!(page.contains("1.5 KiB") && page.contains("Only 2 of") && !page.contains(">..<"));
    }

    #[test]
    fn sizes_are_readable() {
        let text = |bytes| Size(Some(bytes)).to_string();
        assert_eq!([text(0), text(1023), text(1024), text(u64::MAX)], ["0 B", "1023 B", "1.0 KiB", "15.9 EiB"]);
    }
}
