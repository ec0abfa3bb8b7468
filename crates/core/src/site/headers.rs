//! `_headers`: what a site adds to the head of its answers (the format of Netlify and Cloudflare Pages). Pure; a crash
//! loses nothing.
//!
//! A line that begins with a slash is a pattern of paths; the lines below it that begin with space are headers for them:
//! `Name: value` sets one, `! Name` takes away what came before it, of the gateway's or of a rule above. All rules that
//! match apply, in order; the same name twice is joined with a comma. A line that is not understood is skipped and
//! reported: a site that works elsewhere is not to fail here over a header.

use super::pattern::{Pattern, Place, Splat, Template};

/// The largest file, in bytes; a larger one counts as none.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// The longest line, in bytes; a longer one is skipped.
pub const LINE_BYTES_MAX: usize = 2_000;
/// The most rules; further ones are skipped.
pub const RULES_MAX: usize = 100;
/// The longest value of a header once placeholders and repetitions are in it, in bytes; a longer one is left out.
pub const VALUE_BYTES_MAX: usize = 4_096;
/// The most headers in a file; further ones are skipped.
pub const FIELDS_MAX: usize = 1_000;
/// The most headers that one answer gets; further ones are left out.
pub const APPLIED_MAX: usize = 64;
/// What stands between two values of one header.
const JOIN: &str = ", ";
/// The most problems that are reported.
pub const PROBLEMS_MAX: usize = 20;

/// The names that a site may set, beside those that begin with `x-`. None of them says anything about the connection, the
/// length, range, coding or identity of the bytes, or reaches beyond the site's own origin (as cookies and
/// `Clear-Site-Data` do on a gateway's subdomains).
const NAMES: [&str; 39] = [
    "accept-ch",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "cache-control",
    "cdn-cache-control",
    "content-disposition",
    "content-language",
    "content-security-policy",
    "content-security-policy-report-only",
    "content-type",
    "critical-ch",
    "cross-origin-embedder-policy",
    "cross-origin-embedder-policy-report-only",
    "cross-origin-opener-policy",
    "cross-origin-opener-policy-report-only",
    "cross-origin-resource-policy",
    "document-policy",
    "feature-policy",
    "integrity-policy",
    "integrity-policy-report-only",
    "link",
    "nel",
    "no-vary-search",
    "origin-agent-cluster",
    "permissions-policy",
    "referrer-policy",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "sourcemap",
    "speculation-rules",
    "strict-transport-security",
    "supports-loading-mode",
    "timing-allow-origin",
    "tk",
];

/// What of `x-…` is not the site's to say: it speaks to proxies, or for the gateway.
const X_REFUSED: [&str; 8] =
    ["x-accel-", "x-atoll-", "x-cache", "x-forwarded-", "x-ipfs-", "x-lighttpd-send-file", "x-real-ip", "x-sendfile"];

/// The rules of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    rules: Vec<Rule>,
    problems: Vec<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    pattern: Pattern,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Set { name: Box<str>, value: Template },
    Detach { name: Box<str> },
}

/// A line that was skipped, for the publisher to see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("_headers, line {line}: {text}")]
pub struct Problem {
    /// The line, counted from 1; 0 where it is the whole file.
    pub line: usize,
    /// What is wrong with it; nothing of what the file says.
    pub text: &'static str,
}

/// What a site's rules change about a head.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Names in lower case that the gateway is not to send on its own.
    pub detached: Vec<String>,
    /// Names in lower case, each once, with their values, which replace the gateway's. Values are ASCII without controls
    /// other than tabs.
    pub set: Vec<(String, String)>,
}

impl Headers {
    /// Reads a file. What cannot be used is skipped and reported in [`Headers::problems`].
    pub fn parse(file: &[u8]) -> Self {
        let mut headers = Self::default();
        if file.len() > FILE_BYTES_MAX {
            headers.report(0, "the file is over 65536 bytes, and is ignored");
            return headers;
        }
        let Ok(text) = std::str::from_utf8(file) else {
            headers.report(0, "the file is not UTF-8, and is ignored");
            return headers;
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut fields = 0_usize;
        // Headers below a pattern that was refused must not fall to the one before it.
        let mut open = false;
        for (text, line) in text.split('\n').zip(1_usize..) {
            if text.trim().is_empty() || text.trim_start().starts_with('#') {
                continue;
            }
            let read = if text.starts_with([' ', '\t']) {
                fields = fields.saturating_add(1);
                headers.field(text, open && fields <= FIELDS_MAX)
            } else {
                let read = headers.rule(text);
                open = read.is_ok();
                read
            };
            if let Err(text) = read {
                headers.report(line, text);
            }
        }
        headers
    }

    /// The lines that were skipped, at most [`PROBLEMS_MAX`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// About how much memory they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let field = |field: &Field| match field {
            Field::Set { name, value } => name.len().saturating_add(value.heap_bytes()),
            Field::Detach { name } => name.len(),
        };
        let rule = |rule: &Rule| {
            let fields = rule.fields.iter().map(|own| size_of::<Field>().saturating_add(field(own))).sum::<usize>();
            size_of::<Rule>().saturating_add(rule.pattern.heap_bytes()).saturating_add(fields)
        };
        self.rules.iter().map(rule).sum()
    }

    /// What the rules that match `path` change: decoded, beginning with a slash, as the visitor asked for it.
    pub fn apply(&self, path: &str) -> Edits {
        let mut edits = Edits::default();
        for rule in &self.rules {
            let Some(values) = rule.pattern.captures(path) else { continue };
            for field in &rule.fields {
                edits.add(field, &values);
            }
        }
        edits
    }

    fn rule(&mut self, text: &str) -> Result<(), &'static str> {
        check_len(text)?;
        if self.rules.len() == RULES_MAX {
            return Err("there are more than 100 rules; this one is skipped");
        }
        let pattern = Pattern::parse(text.trim(), Splat::Anywhere)?;
        self.rules.push(Rule { pattern, fields: Vec::new() });
        Ok(())
    }

    fn field(&mut self, text: &str, open: bool) -> Result<(), &'static str> {
        check_len(text)?;
        let Some(rule) = self.rules.last_mut().filter(|_| open) else {
            return Err("the header belongs to no rule, or is one too many");
        };
        let text = text.trim();
        let field = match text.strip_prefix('!') {
            Some(name) => Field::Detach { name: parse_name(name)? },
            None => {
                let (name, value) = text.split_once(':').ok_or("a header is written 'Name: value'")?;
                let value = value.trim();
                if !value.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()) {
                    return Err("the value of a header is ASCII without controls");
                }
                Field::Set { name: parse_name(name)?, value: Template::parse(value, rule.pattern.names()) }
            }
        };
        rule.fields.push(field);
        Ok(())
    }

    fn report(&mut self, line: usize, text: &'static str) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(Problem { line, text });
        }
    }
}

impl Edits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.detached.is_empty() && self.set.is_empty()
    }

    fn add(&mut self, field: &Field, values: &[&str]) {
        match field {
            Field::Detach { name } => {
                self.set.retain(|(other, _)| **other != **name);
                if self.detached.len() < APPLIED_MAX && !self.detached.iter().any(|other| **other == **name) {
                    self.detached.push(name.to_string());
                }
            }
            Field::Set { name, value } => {
                let Some(value) = value.expand(values, Place::Header, VALUE_BYTES_MAX) else { return };
                let room = self.set.len() < APPLIED_MAX;
                match self.set.iter_mut().find(|(other, _)| **other == **name) {
                    Some((_, before))
                        if before.len().saturating_add(JOIN.len()).saturating_add(value.len()) <= VALUE_BYTES_MAX =>
                    {
                        before.push_str(JOIN);
                        before.push_str(&value);
                    }
                    Some(_) => {}
                    None if room => self.set.push((name.to_string(), value)),
                    None => {}
                }
            }
        }
    }
}

fn check_len(text: &str) -> Result<(), &'static str> {
    if text.len() > LINE_BYTES_MAX { Err("the line is over 2000 bytes, and is skipped") } else { Ok(()) }
}

/// Reads the name of a header that a site may set.
fn parse_name(text: &str) -> Result<Box<str>, &'static str> {
    let name = text.trim().to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
        return Err("this is no name of a header");
    }
    let own = name.starts_with("x-") && !X_REFUSED.iter().any(|refused| name.starts_with(refused));
    if own || NAMES.binary_search(&&*name).is_ok() {
        Ok(name.into())
    } else {
        Err("this header is not a site's to set")
    }
}

#[cfg(test)]
mod tests;
