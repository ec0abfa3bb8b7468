//! A page that shows a block of IPLD data. Whatever stands in the block is a publisher's: it is escaped, and only so much of
//! it is shown. Pure; a crash loses nothing.

use std::fmt::Write as _;
use std::sync::LazyLock;

use atoll_content::reader::Resolved;
use atoll_core::Cid;
use atoll_core::data::{Event, walk};
use http::{HeaderMap, HeaderValue, Response, header};

use super::listing::{EXPLORER, Escaped, policy};
use super::{content_headers, insert, mime, page_cache_control};
use crate::body::Body;
use crate::route::{ContentPath, Mount};

/// The largest block that is shown, in bytes: it is read on the thread that serves others too, in 3 ms at worst.
const BLOCK_BYTES_MAX: usize = 128 * 1024;
/// The most values that are shown.
const VALUES_MAX: usize = 2_000;
/// The most bytes of page that values make; what begins within is shown whole.
const TREE_BYTES_MAX: usize = 256 * 1024;
/// How much of a text or a key is shown.
const TEXT_CHARS_MAX: usize = 256;
/// How many of some bytes are shown.
const HEX_BYTES_MAX: usize = 64;
/// Changes whenever the page does, so that no cache keeps an old form.
const FORM: u32 = 1;
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}\
h1{font-size:1.1rem}h1,li,dd{overflow-wrap:anywhere}ul{padding-left:1.2rem;border-left:1px solid #8884;\
list-style:none}i{opacity:.6}dt{float:left;clear:left;width:5rem}";
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| policy(STYLE));

/// The headers of the page, its tag among them.
pub(crate) fn headers(path: &ContentPath, resolved: &Resolved) -> HeaderMap {
    let mut headers = content_headers(path, resolved);
    headers.insert(header::CONTENT_TYPE, mime::HTML);
    headers.insert(header::CACHE_CONTROL, page_cache_control(path));
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    insert(&mut headers, header::ETAG, format!("\"DagIndex-{FORM}_CID-{}\"", resolved.cid));
    headers
}

/// The page with those headers. `format` is the name of the block's codec, in which it can be had.
pub(crate) fn respond(headers: HeaderMap, path: &ContentPath, resolved: &Resolved, format: &str) -> Response<Body> {
    let mut response = Response::new(Body::one(page(path, resolved, format).into()));
    *response.headers_mut() = headers;
    response
}

fn page(path: &ContentPath, resolved: &Resolved, format: &str) -> String {
    let title = format!("{}/{}", path.site_path(), path.segments.join("/"));
    let link = path.link();
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\n\
         <body><h1>{0}</h1>\n<dl><dt>CID</dt><dd>{1}</dd><dt>Codec</dt><dd>{format}</dd><dt>Size</dt><dd>{2} bytes</dd>\
         <dt>Get it</dt><dd>",
        Escaped(&title),
        resolved.cid,
        resolved.bytes.len(),
    );
    for (form, name) in [(format, format), ("raw", "raw block"), ("car", "CAR")] {
        let _ = write!(page, "<a href=\"{}?format={form}\">{name}</a> ", Escaped(&link));
    }
    page.push_str("</dd></dl>\n");
    tree(&mut page, &path.mount, resolved);
    page.push_str("</body></html>\n");
    page
}

/// The values of the block, as nested lists.
fn tree(page: &mut String, mount: &Mount, resolved: &Resolved) {
    if resolved.bytes.len() > BLOCK_BYTES_MAX {
        page.push_str("<p>The block is too large to be shown.</p>\n");
        return;
    }
    let begin = page.len();
    let mut tree = Tree { page, begin, mount, values: 0, hidden: 0, key_shown: false, open: Vec::new() };
    let read = walk(resolved.cid.codec(), &resolved.bytes, &mut |event| tree.take(event));
    let hidden = tree.hidden;
    if read.is_err() {
        page.truncate(begin);
        page.push_str("<p>The block is not what its codec says, so that nothing of it can be shown.</p>\n");
    } else if hidden > 0 {
        let _ = writeln!(page, "\n<p>Another {hidden} values are not shown.</p>");
    }
}

/// A page to which values are added, one by one.
struct Tree<'a> {
    page: &'a mut String,
    /// Where in the page the values begin.
    begin: usize,
    mount: &'a Mount,
    /// Values that are shown.
    values: usize,
    /// Values that are not.
    hidden: usize,
    /// Whether the last key is shown, and so its value must be.
    key_shown: bool,
    /// The lists and maps that are open: whether each is a map, and is shown.
    open: Vec<(bool, bool)>,
}

impl Tree<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Key(key) => {
                self.key_shown = self.has_room();
                if self.key_shown {
                    self.write("<li><b>");
                    self.text(key);
                    self.write("</b>: ");
                }
            }
            Event::ListEnd | Event::MapEnd => {
                if self.open.pop().is_some_and(|(_, shown)| shown) {
                    self.write("</ul>");
                    self.end();
                }
            }
            value => self.value(value),
        }
    }

    /// A value, or the beginning of one. What is hidden has only hidden values in it, since room does not come back.
    fn value(&mut self, value: Event<'_>) {
        let shown = match self.open.last() {
            Some((true, _)) => self.key_shown,
            _ => self.has_room(),
        };
        if !shown {
            self.hidden += 1;
        } else {
            self.values += 1;
            if self.open.last().is_some_and(|(map, _)| !map) {
                self.write("<li>");
            }
            self.show(value);
        }
        match value {
            Event::ListStart => self.open.push((false, shown)),
            Event::MapStart => self.open.push((true, shown)),
            _ if shown => self.end(),
            _ => {}
        }
    }

    fn show(&mut self, value: Event<'_>) {
        // Writing to a string does not fail.
        let _ = match value {
            Event::Null => write!(self.page, "<i>null</i>"),
            Event::Bool(value) => write!(self.page, "<i>{value}</i>"),
            Event::Integer(value) => write!(self.page, "{value}"),
            Event::Float(value) => write!(self.page, "{value:?}"),
            Event::Text(text) => return self.text(text),
            Event::Bytes(bytes) => return self.bytes(bytes),
            Event::Link(cid) => return self.link(&cid),
            Event::ListStart => write!(self.page, "<i>list</i><ul>"),
            Event::MapStart => write!(self.page, "<i>map</i><ul>"),
            Event::ListEnd | Event::MapEnd | Event::Key(_) => Ok(()),
        };
    }

    fn text(&mut self, text: &str) {
        let end = text.char_indices().nth(TEXT_CHARS_MAX).map_or(text.len(), |(end, _)| end);
        let more = if end < text.len() { "…" } else { "" };
        let _ = write!(self.page, "{}{more}", Escaped(text.get(..end).unwrap_or_default()));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let _ = write!(self.page, "<i>{} bytes</i> ", bytes.len());
        for byte in bytes.iter().take(HEX_BYTES_MAX) {
            let _ = write!(self.page, "{byte:02x}");
        }
        if bytes.len() > HEX_BYTES_MAX {
            self.write("…");
        }
    }

    /// A link that goes on where this content is seen. A site's own domain serves nothing else, so that there it leads to a
    /// page that explains the CID.
    fn link(&mut self, cid: &Cid) {
        let _ = match self.mount {
            Mount::Path(_) => write!(self.page, "<a href=\"/ipfs/{cid}\">{cid}</a>"),
            Mount::Subdomain(authority) => {
                write!(self.page, "<a href=\"//{}/ipfs/{cid}\">{cid}</a>", Escaped(authority))
            }
            Mount::Domain(_) => {
                write!(self.page, "<a href=\"{EXPLORER}#{cid}\" rel=\"noreferrer noopener\">{cid}</a>")
            }
        };
    }

    /// Ends a value that is shown.
    fn end(&mut self) {
        if !self.open.is_empty() {
            self.write("</li>\n");
        }
    }

    fn write(&mut self, text: &str) {
        self.page.push_str(text);
    }

    fn has_room(&self) -> bool {
        self.values < VALUES_MAX && self.page.len() - self.begin < TREE_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use atoll_content::reader::Kind;
    use atoll_core::Block;
    use atoll_core::block::DAG_JSON;

    use super::*;
    use crate::route::{Site, Target};

    fn shown(json: &str) -> String {
        let (cid, bytes) = Block::sha2_256(DAG_JSON, json.to_owned().into()).unwrap().into_parts();
        let kind = Kind::Data;
        let resolved =
            Resolved { cid, bytes, kind, meta: Default::default(), roots: vec![cid], trail: vec![], inside: 0 };
        let mount = Mount::Path(format!("/ipfs/{cid}"));
        let path = Target::on_own_host(Site::Root(cid), mount, "/a%3Cb/").unwrap().at(cid, None);
        let page = page(&path, &resolved, "dag-json");
        for tag in ["ul", "li", "b"] {
            let count = |tag: String| page.matches(&tag).count();
            assert_eq!(count(format!("<{tag}>")), count(format!("</{tag}>")), "{tag}: {page}");
        }
        page
    }

    #[test]
    fn values_cannot_become_markup() {
        let page = shown(r#"{"<b>":["\"><script>",{"/":{"bytes":"PHNjcmlwdD4"}}],"l":{"/":"bafkqaaa"}}"#);
        assert!(page.contains("<li><b>&lt;b&gt;</b>: <i>list</i><ul><li>&quot;&gt;&lt;script&gt;</li>"), "{page}");
        assert!(page.contains("<i>8 bytes</i> 3c7363726970743e"));
        assert!(page.contains("<a href=\"/ipfs/bafkqaaa\">bafkqaaa</a>"));
        assert!(!page.contains("<script") && !page.contains("a<b"));
    }

    #[test]
    fn a_page_shows_no_more_than_it_says() {
        let many = format!("[{}1]", "[{\"a\":5}],".repeat(VALUES_MAX));
        let page = shown(&many);
        assert!(page.contains(&format!("Another {} values", VALUES_MAX * 3 + 2 - VALUES_MAX)), "{}", page.len());
        let wide = format!("[{}1]", format!("\"{}\",", "&".repeat(300)).repeat(400));
        let page = shown(&wide);
        assert!(page.len() < TREE_BYTES_MAX + 16 * 1024 && page.contains("&amp;…") && page.contains("Another"));
        assert!(shown(&format!("\"{}\"", "a".repeat(BLOCK_BYTES_MAX))).contains("too large"));
        assert!(shown("{\"a\":").contains("not what its codec says"));
    }
}
