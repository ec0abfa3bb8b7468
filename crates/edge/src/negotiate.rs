//! Which form of the content a client asks for (Trustless Gateway, IPIP-402, 412, 523). Pure; a crash loses nothing.

use atoll_content::export::Scope;
use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::failure::Failure;

/// The most parameters of a query that are looked at.
const PARAMETERS_MAX: usize = 32;
/// The longest file name that a client may wish for, in bytes.
const FILENAME_BYTES_MAX: usize = 255;

/// What a client asks for beside the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) format: Format,
    /// Whether the `Accept` header, not the URL, decided on the format.
    pub(crate) by_accept: bool,
    /// The name under which a browser is to save it.
    pub(crate) filename: Option<String>,
    /// Whether a browser is to save it at once.
    pub(crate) download: bool,
}

/// The forms that are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Files and directories.
    #[default]
    UnixFs,
    /// One block.
    Raw,
    /// Many blocks.
    Car(Scope),
}

impl Wanted {
    /// Reads it from a query and the headers. The URL beats the `Accept` header.
    ///
    /// # Errors
    /// [`Failure::Format`] for forms that are not served, [`Failure::QueryMalformed`] for values that mean nothing.
    pub(crate) fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let mut asked = Asked::default();
        for (key, value) in parameters(query.unwrap_or_default())? {
            match &*key {
                "format" => asked.format = Some(format(&value)?),
                "filename" if value.len() > FILENAME_BYTES_MAX => {
                    return Err(Failure::QueryMalformed("The filename is too long."));
                }
                "filename" => wanted.filename = Some(value).filter(|name| !name.is_empty()),
                "download" => wanted.download = value == "true",
                "dag-scope" => asked.scope = Some(scope(&value)?),
                "entity-bytes" => asked.entity_bytes = entity_bytes(&value)?,
                "car-version" => one_of(&value, &["1"], "The car-version is not 1.")?,
                "car-order" => one_of(&value, &["dfs", "unk"], "The car-order is neither dfs nor unk.")?,
                "car-dups" => one_of(&value, &["y", "n"], "The car-dups is neither y nor n.")?,
                _ => {}
            }
        }
        let accepted = if asked.format.is_none() { accept(headers)? } else { None };
        wanted.by_accept = accepted.is_some();
        wanted.format = asked.decide(accepted);
        Ok(wanted)
    }
}

/// What a query asks for.
#[derive(Default)]
struct Asked {
    format: Option<Form>,
    scope: Option<Scope>,
    entity_bytes: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Car,
}

impl Asked {
    fn decide(&self, accepted: Option<Form>) -> Format {
        // A range of a file implies `entity`; the blocks of the whole file contain those of any range.
        let scope = self.scope.or(self.entity_bytes.then_some(Scope::Entity)).unwrap_or_default();
        match self.format.or(accepted) {
            None => Format::UnixFs,
            Some(Form::Raw) => Format::Raw,
            Some(Form::Car) => Format::Car(scope),
        }
    }
}

/// The decoded parameters of a query.
fn parameters(query: &str) -> Result<Vec<(String, String)>, Failure> {
    let decode = |raw: &str| {
        let text = raw.replace('+', " ");
        percent_decode_str(&text).decode_utf8().map(String::from)
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX);
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(key)?, decode(value)?))
        })
        .collect::<Result<_, std::str::Utf8Error>>()
        .map_err(|_| Failure::QueryMalformed("The query is not UTF-8."))
}

fn format(value: &str) -> Result<Form, Failure> {
    match value {
        "raw" => Ok(Form::Raw),
        "car" => Ok(Form::Car),
        "dag-json" | "dag-cbor" | "json" | "cbor" => Err(Failure::Format("of IPLD data")),
        "tar" => Err(Failure::Format("tar")),
        "ipns-record" => Err(Failure::Format("ipns-record")),
        _ => Err(Failure::QueryMalformed("The format is neither raw nor car.")),
    }
}

fn scope(value: &str) -> Result<Scope, Failure> {
    match value {
        "block" => Ok(Scope::Block),
        "entity" => Ok(Scope::Entity),
        "all" => Ok(Scope::All),
        _ => Err(Failure::QueryMalformed("The dag-scope is neither block, entity nor all.")),
    }
}

/// Checks `from:to`, and says whether it is more than the whole.
fn entity_bytes(value: &str) -> Result<bool, Failure> {
    let malformed = || Failure::QueryMalformed("The entity-bytes are not FROM:TO.");
    let (from, to) = value.split_once(':').ok_or_else(malformed)?;
    let from: i64 = from.parse().map_err(|_| malformed())?;
    let to: Option<i64> = if to == "*" { None } else { Some(to.parse().map_err(|_| malformed())?) };
    // Two positions counted from the same end can be compared at once.
    if to.is_some_and(|to| (from < 0) == (to < 0) && to < from) {
        return Err(malformed());
    }
    Ok(true)
}

fn one_of(value: &str, allowed: &[&str], otherwise: &'static str) -> Result<(), Failure> {
    if allowed.contains(&value) { Ok(()) } else { Err(Failure::QueryMalformed(otherwise)) }
}

/// The first form that an `Accept` header names and we know. Browsers name none of them.
fn accept(headers: &HeaderMap) -> Result<Option<Form>, Failure> {
    for value in headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',').take(PARAMETERS_MAX) {
            let mut parts = item.split(';').map(str::trim);
            match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/vnd.ipld.raw" => return Ok(Some(Form::Raw)),
                "application/vnd.ipld.car" => {
                    let version = parts.find_map(|part| part.strip_prefix("version="));
                    one_of(version.unwrap_or("1").trim_matches('"'), &["1"], "Only CAR version 1 is served.")?;
                    return Ok(Some(Form::Car));
                }
                "application/vnd.ipld.dag-json" | "application/vnd.ipld.dag-cbor" => {
                    return Err(Failure::Format("of IPLD data"));
                }
                "application/vnd.ipfs.ipns-record" => return Err(Failure::Format("ipns-record")),
                "application/x-tar" => return Err(Failure::Format("tar")),
                _ => {}
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str, accept: &str) -> Result<Wanted, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Wanted::parse(Some(query), &headers)
    }

    #[test]
    fn the_url_beats_the_header() {
        let wanted = parse("format=raw", "application/vnd.ipld.car").unwrap();
        assert_eq!((wanted.format, wanted.by_accept), (Format::Raw, false));
        let wanted = parse("", "text/html, application/vnd.ipld.car;version=1; order=dfs").unwrap();
        assert_eq!((wanted.format, wanted.by_accept), (Format::Car(Scope::All), true));
        assert_eq!(parse("", "text/html,*/*;q=0.8").unwrap().format, Format::UnixFs);
    }

    #[test]
    fn a_range_of_a_file_implies_its_entity() {
        assert_eq!(parse("format=car&entity-bytes=0:*", "").unwrap().format, Format::Car(Scope::Entity));
        assert_eq!(
            parse("format=car&entity-bytes=-9:-2&dag-scope=block", "").unwrap().format,
            Format::Car(Scope::Block)
        );
        for bad in ["9:1", "-1:-9", "1", "x:y", ":", "1:", "99999999999999999999:*"] {
            assert!(parse(&format!("format=car&entity-bytes={bad}"), "").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_name_is_decoded_and_bounded() {
        let wanted = parse("filename=a+b%C4%85.txt&download=true", "").unwrap();
        assert_eq!((wanted.filename.as_deref(), wanted.download), (Some("a bą.txt"), true));
        assert!(parse(&format!("filename={}", "x".repeat(256)), "").is_err());
        assert!(parse("filename=%ff", "").is_err());
    }

    #[test]
    fn what_is_not_served_is_said() {
        assert!(matches!(parse("format=tar", ""), Err(Failure::Format("tar"))));
        assert!(matches!(parse("format=gif", ""), Err(Failure::QueryMalformed(_))));
        assert!(matches!(parse("", "application/vnd.ipld.car;version=2"), Err(Failure::QueryMalformed(_))));
    }
}
