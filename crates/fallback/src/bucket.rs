//! A bucket of an S3-compatible store as an origin: objects by their paths, requests signed (AWS Signature Version 4, in the query). The
//! secret is read from a file at the start, and is shown nowhere.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, header, response};
use percent_encoding::percent_decode_str;
use rusty_s3::actions::{GetObject, HeadObject};
use rusty_s3::{Bucket as Place, Credentials, S3Action as _, UrlStyle};
use serde::{Deserialize, Serialize};

use crate::body::{Answer, Download};
use crate::error::OriginError;

/// For how long a signed request is good: it is sent at once, and clocks differ.
const GOOD_FOR: Duration = Duration::from_secs(300);
/// What a path that ends with a slash stands for.
const INDEX: &str = "index.html";
/// The longest prefix, in bytes; a key of S3 has at most 1,024.
const PREFIX_BYTES_MAX: usize = 512;
/// The largest file of credentials, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// What an operator can set about a bucket; the origin's URL is that of its store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BucketConfig {
    /// What it is called; empty if the origin is none.
    pub name: String,
    /// What stands before the path of every object, as if it were a folder of the bucket; empty for all of the bucket.
    pub prefix: String,
    /// Its region.
    pub region: String,
    /// File with its key and its secret, a line each; empty if everybody may read it.
    pub credentials: String,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Bucket {
    place: Place,
    /// Empty, or with a slash at its end.
    prefix: String,
    /// The path of the URL that all objects are below.
    root: String,
    credentials: Option<Credentials>,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket").field("name", &self.place.name()).finish_non_exhaustive()
    }
}

impl Bucket {
    /// That of the settings, if there is one, in the store at `url`.
    ///
    /// # Errors
    /// What is wrong, naming the setting.
    pub(crate) fn of(config: &BucketConfig, url: &str) -> Result<Option<Self>, String> {
        if config.name.is_empty() {
            return Ok(None);
        }
        let url = url.parse().map_err(|_| format!("url: `{url}` is no URL of a store"))?;
        let place = Place::new(url, UrlStyle::Path, config.name.clone(), config.region.clone());
        let place = place.map_err(|error| format!("bucket.name: {error}"))?;
        let credentials = match &*config.credentials {
            "" => None,
            file => Some(credentials(Path::new(file)).map_err(|why| format!("bucket.credentials: {file}: {why}"))?),
        };
        let mut prefix = config.prefix.clone();
        if !prefix.is_empty() && !prefix.ends_with('/') {
            prefix.push('/');
        }
        let parts = prefix.strip_suffix('/').into_iter().flat_map(|prefix| prefix.split('/'));
        if prefix.len() > PREFIX_BYTES_MAX || parts.into_iter().any(|part| matches!(part, "" | "." | "..")) {
            return Err(format!("bucket.prefix: `{}` is not like a/b", config.prefix));
        }
        let root = place.object_url(&prefix).path().to_owned();
        Ok(Some(Self { place, prefix, root, credentials }))
    }

    /// What is asked for instead of a visitor's path, and what of the request stays behind: the store takes one kind of authorization.
    ///
    /// # Errors
    /// [`OriginError::ReadOnly`] for what changes something, [`OriginError::Outside`] for what leads out of the bucket.
    pub(crate) fn sign(
        &self,
        method: &Method,
        path: &str,
        headers: &mut HeaderMap,
    ) -> Result<PathAndQuery, OriginError> {
        for name in [header::AUTHORIZATION, header::COOKIE] {
            headers.remove(name);
        }
        let path = path.trim_start_matches('/');
        let mut object = format!("{}{}", self.prefix, percent_decode_str(path).decode_utf8_lossy());
        if object.is_empty() || object.ends_with('/') {
            object.push_str(INDEX);
        }
        let credentials = self.credentials.as_ref();
        let url = match *method {
            Method::GET => GetObject::new(&self.place, credentials, &object).sign(GOOD_FOR),
            Method::HEAD => HeadObject::new(&self.place, credentials, &object).sign(GOOD_FOR),
            _ => return Err(OriginError::ReadOnly),
        };
        // Dots in a path are followed by the URL's own rules.
        if !url.path().starts_with(&self.root) {
            return Err(OriginError::Outside);
        }
        let target = url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
        PathAndQuery::try_from(target).map_err(|error| OriginError::Broken(error.to_string()))
    }
}

/// What visitors are told instead of a store's failure, which names the key, what it had signed, and machines.
pub(crate) fn told(store: &response::Parts, asked: &Method) -> Answer {
    let status = store.status;
    let text = format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
    let (len, is_head) = (text.len(), *asked == Method::HEAD);
    let mut response = Response::new(Download::instead(if is_head { Bytes::new() } else { text.into() }));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, len.into());
    for name in [header::DATE, header::RETRY_AFTER, header::CONTENT_RANGE] {
        if let Some(value) = store.headers.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    Box::new(response)
}

/// The key and the secret of a file.
fn credentials(file: &Path) -> Result<Credentials, String> {
    let len = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if len > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(key), Some(secret), None) => Ok(Credentials::new(key, secret)),
        _ => Err("has not a key and a secret, a line each".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_asked_for_by_path_and_signed() {
        let config = BucketConfig { name: "site".into(), region: "eu-1".into(), ..BucketConfig::default() };
        let open = Bucket::of(&config, "http://127.0.0.1:9000").unwrap().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=b"));
        for (path, target) in [
            ("/", "/site/index.html"),
            ("/a/b%20c.png", "/site/a/b%20c.png"),
            ("/docs/", "/site/docs/index.html"),
            ("/a%3Fb", "/site/a%3Fb"),
        ] {
            assert_eq!(open.sign(&Method::GET, path, &mut headers).unwrap().as_str(), target);
        }
        for path in ["/../other/x", "/%2e%2e/other/x", "/a/..%2f../other/x", "//../x", "/.."] {
            let signed = open.sign(&Method::GET, path, &mut headers);
            assert!(signed.is_err() || signed.unwrap().as_str().starts_with("/site/"), "{path}");
        }
        assert!(headers.is_empty());
        assert!(matches!(open.sign(&Method::PUT, "/a", &mut headers), Err(OriginError::ReadOnly)));
        let below = |prefix: &str| {
            Bucket::of(&BucketConfig { prefix: prefix.into(), ..config.clone() }, "http://127.0.0.1:9000")
        };
        for prefix in ["v 1/web", "v 1/web/"] {
            let below = below(prefix).unwrap().unwrap();
            for (path, target) in [("/", "/site/v%201/web/index.html"), ("/a%20b", "/site/v%201/web/a%20b")] {
                assert_eq!(below.sign(&Method::GET, path, &mut headers).unwrap().as_str(), target);
            }
            for path in ["/../x", "/%2e%2e/x", "/..%2fx", "/a/../../x"] {
                let signed = below.sign(&Method::GET, path, &mut headers);
                assert!(signed.is_err() || signed.unwrap().as_str().starts_with("/site/v%201/web/"), "{path}");
            }
        }
        for prefix in ["/", "/a", "a//b", "../a", "a/..", "./", &"a".repeat(600)] {
            assert!(below(prefix).unwrap_err().contains("bucket.prefix"), "{prefix}");
        }
        let file = std::env::temp_dir().join(format!("atoll-bucket-{}", std::process::id()));
        std::fs::write(&file, "KEY\nSECRET\n").unwrap();
        let config = BucketConfig { credentials: file.to_str().unwrap().to_owned(), ..config };
        let signer = Bucket::of(&config, "https://store.example").unwrap().unwrap();
        let signed = signer.sign(&Method::HEAD, "/a", &mut headers).unwrap();
        assert!(signed.as_str().starts_with("/site/a?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F"));
        assert!(!format!("{signer:?}").contains("SECRET") && !signed.as_str().contains("SECRET"));
        std::fs::write(&file, "KEY").unwrap();
        assert!(Bucket::of(&config, "https://store.example").unwrap_err().contains("a line each"));
        std::fs::remove_file(&file).unwrap();
    }
}
