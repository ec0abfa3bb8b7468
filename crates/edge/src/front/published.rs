//! What a site says itself of its servers: `atoll.toml` in the root of what was published. A stranger's word, so all of it is bounded,
//! and what would lead elsewhere than to the servers themselves is refused. Pure.

use std::time::Duration;

use atoll_fallback::OriginConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;

use super::{Quota, RouteConfig, SiteConfig, Source};

/// The file's name.
pub const PUBLISHED: &str = "atoll.toml";
/// The largest that is read, in bytes.
pub const PUBLISHED_BYTES_MAX: usize = 64 * 1024;
/// The most servers and routes.
const ORIGINS_MAX: usize = 16;
const ROUTES_MAX: usize = 64;
/// Requests of one such site that are answered by its servers at one time, and the largest body of one, in MiB.
const REQUESTS: usize = 256;
const UPLOAD_MIB: usize = 64;
/// The longest reason that is given, in bytes.
const REASON_BYTES_MAX: usize = 300;
/// What nodes can do beyond serving files, as `require` names it.
const ABILITIES: [&str; 1] = ["origins"];
/// What belongs to an operator's own settings alone: secrets, and what would have a server take requests that it never agreed to.
const LOCAL: [&str; 5] = ["host", "sni", "client_certificate", "client_key", "bucket"];
/// What may be said of a server, and of a route.
const ORIGIN: [&str; 6] = ["url", "name", "weight", "backup", "http2", "sign"];
const ROUTE: [&str; 5] = ["path", "methods", "header", "origins", "rewrite"];
/// What the file may say.
const FILE: [&str; 6] = ["version", "require", "origins", "routes", "prefer", "hold"];

/// What a site says of its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Its servers; without one, only what was published answers.
    pub origins: Vec<OriginConfig>,
    /// Which of them answer what.
    pub routes: Vec<RouteConfig>,
    /// Who leads.
    pub prefer: Source,
    /// For how long the other one leads at least.
    pub hold: Duration,
    /// What was not understood, and left out.
    pub warnings: Vec<String>,
}

/// What stands at the head of the file.
#[derive(Deserialize)]
struct Head {
    version: i64,
    #[serde(default)]
    require: Vec<String>,
    #[serde(default = "content")]
    prefer: Source,
    #[serde(default = "hold", with = "humantime_serde")]
    hold: Duration,
}

fn content() -> Source {
    Source::Content
}

fn hold() -> Duration {
    Duration::from_secs(60)
}

/// What is wrong with the file, and where.
#[derive(Debug)]
struct Problem {
    place: Place,
    why: String,
}

/// Where in the file something stands.
#[derive(Debug, Default)]
struct Place {
    /// Its byte, if the file cannot be read further.
    byte: Option<usize>,
    /// The array of tables, and the entry in that, counted from 0.
    entry: Option<(&'static str, usize)>,
}

impl Problem {
    /// One whose words begin with the setting that they are of, if they are of one.
    fn of_file(why: impl Into<String>) -> Self {
        Self { place: Place::default(), why: why.into() }
    }

    fn of_entry(name: &'static str, number: usize, why: impl Into<String>) -> Self {
        Self { place: Place { byte: None, entry: Some((name, number)) }, why: why.into() }
    }

    fn of_toml(error: &toml::de::Error) -> Self {
        let byte = error.span().map(|span| span.start);
        Self { place: Place { byte, entry: None }, why: error.message().to_owned() }
    }

    /// In words, with its line if it has one.
    fn described(self, text: &str) -> String {
        let byte = self.place.byte.or_else(|| self.byte(&DeTable::parse(text).ok()?));
        match byte.and_then(|byte| text.as_bytes().get(..byte)) {
            Some(before) => format!("line {}, {}", before.iter().filter(|byte| **byte == b'\n').count() + 1, self.why),
            None => self.why,
        }
    }

    /// Where its setting stands, or else the entry.
    fn byte(&self, file: &Spanned<DeTable<'_>>) -> Option<usize> {
        let setting = self.why.split([':', ',']).next()?;
        let at = |table: &DeTable<'_>, name: &str| table.keys().find(|key| &**key.get_ref() == name).map(starts);
        let Some((name, number)) = self.place.entry else { return at(file.get_ref(), setting) };
        let entry = file.get_ref().get(name)?.get_ref().as_array()?.get(number)?;
        let key = setting.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).unwrap_or_default();
        at(entry.get_ref().as_table()?, key).or_else(|| Some(starts(entry)))
    }
}

fn starts<T>(spanned: &Spanned<T>) -> usize {
    spanned.span().start
}

impl Published {
    /// Reads the file.
    ///
    /// # Errors
    /// Why it is refused, and in which line, for people: at most 300 bytes.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > PUBLISHED_BYTES_MAX {
            return Err(format!("over {PUBLISHED_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        Self::read(text).map_err(|problem| {
            let mut why = problem.described(text);
            let end = (0..=REASON_BYTES_MAX.min(why.len())).rev().find(|end| why.is_char_boundary(*end));
            why.truncate(end.unwrap_or_default());
            why
        })
    }

    fn read(text: &str) -> Result<Self, Problem> {
        let mut table: toml::Table = text.parse().map_err(|error| Problem::of_toml(&error))?;
        let mut warnings = Vec::new();
        let origins = tables(&mut table, "origins", (ORIGINS_MAX, &ORIGIN), &mut warnings)?;
        let routes = tables(&mut table, "routes", (ROUTES_MAX, &ROUTE), &mut warnings)?;
        keep(&mut table, &FILE, "", &mut warnings);
        let head: Head = table.try_into().map_err(|error| Problem::of_toml(&error))?;
        if head.version != 1 {
            return Err(Problem::of_file(format!("version: {} is not known; this node may be too old", head.version)));
        }
        if let Some(unmet) = head.require.iter().find(|ability| !ABILITIES.contains(&ability.as_str())) {
            return Err(Problem::of_file(format!("require: this node cannot meet `{unmet}`")));
        }
        let published = Self { origins, routes, prefer: head.prefer, hold: head.hold, warnings };
        if published.origins.is_empty() {
            let lonely = !published.routes.is_empty() || published.prefer == Source::Origin;
            let why = "origins: is empty: nobody would answer";
            return if lonely { Err(Problem::of_file(why)) } else { Ok(published) };
        }
        match published.problem() {
            Some(problem) => Err(problem),
            None => Ok(published),
        }
    }

    /// What is wrong with its servers and routes.
    fn problem(&self) -> Option<Problem> {
        let origin = |(number, origin): (usize, &OriginConfig)| {
            Some(Problem::of_entry("origins", number, format!("origins.{}", origin.problems().into_iter().next()?)))
        };
        let route = |(number, route): (usize, &RouteConfig)| {
            Some(Problem::of_entry("routes", number, format!("routes.{}", route.problems(&self.origins)?)))
        };
        // Any name will do: who it is of comes with the key that signed it.
        let whole = || SiteConfig::problems(&[self.site("site.example")]).into_iter().next();
        let found = self.origins.iter().enumerate().find_map(origin);
        let found = found.or_else(|| self.routes.iter().enumerate().find_map(route));
        found.or_else(|| whole().map(|problem| Problem::of_file(problem.trim_start_matches("site 1, "))))
    }

    /// The site of this name as an operator would have written it.
    pub(super) fn site(&self, name: &str) -> SiteConfig {
        SiteConfig {
            hosts: vec![name.to_owned()],
            origins: self.origins.clone(),
            content: format!("/ipns/{name}"),
            prefer: self.prefer,
            hold: self.hold.min(Duration::from_secs(3600)),
            routes: self.routes.clone(),
            // Connections that go on are for servers that the operator knows.
            upgrades: Vec::new(),
            published: true,
            upload_mib: UPLOAD_MIB,
            quota: Quota { requests: REQUESTS, ..Quota::default() },
            ..SiteConfig::default()
        }
    }
}

/// Takes an array of tables out of the file.
fn tables<T: DeserializeOwned>(
    file: &mut toml::Table,
    name: &'static str,
    (most, known): (usize, &[&str]),
    warnings: &mut Vec<String>,
) -> Result<Vec<T>, Problem> {
    let Some(value) = file.remove(name) else { return Ok(Vec::new()) };
    let entries = match value {
        toml::Value::Array(entries) if entries.iter().all(toml::Value::is_table) => entries,
        _ => return Err(Problem::of_file(format!("{name}: is written [[{name}]]"))),
    };
    if entries.len() > most {
        return Err(Problem::of_entry(name, most, format!("{name}: {} are over the limit of {most}", entries.len())));
    }
    let entry = |(number, value): (usize, toml::Value)| {
        let wrong = |why: String| Problem::of_entry(name, number, why);
        let mut table: toml::Table =
            value.try_into().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        if let Some(local) = LOCAL.iter().find(|local| name == "origins" && table.contains_key(**local)) {
            return Err(wrong(format!(
                "origins.{local}: only an operator's own settings have it; it is never published"
            )));
        }
        keep(&mut table, known, &format!("{name}."), warnings);
        table.try_into().map_err(|error: toml::de::Error| {
            wrong(format!("{name}: {}", error.to_string().trim().replace('\n', ", ")))
        })
    };
    entries.into_iter().enumerate().map(entry).collect()
}

/// Leaves out what is not known.
fn keep(table: &mut toml::Table, known: &[&str], within: &str, warnings: &mut Vec<String>) {
    table.retain(|key, _| {
        let kept = known.contains(&key);
        if !kept && warnings.len() < ROUTES_MAX {
            warnings.push(format!("{within}{}: is not known, and left out", key.chars().take(64).collect::<String>()));
        }
        kept
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_and_routes_are_read() {
        let text = "version = 1\nrequire = [\"origins\"]\ncolour = 1\n[[origins]]\nurl = \"https://api.example\"\nname = \"api\"\nnew = 2\n\
                    [[routes]]\npath = \"/api/*\"\norigins = [\"api\"]\nrewrite = \"/v1/*\"\n";
        let read = Published::parse(text.as_bytes()).unwrap();
        assert_eq!((&*read.origins[0].name, &*read.routes[0].path, read.prefer), ("api", "/api/*", Source::Content));
        assert_eq!(read.warnings, ["origins.new: is not known, and left out", "colour: is not known, and left out"]);
        let site = read.site("k51a");
        assert!(site.published && site.upgrades.is_empty() && site.content == "/ipns/k51a");
        assert_eq!(Published::parse(b"version = 1").unwrap().origins, []);
    }

    #[test]
    fn what_is_wrong_is_refused_whole_with_its_reason() {
        let origin = "version = 1\n[[origins]]\nurl = \"https://a.example\"\n";
        let many = format!("version = 1\n{}", "[[origins]]\nurl = \"https://a.example\"\n".repeat(ORIGINS_MAX + 1));
        for (text, why) in [
            ("", "version"),
            ("version = 2", "version: 2"),
            ("version = 1\nrequire = [\"wasm\"]", "cannot meet `wasm`"),
            ("version = 1\nprefer = \"origin\"", "origins: is empty"),
            ("version = 1\n[[routes]]\npath = \"/a\"", "origins: is empty"),
            ("version = 1\n[origins]\nurl = 1", "[[origins]]"),
            ("version = 1\n[[origins]]\nurl = \"ftp://a\"", "url"),
            (&format!("{origin}host = \"victim.example\""), "origins.host: only"),
            (&format!("{origin}client_key = \"/etc/shadow\""), "origins.client_key: only"),
            (&format!("{origin}bucket = {{}}"), "origins.bucket: only"),
            (&format!("{origin}[[routes]]\npath = \"/a\"\norigins = [\"b\"]"), "routes.origins"),
            (&many, "over the limit of 16"),
            (&"#".repeat(PUBLISHED_BYTES_MAX + 1), "over 65536"),
            (&format!("version = {}", "[".repeat(60_000)), ""),
        ] {
            let refused = Published::parse(text.as_bytes()).unwrap_err();
            assert!(refused.contains(why) && refused.len() <= REASON_BYTES_MAX, "{text:.100}: {refused}");
        }
        assert!(Published::parse(b"\xff").is_err());
    }

    #[test]
    fn reasons_name_the_line() {
        let origin = "version = 1\n[[origins]]\nurl = \"https://a.example\"\n";
        for (text, reason) in [
            ("version = 1\n[[origins]\n", "line 2, "),
            ("# ours\n\nversion = 2", "line 3, version: 2 is"),
            ("version = 1\norigins = [1]", "line 2, origins: is written"),
            (&format!("{origin}[[origins]]\nname = \"b\"\nurl = \"ftp://b\"\n"), "line 6, origins.url: "),
            (&format!("{origin}\n[[origins]]\nname = \"b\"\n"), "line 5, origins.url: "),
            (&format!("{origin}weight = \"much\"\n"), "line 2, origins: invalid type"),
            (&format!("{origin}weight = 0\n"), "line 4, origins.weight: "),
            (&format!("{origin}sni = \"b\"\n"), "line 4, origins.sni: only"),
            (&format!("{origin}[[routes]]\npath = \"a\"\norigins = [\"a.example\"]"), "line 5, routes.path: "),
        ] {
            let refused = Published::parse(text.as_bytes()).unwrap_err();
            assert!(refused.starts_with(reason), "{text}: {refused}");
        }
    }
}
