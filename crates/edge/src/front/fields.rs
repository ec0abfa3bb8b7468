//! Fields that HTTP/2 carries and HTTP/1.1, in which origins are spoken to, does not, or which some servers there read otherwise.
//! Over HTTP/1 the guard has refused them by their bytes. Pure; a crash loses nothing.

use atoll_fallback::hops;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};

use crate::failure::Failure;

/// Refuses what no origin is to see.
///
/// # Errors
/// [`Failure::FieldMalformed`].
pub(super) fn check<B>(request: &Request<B>) -> Result<(), Failure> {
    if request.version() <= Version::HTTP_11 {
        return Ok(());
    }
    let fields = request.headers();
    let lengths = fields.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || !fields.iter().all(|(name, value)| is_sound(name, value)) {
        return Err(Failure::FieldMalformed);
    }
    Ok(())
}

/// What an origin sees of a visitor's trailers.
pub(super) fn trailers(mut trailers: HeaderMap) -> HeaderMap {
    hops::strip_trailers(&mut trailers);
    let doubtful = trailers.iter().filter(|(name, value)| !is_sound(name, value)).map(|(name, _)| name.clone());
    for name in doubtful.collect::<Vec<_>>() {
        trailers.remove(name);
    }
    trailers
}

/// Whether it has one reading: no space around its value (RFC 9113, section 8.2.1), and no name that some servers take for one of the
/// body's length.
fn is_sound(name: &HeaderName, value: &HeaderValue) -> bool {
    let space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let bytes = value.as_bytes();
    let name = name.as_str();
    let alike = name.contains('_') && matches!(&*name.replace('_', "-"), "content-length" | "transfer-encoding");
    !alike && !space(bytes.first()) && !space(bytes.last())
}
