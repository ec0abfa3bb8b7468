//! Rust sources: a `//!` at the top, a size that one mind can hold, names that say something, no test switched off.

use super::{Files, Report};

/// The most lines that a file has before its tests begin.
const PRODUCTION_LINES_MAX: usize = 500;
/// Files that are over it today. Only ever shortened: a file that has come under the limit has to leave.
const LONG_FILES: &[&str] = &[];
/// The most files that follow one request, and the most lines they have together.
const REQUEST_FILES_MAX: usize = 10;
const REQUEST_LINES_MAX: usize = 3_000;
/// The page that lists them, and the words of the heading over the list.
const ARCHITECTURE: &str = "docs/architecture.md";
const REQUEST_HEADING: &str = "files of one request";
/// Names that say only that their author had no name.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "misc", "mod", "shared", "util", "utils"];

/// Checks every Rust file, and the list of the files of one request.
pub(super) fn check(files: &Files, report: &mut Report) {
    for (path, text) in files.ending(".rs") {
        check_file(path, text, report);
    }
    for path in LONG_FILES.iter().filter(|path| !files.has(path)) {
        report.problem(format!("{path} is gone: take it off the list of long files"));
    }
    check_request(files, report);
}

fn check_file(path: &str, text: &str, report: &mut Report) {
    if !text.starts_with("//!") {
        report.problem(format!("{path} does not open with //!: say what it owns and what a crash loses"));
    }
    let names = path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.into_iter().find(|name| EMPTY_NAMES.contains(name)) {
        report.problem(format!("{path}: `{name}` is no name: say what it holds"));
    }
    // Clippy denies an ignored test without a reason; this denies the rest.
    if text.lines().any(|line| line.trim_start().starts_with("#[ignore")) {
        report.problem(format!("{path} switches a test off"));
    }
    let lines = production_lines(path, text);
    match (lines > PRODUCTION_LINES_MAX, LONG_FILES.contains(&path)) {
        (true, false) => {
            report.problem(format!("{path} has {lines} lines, over {PRODUCTION_LINES_MAX}: a second idea?"))
        }
        (true, true) => report.warning(format!("{path} has {lines} lines, over {PRODUCTION_LINES_MAX}")),
        (false, true) => report.problem(format!("{path} has {lines} lines: take it off the list of long files")),
        (false, false) => {}
    }
}

/// The lines of a file up to its tests; none for a file of tests.
fn production_lines(path: &str, text: &str) -> usize {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return 0;
    }
    text.lines().take_while(|line| *line != "#[cfg(test)]").count()
}

fn check_request(files: &Files, report: &mut Report) {
    let Some(text) = files.text(ARCHITECTURE) else {
        report.problem(format!("{ARCHITECTURE} is missing"));
        return;
    };
    let listed = request_files(text);
    if listed.is_empty() {
        report.problem(format!("{ARCHITECTURE} has no list under a heading with \"{REQUEST_HEADING}\""));
    }
    let mut lines = 0;
    for path in &listed {
        match files.text(path) {
            Some(text) => lines += production_lines(path, text),
            None => report.problem(format!("{ARCHITECTURE} lists {path}, which does not exist")),
        }
    }
    if listed.len() > REQUEST_FILES_MAX || lines > REQUEST_LINES_MAX {
        let count = listed.len();
        report.problem(format!(
            "one request takes {count} files and {lines} lines, over {REQUEST_FILES_MAX} and {REQUEST_LINES_MAX}"
        ));
    }
}

/// The Rust files named in backticks between the heading and the next one.
fn request_files(text: &str) -> Vec<&str> {
    let is_heading = |line: &&str| line.starts_with('#');
    let mut lines = text.lines().skip_while(|line| !is_heading(line) || !line.to_lowercase().contains(REQUEST_HEADING));
    lines.next();
    let section = lines.take_while(|line| !is_heading(line));
    section.flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|word| word.ends_with(".rs")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(path: &str, text: &str) -> Vec<String> {
        let mut report = Report::default();
        check_file(path, text, &mut report);
        report.problems
    }

    #[test]
    fn tests_do_not_count() {
        let tests = "//! A test.\n#[cfg(test)]\nmod tests {\n".to_owned() + &"x\n".repeat(600);
        assert!(problems("crates/core/src/a.rs", &tests).is_empty());
        let long = "//! A file.\n".to_owned() + &"x\n".repeat(500);
        assert_eq!(problems("crates/core/src/a.rs", &long).len(), 1);
        assert!(problems("crates/core/src/a/tests.rs", &long).is_empty());
    }

    #[test]
    fn nameless_and_undocumented_files_are_named() {
        assert_eq!(problems("crates/core/src/utils.rs", "fn x() {}").len(), 2);
        assert_eq!(problems("crates/core/src/mod.rs", "//! x").len(), 1);
    }

    #[test]
    fn the_files_of_one_request_are_those_under_the_heading() {
        let text = "# A\n`no.rs`\n## The files of one request\n1. `a.rs` then `b`\n2. `c/d.rs`\n## Next\n`no.rs`\n";
        assert_eq!(request_files(text), ["a.rs", "c/d.rs"]);
    }
}
