//! Request smuggling through the proxy: each class of doubt is refused, or the server behind sees exactly one message that can be
//! read in one way only. The classes are those of the HTTP Garden, llhttp and smuggler.

mod answers;
mod cases;
mod frames;
mod http1;
mod http2;
mod witness;

use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;

use crate::secure;

/// What a smuggler hides in a body; no server is ever to see it as a request.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: shop.example\r\n\r\n";

/// All that is answered until the connection ends, and whether it was ended rather than broken off.
fn rest(tcp: &mut TcpStream) -> (String, bool) {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    let ended = loop {
        match tcp.read(&mut buffer) {
            Ok(0) => break true,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(cause) => {
                let broken = matches!(cause.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe);
                assert!(broken, "the connection stays open: {cause}");
                break false;
            }
        }
    };
    (String::from_utf8_lossy(&answer).into_owned(), ended)
}
