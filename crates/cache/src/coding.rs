//! Bodies in fewer bytes for who takes them so: made once for each stored body and coding, of what the origin sent plain (RFC 9110,
//! section 8.4). A crash loses them; they are made again.

use std::io::{self, Write as _};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::field;
use crate::fill::Filled;
use crate::stored::Stored;
use crate::vary;

/// Bodies of fewer or more bytes are not worth it.
const BODY_BYTES: (u64, u64) = (1024, 8 * 1024 * 1024);
/// The parts that a coded body is kept in, in bytes.
const PART_BYTES: usize = 1024 * 1024;
const ZSTD_LEVEL: i32 = 9;
const BROTLI_LEVEL: i32 = 5;
/// The base-2 logarithm of the window, which readers have to have in memory.
const BROTLI_WINDOW: i32 = 22;
/// Fields that say something about bytes that are no longer those.
const OF_BYTES: [HeaderName; 5] = [
    header::ACCEPT_RANGES,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
/// Types beside `text/…`, `…+json` and `…+xml` that become much smaller.
const TYPES: [&str; 13] = [
    "application/javascript",
    "application/json",
    "application/ld+json",
    "application/manifest+json",
    "application/rss+xml",
    "application/wasm",
    "application/x-javascript",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/x-icon",
];

/// A coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, the one that is preferred first.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// What it is called in fields.
    pub fn token(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// Those that a request takes no less gladly than the plain body, the most wanted first (RFC 9110, section 12.5.3).
    pub fn accepted(request: &HeaderMap) -> Vec<Self> {
        let ranked = vary::ranked(request, &header::ACCEPT_ENCODING);
        let of = |token: &str| ranked.iter().find(|(_, tag)| tag == token).map(|(less, _)| *less);
        let any = of("*");
        let plain = of("identity").unwrap_or(1000);
        let wanted = |coding: Self| Some((of(coding.token()).or(any)?, coding));
        let mut wanted: Vec<_> = Self::ALL.into_iter().filter_map(wanted).collect();
        wanted.retain(|(less, _)| *less < 1000 && *less <= plain);
        // It is stable, so that our own preference decides where the request has none.
        wanted.sort_by_key(|(less, _)| *less);
        wanted.into_iter().map(|(_, coding)| coding).collect()
    }

    /// A body in this coding; `None` if that is hardly smaller. It takes long.
    pub(crate) fn code(self, body: &Filled) -> io::Result<Option<Filled>> {
        let out = Vec::new();
        let coded = match self {
            Self::Zstd => {
                let mut coder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                body.parts.iter().try_for_each(|part| coder.write_all(part))?;
                coder.finish()?
            }
            Self::Brotli => {
                let params = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_LEVEL,
                    lgwin: BROTLI_WINDOW,
                    ..Default::default()
                };
                let mut coder = brotli::CompressorWriter::with_params(out, 64 * 1024, &params);
                body.parts.iter().try_for_each(|part| coder.write_all(part))?;
                coder.flush()?;
                coder.into_inner()
            }
            Self::Gzip => {
                let mut coder = flate2::write::GzEncoder::new(out, flate2::Compression::new(6));
                body.parts.iter().try_for_each(|part| coder.write_all(part))?;
                coder.finish()?
            }
        };
        let len = coded.len() as u64;
        let parts = coded.chunks(PART_BYTES).map(Bytes::copy_from_slice).collect();
        Ok((len < body.len / 10 * 9).then_some(Filled { parts, len, seal: None }))
    }
}

/// Whether a stored response may be sent coded, as far as is known; `len` is that of its body.
pub(crate) fn is_codable(stored: &Stored, len: Option<u64>) -> bool {
    let headers = stored.headers();
    let kept = |name: HeaderName| headers.contains_key(name);
    let no_transform =
        field::members(headers, &header::CACHE_CONTROL).any(|member| member.eq_ignore_ascii_case(b"no-transform"));
    let fits = len.is_none_or(|len| (BODY_BYTES.0..=BODY_BYTES.1).contains(&len));
    let plain = !kept(header::CONTENT_ENCODING) && !kept(header::CONTENT_RANGE);
    stored.status() == StatusCode::OK && fits && plain && !no_transform && is_compressible(headers)
}

fn is_compressible(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // Events are to arrive one by one.
    let text = kind.starts_with("text/") && kind != "text/event-stream";
    text || kind.ends_with("+json") || kind.ends_with("+xml") || TYPES.contains(&&*kind)
}

/// Makes fields those of a response that others get in another coding.
pub fn vary_by_coding(headers: &mut HeaderMap) {
    let named = field::members(headers, &header::VARY)
        .any(|member| member == b"*" || member.eq_ignore_ascii_case(header::ACCEPT_ENCODING.as_str().as_bytes()));
    if !named {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes a tag one of all codings: others code to other bytes (RFC 9110, section 8.8.3.3).
pub fn weaken(headers: &mut HeaderMap) {
    if let Some(tag) = headers.get(header::ETAG).filter(|tag| tag.as_bytes().starts_with(b"\""))
        && let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat())
    {
        headers.insert(header::ETAG, weak);
    }
}

/// Makes fields those of the response in a coding, of so many bytes.
pub fn describe(headers: &mut HeaderMap, coding: Coding, len: u64) {
    weaken(headers);
    for name in OF_BYTES {
        headers.remove(name);
    }
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn accepting(value: &'static str) -> Vec<Coding> {
        Coding::accepted(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn what_is_wanted_most_comes_first() {
        use Coding::{Brotli, Gzip, Zstd};
        assert_eq!(accepting("gzip, deflate, br, zstd"), [Zstd, Brotli, Gzip]);
        assert_eq!(accepting("GZIP;q=1.0, br;q=0.5"), [Gzip, Brotli]);
        assert_eq!(accepting("br;q=0, *;q=0.2"), [Zstd, Gzip]);
        assert_eq!(accepting("identity, gzip;q=0.5"), []);
        assert_eq!(accepting("gzip;q=0"), []);
        assert_eq!(accepting(""), []);
        assert_eq!(Coding::accepted(&HeaderMap::new()), []);
    }

    #[test]
    fn coded_bodies_are_the_same() {
        let text = "calm water inside the ring, ".repeat(100_000).into_bytes();
        let parts = text.chunks(300_000).map(Bytes::copy_from_slice).collect();
        let body = Filled { parts, len: text.len() as u64, seal: None };
        for coding in Coding::ALL {
            let coded = coding.code(&body).unwrap().unwrap().parts.concat();
            let mut read = Vec::new();
            match coding {
                Coding::Zstd => read = zstd::decode_all(&coded[..]).unwrap(),
                Coding::Brotli => drop(brotli::Decompressor::new(&coded[..], 4096).read_to_end(&mut read).unwrap()),
                Coding::Gzip => drop(flate2::read::GzDecoder::new(&coded[..]).read_to_end(&mut read).unwrap()),
            }
            assert!(read == text && coded.len() < text.len() / 100, "{coding:?}: {} bytes", coded.len());
        }
        let mut state = 1_u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        let noise: Vec<u8> = (0..10_000).map(|_| noise()).collect();
        let body = Filled { len: noise.len() as u64, parts: vec![noise.into()], seal: None };
        assert!(Coding::ALL.iter().all(|coding| coding.code(&body).unwrap().is_none()));
    }

    #[test]
    fn a_coded_response_says_so() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("etag", "\"1\""), ("vary", "foo"), ("accept-ranges", "bytes"), ("digest", "x")] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        vary_by_coding(&mut headers);
        vary_by_coding(&mut headers);
        describe(&mut headers, Coding::Gzip, 9);
        assert_eq!(field::joined(&headers, &header::VARY), b"foo, accept-encoding");
        assert_eq!(
            (&headers["etag"], &headers["content-encoding"]),
            (&"W/\"1\"".parse().unwrap(), &"gzip".parse().unwrap())
        );
        assert_eq!(headers["content-length"], "9");
        assert!(!headers.contains_key("accept-ranges") && !headers.contains_key("digest"));
    }
}
