//! The least of an HTTP/1.1 client: what wrk cannot do, such as asking for each file once, or reading one long stream. It
//! costs every server the same.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// A connection that stays open between requests.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    host: String,
}

impl Connection {
    /// Connects to `HOST:PORT`.
    pub(super) fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(BUFFER_BYTES, stream), host: address.to_owned() })
    }

    /// Gets a target, hands every part of the whole body on, and returns the status. `header` is empty or one line.
    pub(super) fn get(&mut self, target: &str, header: &str, mut part: impl FnMut(&[u8])) -> Result<u16> {
        let (host, line) = (&self.host, if header.is_empty() { String::new() } else { format!("{header}\r\n") });
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{line}\r\n");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let (status, length) = self.head()?;
        match length {
            Some(length) => self.take(length, &mut part)?,
            None => self.chunks(&mut part)?,
        }
        Ok(status)
    }

    /// The status, and the length unless the body comes in chunks.
    fn head(&mut self) -> Result<(u16, Option<u64>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        let mut length = None;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                return Ok((status, length));
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
    }

    fn chunks(&mut self, part: &mut impl FnMut(&[u8])) -> Result<()> {
        loop {
            let size = u64::from_str_radix(&self.line()?, 16).context("the size of a chunk")?;
            self.take(size, part)?;
            ensure!(self.line()?.is_empty(), "a chunk goes on behind its end");
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn take(&mut self, length: u64, part: &mut impl FnMut(&[u8])) -> Result<()> {
        let mut left = length;
        while left > 0 {
            let bytes = self.stream.fill_buf()?;
            let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            ensure!(taken > 0, "the answer ended {left} bytes before its end");
            part(&bytes[..taken]);
            self.stream.consume(taken);
            left -= taken as u64;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        const LINE_BYTES_MAX: u64 = 64 * 1024;
        let mut line = String::new();
        (&mut self.stream).take(LINE_BYTES_MAX).read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => bail!("the answer broke off within a line"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn fetched(answer: &'static str) -> Result<(u16, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(answer.as_bytes()).unwrap());
        let mut body = String::new();
        let status = Connection::open(&address)?.get("/", "", |part| body += &String::from_utf8_lossy(part));
        server.join().unwrap();
        Ok((status?, body))
    }

    #[test]
    fn a_body_is_read_to_its_end_and_no_part_passes_for_a_whole() {
        let whole = "HTTP/1.1 206 Partial Content\r\nContent-Length: 4\r\n\r\ncalm";
        assert_eq!(fetched(whole).unwrap(), (206, "calm".to_owned()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nca\r\n2\r\nlm\r\n0\r\n\r\n";
        assert_eq!(fetched(chunked).unwrap(), (200, "calm".to_owned()));
        assert!(fetched("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ncalm").is_err());
        assert!(fetched("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nca\r\n").is_err());
    }
}
