//! Every text in the checkout: links in pages lead somewhere, and nothing names a registry's host or a folder of the
//! machine that it was written on.

use std::collections::BTreeSet;

use super::{Files, Report};

/// Hosts that only package clients speak to, and folders that only some machine has. In halves, so that this file
/// passes its own check.
const FORBIDDEN: [(&str, &str); 9] = [
    ("crates", ".io"),
    ("registry.", "npmjs.org"),
    ("proxy.", "golang.org"),
    ("sum.", "golang.org"),
    ("deb.", "debian.org"),
    ("files.", "pythonhosted.org"),
    ("pypi", ".org"),
    ("/wo", "rk/"),
    ("/tm", "p/"),
];

/// Checks links and forbidden words.
pub(super) fn check(files: &Files, report: &mut Report) {
    for (path, text) in files.ending(".md") {
        for link in links(text) {
            if let Some(cause) = dead(files, path, link) {
                report.problem(format!("{path}: the link to {link} {cause}"));
            }
        }
    }
    let forbidden: Vec<_> = FORBIDDEN.iter().map(|(head, tail)| format!("{head}{tail}")).collect();
    // Cargo's lock file names its registry by itself.
    for (path, text) in files.texts().filter(|(path, _)| !path.ends_with("Cargo.lock")) {
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = forbidden.iter().find(|word| names(line, word)) {
                report.problem(format!("{path}:{}: `{word}` has no place in the checkout", number + 1));
            }
        }
    }
}

/// Whether the line has the word, not as the tail of a longer one.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(|before: char| before.is_alphanumeric()))
}

/// The targets of a page's links, code left out.
fn links(text: &str) -> Vec<&str> {
    let mut in_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if !in_code {
            let targets = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
            found.extend(targets.filter(|target| !target.is_empty()));
        }
    }
    found
}

/// Why a link leads nowhere. Links to other places are not followed.
fn dead(files: &Files, page: &str, link: &str) -> Option<&'static str> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if path.is_empty() { page.to_owned() } else { resolve(page, path)? };
    if !files.has(&target) {
        return Some("leads nowhere");
    }
    let text = files.text(&target).filter(|_| target.ends_with(".md") && !anchor.is_empty())?;
    (!anchors(text).contains(anchor)).then_some("names no heading there")
}

/// The path from the root that a link on a page means; `None` when it leaves the checkout.
fn resolve(page: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = if path.starts_with('/') { Vec::new() } else { page.split('/').collect() };
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchors that a page's headings get.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let slug = |heading: &str| {
        let kept = heading.to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    headings.map(slug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found() {
        let page = "[a](b.md) [c](../README.md#two-words) [d](gone.md) [e](#here) [f](https://example.com)\n# Here\n";
        let files = Files::of(&[("docs/a.md", page), ("docs/b.md", ""), ("README.md", "## Two words!")]);
        let mut report = Report::default();
        check(&files, &mut report);
        assert_eq!(report.problems, ["docs/a.md: the link to gone.md leads nowhere"]);
    }

    #[test]
    fn a_link_to_no_heading_is_dead() {
        let files = Files::of(&[("a.md", "[a](#nowhere)\n# Here\n")]);
        assert_eq!(dead(&files, "a.md", "#nowhere"), Some("names no heading there"));
    }

    #[test]
    fn links_in_code_are_no_links() {
        assert!(links("```\n[a](b)\n```\n").is_empty());
    }

    #[test]
    fn a_machine_path_is_found_but_not_inside_a_word() {
        let word = ["/wo", "rk/"].concat();
        assert!(names(&format!("cd {word}x"), &word));
        assert!(!names(&format!("art{word}x"), &word));
    }
}
