//! Ending a connection so that its client reads what was said last: closing a socket that has bytes unread resets the connection,
//! and what is still under way to the client is lost.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// How long a client may take to hear it.
const LINGER: Duration = Duration::from_secs(1);
/// The most that it may still send meanwhile, in bytes.
const UNREAD_BYTES_MAX: usize = 256 * 1024;

/// Says that nothing more comes, and reads what the client still sends until it ends too, within a second.
pub(crate) async fn close(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let closing = async {
        stream.shutdown().await?;
        let (mut unread, mut all) = ([0; 4096], 0_usize);
        while all < UNREAD_BYTES_MAX {
            match stream.read(&mut unread).await? {
                0 => break,
                more => all += more,
            }
        }
        std::io::Result::Ok(())
    };
    // Whoever does not listen is closed all the same.
    let _ = timeout(LINGER, closing).await;
}
