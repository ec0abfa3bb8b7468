//! Request smuggling through the proxy: each class of doubt is refused, or the server behind sees exactly one message that can be
//! read in one way only. The classes are those of the HTTP Garden, llhttp and smuggler.

mod cases;
mod frames;
mod http1;
mod http2;
mod witness;

use crate::secure;

/// What a smuggler hides in a body; no server is ever to see it as a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n";
