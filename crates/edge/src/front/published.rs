//! What a site says itself of its servers: `atoll.toml` in the root of what was published. A stranger's word, so all of it is bounded,
//! and what would lead elsewhere than to the servers themselves is refused. Pure.

use std::time::Duration;

use atoll_fallback::OriginConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;

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

impl Published {
    /// Reads the file.
    ///
    /// # Errors
    /// Why it is refused, for people: at most 300 bytes.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        Self::read(text).map_err(|mut why| {
            let end = (0..=REASON_BYTES_MAX.min(why.len())).rev().find(|end| why.is_char_boundary(*end));
            why.truncate(end.unwrap_or_default());
            why
        })
    }

    fn read(text: &[u8]) -> Result<Self, String> {
        if text.len() > PUBLISHED_BYTES_MAX {
            return Err(format!("over {PUBLISHED_BYTES_MAX} bytes"));
        }
        let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let mut warnings = Vec::new();
        let origins = tables(&mut table, "origins", (ORIGINS_MAX, &ORIGIN), &mut warnings)?;
        let routes = tables(&mut table, "routes", (ROUTES_MAX, &ROUTE), &mut warnings)?;
        keep(&mut table, &FILE, "", &mut warnings);
        let head: Head = table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
        if head.version != 1 {
            return Err(format!("version: {} is not known; this node may be too old", head.version));
        }
        if let Some(unmet) = head.require.iter().find(|ability| !ABILITIES.contains(&ability.as_str())) {
            return Err(format!("require: this node cannot meet `{unmet}`"));
        }
        let published = Self { origins, routes, prefer: head.prefer, hold: head.hold, warnings };
        if published.origins.is_empty() {
            let lonely = !published.routes.is_empty() || published.prefer == Source::Origin;
            return if lonely { Err("origins: is empty: nobody would answer".to_owned()) } else { Ok(published) };
        }
        // Any name will do: who it is of comes with the key that signed it.
        match SiteConfig::problems(&[published.site("site.example")]).into_iter().next() {
            Some(problem) => Err(problem.trim_start_matches("site 1, ").to_owned()),
            None => Ok(published),
        }
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
    name: &str,
    (most, known): (usize, &[&str]),
    warnings: &mut Vec<String>,
) -> Result<Vec<T>, String> {
    let Some(value) = file.remove(name) else { return Ok(Vec::new()) };
    let toml::Value::Array(entries) = value else { return Err(format!("{name}: is written [[{name}]]")) };
    if entries.len() > most {
        return Err(format!("{name}: {} are over the limit of {most}", entries.len()));
    }
    let entry = |value: toml::Value| {
        let toml::Value::Table(mut table) = value else { return Err(format!("{name}: is written [[{name}]]")) };
        if let Some(local) = LOCAL.iter().find(|local| name == "origins" && table.contains_key(**local)) {
            return Err(format!("origins.{local}: only an operator's own settings have it; it is never published"));
        }
        keep(&mut table, known, &format!("{name}."), warnings);
        table.try_into().map_err(|error: toml::de::Error| format!("{name}: {}", error.message()))
    };
    entries.into_iter().map(entry).collect()
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
}
