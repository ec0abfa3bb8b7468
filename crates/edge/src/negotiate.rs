//! Which form of the content a client asks for (Trustless Gateway, IPIP-402, 412, 523). Pure; a crash loses nothing.

use atoll_content::export::Selection;
use http::{HeaderMap, HeaderValue, header};
use percent_encoding::percent_decode_str;

use crate::failure::Failure;

mod car;

use car::CarAsked;

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
    /// Whether the URL and the `Accept` header ask for different forms, or for details of the same.
    pub(crate) contested: bool,
    /// What the `Accept` header decided beside the format, as parameters of a URL.
    pub(crate) details: Vec<&'static str>,
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
    Car(Selection),
    /// Files and directories, as an archive.
    Tar,
    /// IPLD data.
    Data(DataFormat),
    /// The signed record of a name.
    IpnsRecord,
    /// What the site's bundle says of the path, proved.
    Proof,
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
                key => asked.car.parameter(key, &value)?,
            }
        }
        let accepted = if asked.form.is_some() { accept(headers).unwrap_or(None) } else { accept(headers)? };
        wanted.by_accept = asked.form.is_none() && accepted.is_some();
        wanted.contested = accepted.is_some_and(|accepted| asked.form.is_some_and(|form| form != accepted.form));
        wanted.decide(&asked, accepted);
        Ok(wanted)
    }

    fn decide(&mut self, asked: &Asked, accepted: Option<Accepted>) {
        self.format = match asked.form.or(accepted.map(|accepted| accepted.form)) {
            None => Format::UnixFs,
            Some(Form::Raw) => Format::Raw,
            Some(Form::Tar) => Format::Tar,
            Some(Form::Data(format)) => Format::Data(format),
            Some(Form::IpnsRecord) => Format::IpnsRecord,
            Some(Form::Proof) => Format::Proof,
            Some(Form::Car) => {
                // What `Accept` says about a CAR counts only where it asks for one.
                let accepted = accepted.filter(|accepted| accepted.form == Form::Car).map(|accepted| accepted.car);
                let accepted = accepted.unwrap_or_default();
                self.contested |= accepted.has_details();
                self.details = accepted.details_beyond(&asked.car);
                Format::Car(asked.car.or(accepted).selection())
            }
        };
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
    car: CarAsked,
}

/// What an `Accept` header asks for.
#[derive(Clone, Copy)]
struct Accepted {
    form: Form,
    /// How much it is liked, from 0 to 1 (RFC 9110, section 12.4.2).
    quality: f32,
    car: CarAsked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Raw,
    Car,
    Tar,
    Data(DataFormat),
    IpnsRecord,
    Proof,
}

/// The forms by their names in `format=` and in `Accept`.
const FORMS: [(Form, &str, &str); 9] = [
    (Form::Raw, "raw", "application/vnd.ipld.raw"),
    (Form::Car, "car", "application/vnd.ipld.car"),
    (Form::Tar, "tar", "application/x-tar"),
    (Form::Data(DataFormat::DagJson), "dag-json", "application/vnd.ipld.dag-json"),
    (Form::Data(DataFormat::DagCbor), "dag-cbor", "application/vnd.ipld.dag-cbor"),
    (Form::Data(DataFormat::Json), "json", "application/json"),
    (Form::Data(DataFormat::Cbor), "cbor", "application/cbor"),
    (Form::IpnsRecord, "ipns-record", "application/vnd.ipfs.ipns-record"),
    (Form::Proof, "atoll-proof", "application/vnd.atoll.proof"),
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

/// The form that an `Accept` header likes best of those that we know; of equals the first. Browsers name none of them.
///
/// # Errors
/// What is wrong with the first, if it names nothing but variants that we do not serve.
fn accept(headers: &HeaderMap) -> Result<Option<Accepted>, Failure> {
    let (mut best, mut refused) = (None::<Accepted>, None);
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for item in values.flat_map(|value| value.split(',').take(PARAMETERS_MAX)) {
        match accepted(item) {
            Ok(Some(accepted)) if best.is_none_or(|best| accepted.quality > best.quality) => best = Some(accepted),
            Ok(_) => {}
            Err(failure) => refused = refused.or(Some(failure)),
        }
    }
    refused.filter(|_| best.is_none()).map_or(Ok(best), Err)
}

/// One item of an `Accept` header, if it is a form that we know and that the client wants at all.
fn accepted(item: &str) -> Result<Option<Accepted>, Failure> {
    let mut parts = item.split(';').map(str::trim);
    let Some(form) = parts.next().and_then(Form::by_type) else { return Ok(None) };
    let mut accepted = Accepted { form, quality: 1.0, car: CarAsked::default() };
    for (key, value) in parts.filter_map(|part| part.split_once('=')) {
        match (key.trim(), value.trim().trim_matches('"')) {
            ("q", quality) => accepted.quality = quality.parse().unwrap_or(1.0),
            (key, value) if form == Form::Car => accepted.car.media_parameter(key, value)?,
            _ => {}
        }
    }
    Ok(Some(accepted).filter(|accepted| accepted.quality > 0.0))
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
        assert_eq!((wanted.format, wanted.by_accept), (Format::Car(Selection::default()), true));
        assert_eq!(parse("", "text/html,*/*;q=0.8").unwrap().format, Format::UnixFs);
    }

    #[test]
    fn of_several_forms_the_one_that_is_liked_best_is_sent() {
        let of = |accept: &str| parse("", accept).unwrap().format;
        assert_eq!(of("application/vnd.ipld.raw;q=0.5, application/vnd.ipld.car"), Format::Car(Selection::default()));
        assert_eq!(of("application/vnd.ipld.raw, application/vnd.ipld.car"), Format::Raw);
        assert_eq!(of("application/vnd.ipld.raw;q=0, */*"), Format::UnixFs);
        // The first choice is a variant that we do not have.
        let second = of("application/vnd.ipld.car;order=foo, application/vnd.ipld.car;order=dfs;dups=y;q=0.5");
        assert_eq!(second, Format::Car(Selection { repeats: true, ..Selection::default() }));
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
