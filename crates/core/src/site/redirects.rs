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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> Vec<String> {
        path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect()
    }

    fn apply(file: &str, path: &str, query: Option<&str>) -> Option<Action> {
        Redirects::parse(file.as_bytes()).unwrap().apply(&names(path), query).unwrap()
    }

    fn location(file: &str, path: &str, query: Option<&str>) -> String {
        match apply(file, path, query) {
            Some(Action::Redirect { location, .. }) => location,
            other => panic!("{other:?}"),
        }
    }

    fn shown(file: &str, path: &str) -> (u16, String) {
        match apply(file, path, None) {
            Some(Action::Show { status, segments, .. }) => (status, segments.join("/")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let file = "# a comment\n\n/one /one.html\r\n/two /two.html 302\n\t/x/:b/:a  /y/:a/:b 307 \n/gone/* /410.html 410\n/* /index.html 200";
        assert_eq!(location(file, "/one", None), "/one.html");
        assert_eq!(location(file, "/x/1/2", None), "/y/2/1");
        assert_eq!(shown(file, "/gone/a/b"), (410, "410.html".to_owned()));
        assert_eq!(shown(file, "/gone"), (200, "index.html".to_owned()));
        assert_eq!(shown(file, "/any/thing"), (200, "index.html".to_owned()));
        assert_eq!(apply("/a /b", "/c", None), None);
        let Some(Action::Redirect { status, .. }) = apply(file, "/one", None) else { panic!() };
        assert_eq!(status, 301);
    }

    #[test]
    fn slashes_at_the_end_say_nothing() {
        assert_eq!(location("/a/ /b", "/a", None), "/b");
        assert_eq!(apply("/a/* /b/:splat", "/a", None), None);
    }

    #[test]
    fn names_match_however_they_are_written() {
        assert_eq!(location("/ą /ę", "/ą", None), "/%C4%99");
        assert_eq!(location("/%C4%85 /%c4%99", "/ą", None), "/%c4%99");
        assert_eq!(shown("/:x /d%3F/:x?:x 200", "/a b%3f?#"), (200, "d?/a b%3f?#".to_owned()));
    }

    #[test]
    fn a_value_with_a_slash_names_no_host() {
        assert_eq!(location("/x* /:splat", "/x/evil.example", None), "/evil.example");
        assert_eq!(location("/x* //own.example/:splat", "/x/y", None), "//own.example//y");
    }

    #[test]
    fn queries_are_kept_behind_the_targets_own() {
        let file = "/s/* /t?a=1 301\n/p/:c/:n /t?c=:c&n=:n\n/u/* https://example.net/t/:splat\n/f /g#h\n/q /r?";
        assert_eq!(location(file, "/s/x", Some("d=1&e")), "/t?a=1&d=1&e");
        assert_eq!(location(file, "/p/A&x=1/N", None), "/t?c=A%26x%3D1&n=N");
        assert_eq!(location(file, "/u/b/c", Some("d")), "https://example.net/t/b/c?d");
        assert_eq!(location(file, "/f", Some("d")), "/g?d#h");
        assert_eq!(location(file, "/q", Some("d")), "/r?d");
        assert_eq!(location(file, "/q", Some("")), "/r?");
    }

    #[test]
    fn what_is_no_rule_names_its_line() {
        for (rule, text) in [
            ("/a /b 301!", "forced redirects"),
            ("/a /b 42", "status code"),
            ("/a /b x", "status code"),
            ("/a", "missing 'to' path"),
            ("/a /b 301 x", "from to [status]"),
            ("a /b", "begin with a slash"),
            ("/*/a /b", "asterisk"),
            ("/a/** /b", "asterisk"),
            ("/a b", "begin with a slash"),
            ("/a javascript:alert(1)", "begin with a slash"),
            ("/a https://", "no host"),
            ("/a ///b", "no host"),
            ("/:a https://:a/", "part of the host"),
            ("/:a //x.:a", "part of the host"),
            ("/%4 /b", "percent sign"),
            ("/a /%zz", "percent sign"),
            ("/a /\u{1}", "control"),
            ("/a /%2f 200", "encoded slash"),
            ("/:a/:a /:a", "twice"),
        ] {
            let error = Redirects::parse(format!("/x /y\n{rule}\n/z").as_bytes()).unwrap_err();
            let shown = error.to_string();
            assert!(
                shown.starts_with("could not parse _redirects: line 2: ") && shown.contains(text),
                "{rule}: {shown}"
            );
            assert_eq!(error.line, Some(2));
        }
        assert_eq!(Redirects::parse(b"/\xff /a").unwrap_err().cause, RedirectsCause::NotUtf8);
    }

    #[test]
    fn files_lines_and_targets_have_limits() {
        let most = "/ /\n".repeat(RULES_MAX);
        assert_eq!((most.len(), Redirects::parse(most.as_bytes()).unwrap().len()), (FILE_BYTES_MAX, RULES_MAX));
        let error = Redirects::parse(format!("{most}#").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "could not parse _redirects: redirects file size cannot exceed 65536 bytes");
        let line = |len: usize| format!("/a /{}", "b".repeat(len - 4));
        assert!(Redirects::parse(line(LINE_BYTES_MAX).as_bytes()).is_ok());
        assert_eq!(Redirects::parse(line(LINE_BYTES_MAX + 1).as_bytes()).unwrap_err().line, Some(1));
        let many = Redirects::parse(format!("/:a /{}", ":a".repeat(4000)).as_bytes()).unwrap();
        assert!(many.apply(&["x".repeat(4)], None).is_ok());
        assert!(many.apply(&["x".repeat(5)], None).is_err());
    }

    #[test]
    fn a_rule_that_leads_out_of_the_site_fails_alone() {
        let file = "/api/* https://api.example/:splat 200\n/up /../x 200\n/enc /%2e%2e 404\n/ok /a/../b 200\n/* /x 200";
        let rules = Redirects::parse(file.as_bytes()).unwrap();
        for (path, line) in [("/api/x", 1), ("/up", 2), ("/enc", 3)] {
            assert_eq!(rules.apply(&names(path), None).unwrap_err().line, Some(line), "{path}");
        }
        assert_eq!(shown(file, "/ok"), (200, "b".to_owned()));
    }

    proptest! {
        #[test]
        fn a_visitor_never_chooses_where_it_is_sent(
            rule in "/(:a|:a/:b|\\*|x/\\*) (/|/t/|https://e[.]example/|//e[.]example/)(:a|:b|:splat|y)?(\\?q=:a)? 30[1278]",
            path in proptest::collection::vec("x?|[^/\\x00]{1,8}", 1..4),
        ) {
            let Ok(rules) = Redirects::parse(rule.as_bytes()) else { return Ok(()) };
            let path: Vec<String> = path.into_iter().filter(|name| !matches!(&**name, "" | "." | "..")).collect();
            let Some(Action::Redirect { location, .. }) = rules.apply(&path, None).unwrap() else { return Ok(()) };
            prop_assert!(location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
            let target = rule.split(' ').nth(1).unwrap();
            prop_assert_eq!(location.starts_with("//"), target.starts_with("//"), "{}", location);
            prop_assert_eq!(location.starts_with("https://e.example/"), target.starts_with("https"));
        }

        #[test]
        fn no_file_breaks_the_parser(file in proptest::collection::vec(any::<u8>(), 0..300), path in "(/[a-c:*%]{1,4}){0,4}") {
            if let Ok(rules) = Redirects::parse(&file) {
                let _ = rules.apply(&names(&path), Some("q"));
            }
        }
    }
}
