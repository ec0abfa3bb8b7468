//! Layers of settings, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use toml::{Table, Value};

use super::Config;

/// Where a value came from, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Built in.
    Default,
    /// `node.toml`.
    File,
    /// An `ATOLL_…` variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "node.toml",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// Something wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: String,
    why: String,
}

impl Problem {
    /// `path` is a setting such as `gateway.listen`.
    pub fn new(path: &str, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), why: why.into() }
    }
}

impl Problem {
    /// A sentence of a section's own check, `setting: why`.
    pub(crate) fn in_section(section: &str, text: &str) -> Self {
        match text.split_once(": ") {
            Some((setting, why)) => Self::new(&format!("{section}.{setting}"), why),
            None => Self::new(section, text),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.why)
    }
}

/// All that is wrong, so that it can be mended in one go.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "problem" } else { "problems" };
        write!(f, "the configuration has {} {plural}:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

/// The effective settings: path, value, and where it came from.
pub type Sources = Vec<(String, Value, Source)>;

/// Settings collected from their sources, not yet checked.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    values: BTreeMap<String, (Value, Source)>,
    problems: Vec<Problem>,
}

impl Layers {
    /// Adds the text of `node.toml`.
    pub fn file(&mut self, text: &str) {
        match text.parse::<Table>() {
            Ok(table) => self.table("", table, Source::File),
            Err(error) => self.problems.push(Problem::new("node.toml", error.to_string().trim_end())),
        }
    }

    /// Adds what `variable` says for each known setting; `variable` looks one up, such as `std::env::var`.
    pub fn environment(&mut self, variable: impl Fn(&str) -> Option<String>) {
        for path in defaults().into_keys() {
            if let Some(text) = variable(&variable_name(&path)) {
                self.values.insert(path.clone(), (scalar(&path, &text), Source::Environment));
            }
        }
    }

    /// Adds one flag: a path and its value as TOML, a bare word being a string.
    pub fn flag(&mut self, path: &str, text: &str) {
        self.values.insert(path.to_owned(), (scalar(path, text), Source::Flag));
    }

    /// Checks all layers together.
    ///
    /// # Errors
    /// All problems of all sources.
    pub fn build(mut self) -> Result<(Config, Sources), Problems> {
        let mut effective: BTreeMap<_, _> =
            defaults().into_iter().map(|(path, value)| (path, (value, Source::Default))).collect();
        for (path, (value, source)) in self.values {
            let Some(setting) = effective.get_mut(&path) else {
                self.problems.push(Problem::new(&path, format!("is not a setting (from {source})")));
                continue;
            };
            match read([(path.as_str(), &value)]) {
                Ok(_) => *setting = (value, source),
                Err(why) => self.problems.push(Problem::new(&path, format!("{why} (from {source})"))),
            }
        }
        let read = read(effective.iter().map(|(path, (value, _))| (path.as_str(), value)));
        let config = read.unwrap_or_else(|why| {
            self.problems.push(Problem::new("node.toml", why));
            Config::default()
        });
        self.problems.extend(config.check());
        if !self.problems.is_empty() {
            return Err(Problems(self.problems));
        }
        Ok((config, effective.into_iter().map(|(path, (value, source))| (path, value, source)).collect()))
    }

    /// Adds a table, setting by setting.
    fn table(&mut self, prefix: &str, table: Table, source: Source) {
        let known = defaults();
        for (path, value) in flatten(prefix, table, &|path, _| known.contains_key(path)) {
            self.values.insert(path, (value, source));
        }
    }
}

/// The settings that exist, with their default values.
fn defaults() -> BTreeMap<String, Value> {
    let table = Table::try_from(Config::default()).unwrap_or_default();
    // A table that is empty by default is one that its setting fills, not a section.
    flatten("", table, &|_, inner| inner.is_empty()).into_iter().collect()
}

/// The environment variable of a setting.
pub(crate) fn variable_name(path: &str) -> String {
    format!("ATOLL_{}", path.to_ascii_uppercase().replace('.', "_"))
}

/// `a.b = v` for each value in a table of tables. What `is_setting` names is a value even when it is a table.
fn flatten(prefix: &str, table: Table, is_setting: &dyn Fn(&str, &Table) -> bool) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    for (key, value) in table {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) if !is_setting(&path, &inner) => out.extend(flatten(&path, inner, is_setting)),
            value => out.push((path, value)),
        }
    }
    out
}

/// Reads settings over the defaults.
fn read<'a>(values: impl IntoIterator<Item = (&'a str, &'a Value)>) -> Result<Config, String> {
    let mut root = Table::new();
    for (path, value) in values {
        insert(&mut root, path, value.clone());
    }
    root.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Puts `value` at `path`, making tables on the way.
fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((head, rest)) => {
            let inner = table.entry(head.to_owned()).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// A value from text: a list for a setting that is one (comma separated), else TOML, else the text itself.
fn scalar(path: &str, text: &str) -> Value {
    let is_list = matches!(defaults().get(path), Some(Value::Array(_)));
    let parsed = format!("v = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
    match parsed {
        Some(Value::Array(items)) => Value::Array(items),
        Some(value) if !is_list => value,
        _ if is_list => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ => Value::String(text.to_owned()),
    }
}
