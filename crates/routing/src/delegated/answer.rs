//! A router's answer, read as it comes: records out of a list or out of lines, within limits of size, count and time.

use std::collections::VecDeque;

use atoll_core::TransportError;
use atoll_core::delegated::{JSON, LineTooLong, Lines, NDJSON, NotAnAnswer, PeerRecord, records};
use serde::de::IgnoredAny;

use crate::http::Reader;

/// The most bytes that are looked at together.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// See the module.
pub(super) struct Answer {
    reader: Option<Reader>,
    form: Form,
    /// What may still come.
    bytes: usize,
    records: usize,
    pieces: VecDeque<bytes::Bytes>,
}

enum Form {
    /// A whole list, until it is read; then its records.
    List(Vec<u8>),
    Records(std::vec::IntoIter<PeerRecord>),
    Lines(Lines),
}

impl Answer {
    /// An answer of a media type; reads at most so many bytes and records of it.
    ///
    /// # Errors
    /// [`RouterError::MediaType`].
    pub(super) fn new(media_type: &str, reader: Reader, bytes: usize, records: usize) -> Result<Self, RouterError> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let form = match essence.as_str() {
            JSON => Form::List(Vec::new()),
            NDJSON => Form::Lines(Lines::default()),
            _ => return Err(RouterError::MediaType(essence.chars().take(64).collect())),
        };
        Ok(Self { reader: Some(reader), form, bytes, records, pieces: VecDeque::new() })
    }

    /// The next record; `None` at the end, or where a limit is. Can be dropped while it waits.
    ///
    /// # Errors
    /// [`RouterError`]; there is nothing more then.
    pub(super) async fn next(&mut self) -> Result<Option<PeerRecord>, RouterError> {
        while self.records > 0 {
            if let Some(record) = self.read()? {
                self.records = self.records.saturating_sub(1);
                return Ok(Some(record));
            }
            if !self.fill().await? {
                return self.last();
            }
        }
        Ok(None)
    }

    /// A record out of what is there.
    fn read(&mut self) -> Result<Option<PeerRecord>, RouterError> {
        match &mut self.form {
            Form::List(_) => Ok(None),
            Form::Records(records) => Ok(records.next()),
            Form::Lines(lines) => loop {
                while let Some(line) = lines.next_line()? {
                    if let Some(record) = of_line(line)? {
                        return Ok(Some(record));
                    }
                    // A record of an unknown schema is none of ours, but there is an end to them.
                    self.records = self.records.saturating_sub(1);
                    if self.records == 0 {
                        return Ok(None);
                    }
                }
                let Some(piece) = self.pieces.pop_front() else { return Ok(None) };
                lines.push(&piece);
            },
        }
    }

    /// Waits for more bytes; `false` at the end, or where the limit is.
    async fn fill(&mut self) -> Result<bool, RouterError> {
        let Some(reader) = self.reader.as_mut() else { return Ok(false) };
        let Some(mut data) = reader.next().await? else { return Ok(false) };
        if data.len() > self.bytes {
            if matches!(self.form, Form::List(_)) {
                return Err(RouterError::TooLarge);
            }
            // The lines so far were good.
            self.reader = None;
            data.truncate(self.bytes);
        }
        self.bytes = self.bytes.saturating_sub(data.len());
        match &mut self.form {
            Form::List(list) => list.extend_from_slice(&data),
            _ => {
                while !data.is_empty() {
                    self.pieces.push_back(data.split_to(data.len().min(PIECE_BYTES_MAX)));
                }
            }
        }
        Ok(true)
    }

    /// What is left when all bytes are there.
    fn last(&mut self) -> Result<Option<PeerRecord>, RouterError> {
        let was_cut = self.reader.take().is_none();
        match &mut self.form {
            Form::List(list) => {
                let mut all = records(list)?.into_iter();
                let first = all.next();
                self.form = Form::Records(all);
                Ok(first)
            }
            Form::Records(records) => Ok(records.next()),
            Form::Lines(lines) => {
                let last = if was_cut { None } else { lines.rest().map(of_line).transpose()?.flatten() };
                self.form = Form::Records(Vec::new().into_iter());
                Ok(last)
            }
        }
    }
}

/// The record in a line; `None` when it is of another kind.
fn of_line(line: &[u8]) -> Result<Option<PeerRecord>, RouterError> {
    match PeerRecord::parse(line) {
        Some(record) => Ok(Some(record)),
        None if serde_json::from_slice::<IgnoredAny>(line).is_ok() => Ok(None),
        None => Err(NotAnAnswer.into()),
    }
}

/// Why a router was of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouterError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("the answer is of type `{0}`")]
    MediaType(String),
    #[error("the answer is over delegated.routers.bytes_max")]
    TooLarge,
    #[error(transparent)]
    Line(#[from] LineTooLong),
    #[error(transparent)]
    Content(#[from] NotAnAnswer),
}
