//! A site's rules, version [`VERSION`]: pure functions from a path to what is shown and to its head (`docs/formats.md`,
//! "Site rules"). Nothing is kept, a crash loses nothing.
//!
//! Whoever serves a site looks up what a path names, asks [`head`], and does what it says; whoever signs a site's answers
//! asks the same function. What a version answers never changes, since what was signed must stay true.

pub mod headers;
pub mod mime;
mod pattern;
pub mod redirects;

pub use headers::{Edits, Headers};
pub use pattern::{PLACEHOLDERS_MAX, SEGMENT};
pub use redirects::{Redirects, RedirectsError};

/// The version of these rules, with the table of types in it.
pub const VERSION: u32 = 1;
/// The file with the rules for paths that name nothing, in the root.
pub const REDIRECTS: &str = "_redirects";
/// The file with the rules for heads, in the root.
pub const HEADERS: &str = "_headers";
/// The file that stands for its directory.
pub const INDEX: &str = "index.html";
/// The file that stands for what is missing in its directory or below.
pub const NOT_FOUND: &str = "ipfs-404.html";
/// In how many directories [`NOT_FOUND`] is looked for at most, the root among them.
pub const NOT_FOUND_DIRECTORIES_MAX: usize = 32;

/// What a site says in its root about its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What `_redirects` says; no rules where there is none.
    pub redirects: Result<Redirects, RedirectsError>,
    /// What `_headers` says.
    pub headers: Headers,
}

/// A path of the site that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The names of the path, decoded, none of them empty, `.` or `..`.
    pub segments: &'a [String],
    /// Whether it ends with a slash, as the root does.
    pub slash: bool,
    /// The query as it was sent, without its question mark.
    pub query: Option<&'a str>,
}

/// What a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Something that is shown as it is.
    File,
    /// A directory, with or without an `index.html` that is a file.
    Directory {
        /// Whether it has one.
        index: bool,
    },
    /// Nothing.
    Absent,
}

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// What the path names.
    Itself,
    /// The `index.html` of the directory that the path names.
    Index,
    /// A list of the directory that the path names: a page of the gateway's own.
    Listing,
    /// A redirect to the same path with a slash behind it, query kept.
    Slash,
    /// A redirect to there.
    Redirect(String),
    /// What these names lead to from the root, for the rule on that line of `_redirects`; a directory's index.
    Page {
        /// The names, decoded.
        segments: Vec<String>,
        /// The line, counted from 1.
        line: usize,
    },
    /// The last [`NOT_FOUND`] of [`not_found_pages`] that exists; without one, a page of the gateway's own.
    Missing,
}

/// The head of an answer, as far as the site decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// What to show.
    pub shown: Shown,
    /// What to change in the head; nothing where the page is the gateway's own or there is none.
    pub edits: Edits,
}

impl Default for Rules {
    fn default() -> Self {
        Self { redirects: Ok(Redirects::default()), headers: Headers::default() }
    }
}

impl Rules {
    /// Reads the two files; `None` where there is none.
    pub fn parse(redirects: Option<&[u8]>, headers: Option<&[u8]>) -> Self {
        Self {
            redirects: redirects.map_or_else(|| Ok(Redirects::default()), Redirects::parse),
            headers: headers.map(Headers::parse).unwrap_or_default(),
        }
    }

    /// About how much memory they take, for caches.
    pub fn memory_bytes(&self) -> usize {
        let redirects = self.redirects.as_ref().map_or(0, Redirects::memory_bytes);
        redirects.saturating_add(self.headers.memory_bytes())
    }

    /// Whether they change nothing.
    pub fn is_empty(&self) -> bool {
        self.redirects.as_ref().is_ok_and(Redirects::is_empty) && self.headers.is_empty()
    }
}

impl Asked<'_> {
    /// The path, decoded, as the patterns of `_headers` see it.
    fn path(&self) -> String {
        let mut path: String = self.segments.iter().flat_map(|segment| ["/", segment]).collect();
        if self.slash || path.is_empty() {
            path.push('/');
        }
        path
    }
}

/// What is shown for a path, and with what head. `_redirects` is asked only about what is absent ("No Forced Redirects").
///
/// # Errors
/// [`RedirectsError`] if the path names nothing, and `_redirects` cannot be used: 500 ("Error Handling").
pub fn head(rules: &Rules, asked: &Asked<'_>, found: Found) -> Result<Head, RedirectsError> {
    let (status, shown) = match found {
        Found::File => (200, Shown::Itself),
        Found::Directory { .. } if !asked.slash && !asked.segments.is_empty() => (301, Shown::Slash),
        Found::Directory { index: true } => (200, Shown::Index),
        Found::Directory { index: false } => (200, Shown::Listing),
        Found::Absent => match rules.redirects.as_ref().map_err(Clone::clone)?.apply(asked.segments, asked.query)? {
            Some(redirects::Action::Show { status, segments, line }) => (status, Shown::Page { segments, line }),
            Some(redirects::Action::Redirect { status, location }) => (status, Shown::Redirect(location)),
            None => (404, Shown::Missing),
        },
    };
    let of_site = matches!(shown, Shown::Itself | Shown::Index | Shown::Page { .. } | Shown::Missing);
    let edits = if of_site { rules.headers.apply(&asked.path()) } else { Edits::default() };
    Ok(Head { status, shown, edits })
}

/// Where [`NOT_FOUND`] is looked for, from the root on downwards along the path. The last that exists is shown; whoever
/// looks can stop at the first directory that does not exist.
pub fn not_found_pages(segments: &[String]) -> impl Iterator<Item = Vec<&str>> {
    let page = |depth| segments.iter().take(depth).map(String::as_str).chain([NOT_FOUND]).collect();
    (0..=segments.len()).take(NOT_FOUND_DIRECTORIES_MAX).map(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_pages_are_looked_for_along_the_path() {
        let segments: Vec<String> = ["a", "b"].map(str::to_owned).into();
        let pages: Vec<_> = not_found_pages(&segments).map(|page| page.join("/")).collect();
        assert_eq!(pages, ["ipfs-404.html", "a/ipfs-404.html", "a/b/ipfs-404.html"]);
        let deep = vec!["x".to_owned(); 100];
        assert_eq!(not_found_pages(&deep).count(), NOT_FOUND_DIRECTORIES_MAX);
    }
}
