//! Whether an origin's answer says in one way how long it is. Pure.

use http::{HeaderValue, Response, header};

use crate::error::OriginError;

/// An answer that says in one way how long it is; a length beside chunks counts for nothing (RFC 9112, section 6.3).
pub(crate) fn framed<B>(mut response: Response<B>) -> Result<Response<B>, OriginError> {
    let headers = response.headers_mut();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    match (codings.next(), codings.next()) {
        (None, _) => {}
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") || is_of_no_meaning(coding) => {
            headers.remove(header::CONTENT_LENGTH);
        }
        _ => return Err(OriginError::Broken("the answer has a transfer coding that is not undone here".to_owned())),
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter().map(HeaderValue::as_bytes);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(response),
        (Some(length), None) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => Ok(response),
        _ => Err(OriginError::Broken("the length of the answer is in doubt".to_owned())),
    }
}

/// Whether it names a coding that nobody knows: the body is whatever comes until the connection closes (RFC 9112, section 6.3).
fn is_of_no_meaning(coding: &[u8]) -> bool {
    let known = ["gzip", "x-gzip", "deflate", "compress", "x-compress", "identity", "br", "zstd"];
    let is_known = |coding: &[u8]| known.iter().any(|known| coding.eq_ignore_ascii_case(known.as_bytes()));
    let says_chunked = coding.to_ascii_lowercase().windows(7).any(|part| part == b"chunked");
    let is_token = !coding.is_empty() && coding.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
    is_token && !says_chunked && !is_known(coding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_in_one_way_how_long_it_is() {
        let framed = |fields: &[(&'static str, &'static str)]| {
            let mut response = Response::new(());
            for (name, value) in fields {
                response.headers_mut().append(*name, HeaderValue::from_static(value));
            }
            framed(response).map(|response| response.headers().contains_key("content-length"))
        };
        let (length, coding) = ("content-length", "transfer-encoding");
        for (fields, has_length) in [
            (&[][..], false),
            (&[(length, "3")], true),
            (&[(length, "3"), (coding, "Chunked")], false),
            (&[(length, "3"), (coding, "nobody-knows1")], false),
        ] {
            assert_eq!(framed(fields).ok(), Some(has_length), "{fields:?}");
        }
        for fields in [
            &[(length, "3"), (length, "3")][..],
            &[(length, "")],
            &[(length, "+3")],
            &[(coding, "gzip")],
            &[(coding, "gzip, chunked")],
            &[(coding, "xchunked")],
            &[(coding, "chunked"), (coding, "chunked")],
        ] {
            assert!(framed(fields).is_err(), "{fields:?}");
        }
    }
}
