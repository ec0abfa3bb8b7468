//! `_redirects`: what is shown where a path names nothing (Web _redirects File, 2025-03-19). Pure; a crash loses nothing.
//!
//! One rule a line, `from to [status]`; the first that matches decides. Beyond the specification: `from` may be
//! percent-encoded or not; a placeholder is named once; a target never leads above the root or to another host than its
//! author wrote, whatever the visitor's path holds.

use super::pattern::{Pattern, Place, Splat, Template, check_escapes};

/// The largest file, in bytes ("Max File Size").
pub const FILE_BYTES_MAX: usize = 64 * 1024;
/// The longest line with a rule, in bytes.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// The most rules: as many as the largest file can hold, of which the shortest is `/ /` and a line feed.
pub const RULES_MAX: usize = FILE_BYTES_MAX / 4;
/// The longest target once placeholders have their values, in bytes. A long path could else be multiplied by each `:x`.
pub const TARGET_BYTES_MAX: usize = 16 * 1024;

/// The schemes that a target may have.
const SCHEMES: [&str; 4] = ["http://", "https://", "ipfs://", "ipns://"];

/// The rules of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirects(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    line: usize,
    from: Pattern,
    to: Template,
    status: u16,
}

/// What is to be done for a path that names nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Show what is found at another path of the site, with that status: 200, or 404, 410, 451 for pages about that.
    Show {
        /// 200, 404, 410 or 451.
        status: u16,
        /// The names to follow from the root, decoded.
        segments: Vec<String>,
        /// The line of the rule, counted from 1.
        line: usize,
    },
    /// Send the visitor elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// What to put into `Location`: ASCII without spaces or controls.
        location: String,
    },
}

/// Why a file is refused, or a rule cannot be followed. Says nothing that the file or the visitor wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not parse _redirects: {cause}")]
pub struct RedirectsError {
    /// The line, counted from 1; `None` where it is the whole file.
    pub line: Option<usize>,
    /// What is wrong there.
    pub cause: RedirectsCause,
}

/// What is wrong with a `_redirects` file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectsCause {
    /// More than [`FILE_BYTES_MAX`].
    #[error("redirects file size cannot exceed {FILE_BYTES_MAX} bytes")]
    FileTooLarge,
    /// Not text.
    #[error("the file is not UTF-8")]
    NotUtf8,
    /// It could not be read: no file, or its blocks cannot be had.
    #[error("the file could not be read")]
    Unreadable,
    /// The rule on that line is none.
    #[error("line {0}: {1}")]
    Line(usize, &'static str),
}

impl RedirectsError {
    /// The file is there, and could not be read.
    pub fn unreadable() -> Self {
        Self { line: None, cause: RedirectsCause::Unreadable }
    }

    /// The file is over [`FILE_BYTES_MAX`], so that it need not be read.
    pub fn too_large() -> Self {
        Self::file(RedirectsCause::FileTooLarge)
    }

    fn file(cause: RedirectsCause) -> Self {
        Self { line: None, cause }
    }

    fn line(line: usize, text: &'static str) -> Self {
        Self { line: Some(line), cause: RedirectsCause::Line(line, text) }
    }
}

impl Redirects {
    /// Reads a file.
    ///
    /// # Errors
    /// [`RedirectsError`] at the first line that is no rule; then none of its rules holds ("Error Handling").
    pub fn parse(file: &[u8]) -> Result<Self, RedirectsError> {
        if file.len() > FILE_BYTES_MAX {
            return Err(RedirectsError::too_large());
        }
        let text = std::str::from_utf8(file).map_err(|_| RedirectsError::file(RedirectsCause::NotUtf8))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.split('\n').zip(1_usize..).filter(|(text, _)| is_rule(text));
        let rules =
            lines.map(|(text, line)| Rule::parse(text, line).map_err(|cause| RedirectsError::line(line, cause)));
        rules.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths that rules without placeholders are about, decoded, as their names.
    pub fn literal_paths(&self) -> impl Iterator<Item = Vec<String>> {
        let names = |path: String| path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        self.0.iter().filter_map(|rule| rule.from.literal()).map(names)
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// About how much memory they take.
    pub(super) fn memory_bytes(&self) -> usize {
        let rule =
            |rule: &Rule| size_of::<Rule>().saturating_add(rule.from.heap_bytes()).saturating_add(rule.to.heap_bytes());
        self.0.iter().map(rule).sum()
    }

    /// What the first rule that matches says; `None` if none does. The cost is bounded by the size of the file.
    ///
    /// `segments` are the names of the path, decoded, none of them empty, `.` or `..`; `query` is the request's, encoded.
    ///
    /// # Errors
    /// [`RedirectsError`] if that rule leads nowhere: above the root, to another site with a status that shows its
    /// content, or farther than [`TARGET_BYTES_MAX`].
    pub fn apply(&self, segments: &[String], query: Option<&str>) -> Result<Option<Action>, RedirectsError> {
        let path: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        let mut matching = self.0.iter().filter_map(|rule| Some((rule, rule.from.captures(&path)?)));
        let Some((rule, values)) = matching.next() else { return Ok(None) };
        rule.action(&values, query).map(Some).map_err(|cause| RedirectsError::line(rule.line, cause))
    }
}

/// Whether a status is that of a page of the site, and not of a redirect.
fn shows(status: u16) -> bool {
    matches!(status, 200 | 404 | 410 | 451)
}

/// Whether a line is more than space or a comment.
fn is_rule(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.starts_with('#')
}

impl Rule {
    fn parse(text: &str, line: usize) -> Result<Self, &'static str> {
        if text.len() > LINE_BYTES_MAX {
            return Err("the line is too long");
        }
        let mut fields = text.split_whitespace();
        let (Some(from), Some(to)) = (fields.next(), fields.next()) else { return Err("missing 'to' path") };
        let status = fields.next().map_or(Ok(301), parse_status)?;
        if fields.next().is_some() {
            return Err("a rule must match 'from to [status]'");
        }
        // A slash at the end says nothing: the path that is matched has none.
        let from = if from.len() > 1 { from.strip_suffix('/').unwrap_or(from) } else { from };
        let from = Pattern::parse(from, Splat::Last)?;
        let to = parse_to(to, from.names())?;
        let to = if shows(status) { to.into_path()? } else { to };
        Ok(Self { line, from, to, status })
    }

    fn action(&self, values: &[&str], query: Option<&str>) -> Result<Action, &'static str> {
        const TOO_LONG: &str = "the target is too long for this path";
        let status = self.status;
        if shows(status) {
            let target = self.to.expand(values, Place::Plain, TARGET_BYTES_MAX).ok_or(TOO_LONG)?;
            return Ok(Action::Show { status, segments: self.inside(&target)?, line: self.line });
        }
        let mut target = self.to.expand(values, Place::Link, TARGET_BYTES_MAX).ok_or(TOO_LONG)?;
        if target.starts_with("//") && !self.to.start().starts_with("//") {
            // A value that begins with a slash would else name another host.
            target = format!("/{}", target.trim_start_matches('/'));
        }
        Ok(Action::Redirect { status, location: with_query(target, query) })
    }

    /// The names of a target inside the site.
    fn inside(&self, target: &str) -> Result<Vec<String>, &'static str> {
        if !self.to.start().starts_with('/') || self.to.start().starts_with("//") {
            return Err("this status shows a path of the site itself, and the target is another site");
        }
        let mut segments: Vec<String> = Vec::new();
        for segment in target.split('/') {
            match segment {
                "" | "." => {}
                ".." => drop(segments.pop().ok_or("the target leads above the root")?),
                name => segments.push(name.to_owned()),
            }
        }
        Ok(segments)
    }
}

/// Reads a target: a path, or a URL of a known scheme whose host is fixed.
fn parse_to(to: &str, names: &[Box<str>]) -> Result<Template, &'static str> {
    check_escapes(to)?;
    if to.contains(char::is_control) {
        return Err("the target holds a control character");
    }
    let template = Template::parse(to, names);
    let scheme = SCHEMES.iter().find_map(|scheme| {
        to.get(..scheme.len()).filter(|start| start.eq_ignore_ascii_case(scheme)).and(to.get(scheme.len()..))
    });
    let host = match scheme {
        Some(rest) => Some(rest),
        None if to.starts_with('/') => to.strip_prefix("//"),
        None => return Err("the target must begin with a slash, or be a URL with http, https, ipfs or ipns"),
    };
    let Some(host) = host else { return Ok(template) };
    let len = host.find(['/', '?', '#', '\\']).unwrap_or(host.len());
    let behind_host = to.len().saturating_sub(host.len()).saturating_add(len);
    if len == 0 {
        return Err("the target names no host");
    }
    if template.start().len() < behind_host {
        return Err("a placeholder cannot be part of the host");
    }
    Ok(template)
}

fn parse_status(text: &str) -> Result<u16, &'static str> {
    if text.ends_with('!') {
        return Err("forced redirects (or \"shadowing\") are not supported");
    }
    match text.parse() {
        Ok(status @ (200 | 301 | 302 | 303 | 307 | 308 | 404 | 410 | 451)) => Ok(status),
        _ => Err("status code is not supported"),
    }
}

/// Adds the request's query behind the target's own, as it was sent.
fn with_query(target: String, query: Option<&str>) -> String {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return target };
    let (link, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
    let joint = match link.split_once('?') {
        None => "?",
        Some((_, "")) => "",
        Some(_) => "&",
    };
    format!("{link}{joint}{query}{fragment}")
}

#[cfg(test)]
mod tests;
