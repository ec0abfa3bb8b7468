//! IPLD data: a block as it is, in its own codec only (IPIP-524), or a page for people.

use atoll_content::reader::Resolved;
use atoll_core::block::{CBOR, DAG_CBOR, DAG_JSON, DAG_PB, JSON, RAW};
use atoll_core::data::is_data;
use http::{HeaderValue, Response, header};

use super::Reading;
use crate::body::Body;
use crate::failure::Failure;
use crate::negotiate::DataFormat;
use crate::respond::{self, preview, redirect};

/// How blocks in a form are sent.
struct Form {
    content_type: HeaderValue,
    /// Its name in `format=` and in tags.
    name: &'static str,
    /// Of a file in which it is saved.
    extension: &'static str,
    /// Whether browsers can show it.
    inline: bool,
}

impl DataFormat {
    fn form(self) -> Form {
        let form = |content_type, name, extension| Form {
            content_type: HeaderValue::from_static(content_type),
            name,
            extension,
            inline: extension == "json",
        };
        match self {
            Self::DagJson => form("application/vnd.ipld.dag-json", "dag-json", "json"),
            Self::DagCbor => form("application/vnd.ipld.dag-cbor", "dag-cbor", "cbor"),
            Self::Json => form("application/json", "json", "json"),
            Self::Cbor => form("application/cbor", "cbor", "cbor"),
        }
    }

    /// The form that blocks of `codec` have.
    fn of_codec(codec: u64) -> Option<Self> {
        match codec {
            DAG_JSON => Some(Self::DagJson),
            DAG_CBOR => Some(Self::DagCbor),
            JSON => Some(Self::Json),
            CBOR => Some(Self::Cbor),
            _ => None,
        }
    }

    /// Whether blocks of `codec` are in this form as they are. dag-json is JSON, and dag-cbor is CBOR.
    fn is_form_of(self, codec: u64) -> bool {
        match self {
            Self::Json => matches!(codec, JSON | DAG_JSON),
            Self::Cbor => matches!(codec, CBOR | DAG_CBOR),
            other => Self::of_codec(codec) == Some(other),
        }
    }
}

impl Reading<'_> {
    /// The form that was asked for, if the block has it. A file is shown to whoever asks for JSON or CBOR: what is in a file is
    /// known to who asks for it.
    pub(super) async fn data(&self, resolved: &Resolved, format: DataFormat) -> Result<Response<Body>, Failure> {
        let codec = resolved.cid.codec();
        match (format, codec) {
            (DataFormat::Json | DataFormat::Cbor, DAG_PB | RAW) => self.shown(resolved).await,
            _ if format.is_form_of(codec) => Ok(self.data_block(resolved, &format.form())),
            _ => Err(Failure::Codec(codec)),
        }
    }

    /// A block to whoever did not say in which form: a page, if pages are accepted.
    pub(super) fn data_shown(&self, resolved: &Resolved) -> Result<Response<Body>, Failure> {
        let codec = resolved.cid.codec();
        let format = DataFormat::of_codec(codec).ok_or(Failure::Codec(codec))?;
        if !is_data(codec) || self.wanted.download || !self.accepts_pages() {
            return Ok(self.data_block(resolved, &format.form()));
        }
        if !self.path.slash {
            return Ok(redirect::to_slash(self.path, self.request.uri.query()));
        }
        let headers = preview::headers(self.path, resolved);
        if headers.get(header::ETAG).is_some_and(|etag| respond::none_match(&self.request.headers, etag)) {
            return Ok(respond::not_modified(&headers));
        }
        Ok(preview::respond(headers, self.path, resolved, format.form().name))
    }

    fn accepts_pages(&self) -> bool {
        let accepted = self.request.headers.get_all(header::ACCEPT).iter();
        accepted.filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
    }

    fn data_block(&self, resolved: &Resolved, form: &Form) -> Response<Body> {
        let etag = format!("\"{}.{}\"", resolved.cid, form.name);
        let mut described = self.described(resolved, &etag, form.content_type.clone(), resolved.bytes.len() as u64);
        let name = self.wanted.filename.clone().unwrap_or_else(|| format!("{}.{}", resolved.cid, form.extension));
        if let Some(value) = respond::named(Some(name), self.wanted.download || !form.inline) {
            described.headers.insert(header::CONTENT_DISPOSITION, value);
        }
        self.locate(&mut described.headers, form.name);
        described.respond_from(&self.request.headers, std::slice::from_ref(&resolved.bytes))
    }
}
