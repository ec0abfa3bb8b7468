//! Deny lists (Compact Denylist Format, IPIP-383): rules, what they mean, and which of them decides.
//!
//! A list is a text file: an optional YAML header, then a rule a line. Of all rules that match, the last in the file
//! decides, and a later list before an earlier one. Anyone may have written a list, so that lines, rules and memory are
//! bounded; a list that breaks a bound is refused whole, a rule that is not understood is skipped and reported.

pub mod header;
pub mod lists;
pub mod rule;
pub mod table;

use std::io::{BufRead, Cursor, Read};

use crate::error::DenyError;
use header::{HEADER_SEARCH_BYTES_MAX, Header};
use rule::Rule;
use table::{Builder, Table};

/// The longest line, in bytes with its end (IPIP-383, "File syntax").
pub const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// The longest rule, in bytes: longer paths cannot be asked for. Comments may be longer.
pub const RULE_BYTES_MAX: usize = 16 * 1024;
/// The most rules that are reported as not understood.
pub const PROBLEMS_MAX: usize = 20;

/// A list that was read.
#[derive(Debug)]
pub struct List {
    /// What its header says.
    pub header: Header,
    /// Its rules.
    pub table: Table,
    /// How many rules were not understood, and are not held.
    pub skipped: usize,
    /// The first of them: line, counted from 1, and what is wrong.
    pub problems: Vec<(u32, &'static str)>,
}

impl List {
    /// Reads a list of at most so many rules.
    ///
    /// # Errors
    /// [`DenyError`] if it is to be refused whole.
    pub fn read(mut reader: impl BufRead, rules_max: usize) -> Result<Self, DenyError> {
        let mut line = 0_u32;
        let before = header::find(&mut reader)?;
        let header = match &before.header {
            Some(text) => Header::parse(text)?,
            None => Header::default(),
        };
        line = line.saturating_add(before.lines);
        let mut list = Self { header, table: Table::default(), skipped: 0, problems: Vec::new() };
        let mut builder = Builder::new(rules_max);
        // Without a header, what was looked through for one is rules.
        let mut rest = Cursor::new(before.rest).chain(reader);
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let limit = LINE_BYTES_MAX as u64;
            let read = (&mut rest).take(limit.saturating_add(1)).read_until(b'\n', &mut buffer)?;
            if read == 0 {
                break;
            }
            line = line.saturating_add(1);
            if read > LINE_BYTES_MAX {
                return Err(DenyError::LineTooLong { line });
            }
            list.rule(&buffer, line, &mut builder)?;
        }
        list.table = builder.build();
        Ok(list)
    }

    fn rule(&mut self, bytes: &[u8], line: u32, builder: &mut Builder) -> Result<(), DenyError> {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() || bytes.starts_with(b"#") {
            return Ok(());
        }
        match Rule::parse_bytes(bytes) {
            Ok(rule) => {
                let denied = rule.denied.or(self.header.denied).unwrap_or(atoll_core::Denied::Gone);
                if let Err(problem) = builder.add(&rule, line, denied)? {
                    self.skip(line, problem);
                }
            }
            Err(problem) => self.skip(line, problem),
        }
        Ok(())
    }

    fn skip(&mut self, line: u32, problem: &'static str) {
        self.skipped = self.skipped.saturating_add(1);
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push((line, problem));
        }
    }
}

const _: () = assert!(HEADER_SEARCH_BYTES_MAX <= LINE_BYTES_MAX);

#[cfg(test)]
mod tests;
