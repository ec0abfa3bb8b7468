//! Which form of the content a client asks for (Trustless Gateway, IPIP-402, 412, 523). Pure; a crash loses nothing.

use atoll_content::export::Scope;
use http::{HeaderMap, HeaderValue, header};
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
    Car(CarWanted),
    /// Files and directories, as an archive.
    Tar,
    /// IPLD data.
    Data(DataFormat),
    /// The signed record of a name.
    IpnsRecord,
}

/// Which blocks a CAR is to have, and how (IPIP-402, IPIP-412).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CarWanted {
    pub(crate) scope: Scope,
    /// The part of a file; `None` stands for all of it.
    pub(crate) range: Option<EntityRange>,
    /// Whether a block that comes again is sent again.
    pub(crate) dups: bool,
}

/// A range of a file's bytes as it was asked for; negative positions count from the end (IPIP-402).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityRange {
    pub(crate) from: i64,
    /// The last byte; `None` stands for the end.
    pub(crate) to: Option<i64>,
}

/// The forms of IPLD data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataFormat {
    DagJson,
    DagCbor,
    Json,
    Cbor,
}

impl Wanted {
    /// Reads it from a query and the headers. The URL beats the `Accept` header (IPIP-523).
    ///
    /// # Errors
    /// [`Failure::QueryMalformed`] for values that mean nothing.
    pub(crate) fn parse(query: Option<&str>, headers: &HeaderMap) -> Result<Self, Failure> {
        let mut wanted = Self::default();
        let mut asked = Asked::default();
        for (key, value) in parameters(query.unwrap_or_default())? {
            match &*key {
                "format" => asked.form = Form::by_name(&value),
                "filename" if value.len() > FILENAME_BYTES_MAX => {
                    return Err(Failure::QueryMalformed("The filename is too long."));
                }
                "filename" => wanted.filename = Some(value).filter(|name| !name.is_empty()),
                "download" => wanted.download = value == "true",
                "dag-scope" => asked.scope = Some(scope(&value)?),
                "entity-bytes" => asked.range = Some(entity_bytes(&value)?),
                "car-version" => one_of(&value, &["1"], "The car-version is not 1.")?,
                "car-order" => one_of(&value, &["dfs", "unk"], "The car-order is neither dfs nor unk.")?,
                "car-dups" => asked.dups = Some(dups(&value)?),
                _ => {}
            }
        }
        let accepted = accept(headers)?;
        wanted.by_accept = asked.form.is_none() && accepted.is_some();
        wanted.format = asked.decide(accepted);
        Ok(wanted)
    }
}

/// The URI that a query hands over (Subdomain Gateway, "URI router"); `None` if there is none.
pub(crate) fn uri(query: &str) -> Option<Result<String, Failure>> {
    match parameters(query) {
        Ok(parameters) => parameters.into_iter().find(|(key, _)| key == "uri").map(|(_, uri)| Ok(uri)),
        Err(failure) => Some(Err(failure)),
    }
}

/// Whether an `Accept` header names no form of ours, as browsers' do not.
pub(crate) fn is_plain(accept: &HeaderValue) -> bool {
    let plain = |item: &[u8]| {
        let media_type = item.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        FORMS.iter().all(|(.., known)| !known.as_bytes().eq_ignore_ascii_case(media_type))
    };
    accept.as_bytes().split(|byte| *byte == b',').all(plain)
}

/// What a query asks for.
#[derive(Default)]
struct Asked {
    form: Option<Form>,
    scope: Option<Scope>,
    range: Option<EntityRange>,
    dups: Option<bool>,
}

/// What an `Accept` header asks for.
#[derive(Clone, Copy)]
struct Accepted {
    form: Form,
    dups: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Car,
    Tar,
    Data(DataFormat),
    IpnsRecord,
}

/// The forms by their names in `format=` and in `Accept`.
const FORMS: [(Form, &str, &str); 8] = [
    (Form::Raw, "raw", "application/vnd.ipld.raw"),
    (Form::Car, "car", "application/vnd.ipld.car"),
    (Form::Tar, "tar", "application/x-tar"),
    (Form::Data(DataFormat::DagJson), "dag-json", "application/vnd.ipld.dag-json"),
    (Form::Data(DataFormat::DagCbor), "dag-cbor", "application/vnd.ipld.dag-cbor"),
    (Form::Data(DataFormat::Json), "json", "application/json"),
    (Form::Data(DataFormat::Cbor), "cbor", "application/cbor"),
    (Form::IpnsRecord, "ipns-record", "application/vnd.ipfs.ipns-record"),
];

impl Form {
    /// Names that stand for nothing are ignored, as other gateways do: scripts use `format` for their own ends.
    fn by_name(name: &str) -> Option<Self> {
        FORMS.into_iter().find(|(_, known, _)| *known == name).map(|(form, ..)| form)
    }

    fn by_type(media_type: &str) -> Option<Self> {
        FORMS.into_iter().find(|(.., known)| known.eq_ignore_ascii_case(media_type)).map(|(form, ..)| form)
    }
}

impl Asked {
    fn decide(&self, accepted: Option<Accepted>) -> Format {
        match self.form.or(accepted.map(|accepted| accepted.form)) {
            None => Format::UnixFs,
            Some(Form::Raw) => Format::Raw,
            Some(Form::Tar) => Format::Tar,
            Some(Form::Data(format)) => Format::Data(format),
            Some(Form::IpnsRecord) => Format::IpnsRecord,
            Some(Form::Car) => {
                // What `Accept` says about a CAR counts only where it asks for one.
                let accepted = accepted.filter(|accepted| accepted.form == Form::Car);
                let scope = self.scope.or(self.range.map(|_| Scope::Entity)).unwrap_or_default();
                let dups = self.dups.or(accepted.and_then(|accepted| accepted.dups)).unwrap_or(false);
                Format::Car(CarWanted { scope, range: self.range, dups })
            }
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

fn scope(value: &str) -> Result<Scope, Failure> {
    match value {
        "block" => Ok(Scope::Block),
        "entity" => Ok(Scope::Entity),
        "all" => Ok(Scope::All),
        _ => Err(Failure::QueryMalformed("The dag-scope is neither block, entity nor all.")),
    }
}

fn dups(value: &str) -> Result<bool, Failure> {
    one_of(value, &["y", "n"], "The duplicates of a CAR are neither y nor n.")?;
    Ok(value == "y")
}

fn entity_bytes(value: &str) -> Result<EntityRange, Failure> {
    let malformed = || Failure::QueryMalformed("The entity-bytes are not FROM:TO.");
    let (from, to) = value.split_once(':').ok_or_else(malformed)?;
    let from: i64 = from.parse().map_err(|_| malformed())?;
    let to: Option<i64> = if to == "*" { None } else { Some(to.parse().map_err(|_| malformed())?) };
    // Two positions counted from the same end can be compared at once.
    if to.is_some_and(|to| (from < 0) == (to < 0) && to < from) {
        return Err(malformed());
    }
    Ok(EntityRange { from, to })
}

fn one_of(value: &str, allowed: &[&str], otherwise: &'static str) -> Result<(), Failure> {
    if allowed.contains(&value) { Ok(()) } else { Err(Failure::QueryMalformed(otherwise)) }
}

/// The first form that an `Accept` header names and we know. Browsers name none of them.
fn accept(headers: &HeaderMap) -> Result<Option<Accepted>, Failure> {
    for value in headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for item in value.split(',').take(PARAMETERS_MAX) {
            let mut parts = item.split(';').map(str::trim);
            let Some(form) = parts.next().and_then(Form::by_type) else { continue };
            let mut accepted = Accepted { form, dups: None };
            for (key, value) in parts.filter_map(|part| part.split_once('=')).filter(|_| form == Form::Car) {
                match (key.trim(), value.trim().trim_matches('"')) {
                    ("version", version) => one_of(version, &["1"], "Only CAR version 1 is served.")?,
                    ("order", order) => one_of(order, &["dfs", "unk"], "The order is neither dfs nor unk.")?,
                    ("dups", value) => accepted.dups = Some(dups(value)?),
                    _ => {}
                }
            }
            return Ok(Some(accepted));
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
        assert_eq!((wanted.format, wanted.by_accept), (car(Scope::All), true));
        assert_eq!(parse("", "text/html,*/*;q=0.8").unwrap().format, Format::UnixFs);
    }

    fn car(scope: Scope) -> Format {
        Format::Car(CarWanted { scope, ..CarWanted::default() })
    }

    #[test]
    fn a_range_of_a_file_implies_its_entity() {
        let wanted = |query: &str| match parse(query, "").unwrap().format {
            Format::Car(wanted) => wanted,
            other => panic!("{other:?}"),
        };
        let all = wanted("format=car&entity-bytes=0:*");
        assert_eq!((all.scope, all.range), (Scope::Entity, Some(EntityRange { from: 0, to: None })));
        let end = wanted("format=car&entity-bytes=-9:-2&dag-scope=block&car-dups=y");
        assert_eq!(
            (end.scope, end.range, end.dups),
            (Scope::Block, Some(EntityRange { from: -9, to: Some(-2) }), true)
        );
        for bad in ["9:1", "-1:-9", "1", "x:y", ":", "1:", "99999999999999999999:*"] {
            assert!(parse(&format!("format=car&entity-bytes={bad}"), "").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_header_counts_for_the_form_it_names() {
        let dups = |query: &str, accept: &str| match parse(query, accept).unwrap().format {
            Format::Car(wanted) => wanted.dups,
            other => panic!("{other:?}"),
        };
        assert!(dups("", "application/vnd.ipld.car; dups=y"));
        assert!(dups("format=car", "application/vnd.ipld.car;dups=y"));
        assert!(!dups("format=car&car-dups=n", "application/vnd.ipld.car;dups=y"));
    }

    #[test]
    fn a_file_name_is_decoded_and_bounded() {
        let wanted = parse("filename=a+b%C4%85.txt&download=true", "").unwrap();
        assert_eq!((wanted.filename.as_deref(), wanted.download), (Some("a bą.txt"), true));
        assert!(parse(&format!("filename={}", "x".repeat(256)), "").is_err());
        assert!(parse("filename=%ff", "").is_err());
    }

    #[test]
    fn what_means_nothing_is_said_or_ignored() {
        assert_eq!(parse("format=gif", "").unwrap().format, Format::UnixFs);
        assert!(matches!(parse("", "application/vnd.ipld.car;version=2"), Err(Failure::QueryMalformed(_))));
    }
}
