//! One rule of a list. Pure; a crash loses nothing.

use atoll_core::block::Multihash;
use atoll_core::{Cid, Denied};
use data_encoding::HEXLOWER_PERMISSIVE;
use multibase::Base;
use multihash_codetable::Code;
use percent_encoding::percent_decode_str;

use super::RULE_BYTES_MAX;

/// Multihash code of SHA2-256, which legacy double hashes are.
pub const SHA2_256: u64 = 0x12;

/// A rule, as a line of a list has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whether it makes an exception instead (`!`, or `+` and `-` as some lists have it).
    pub allow: bool,
    /// What it is about.
    pub about: About,
    /// With what status it denies, if it has a hint that says so.
    pub denied: Option<Denied>,
}

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// `/ipfs/CID/path`: by the multihash, whatever codec and encoding.
    Content(Multihash, RulePath),
    /// `/ipns/KEY/path`: by the key's multihash.
    Key(Multihash, RulePath),
    /// `/ipns/domain/path`: in lower case.
    Domain(String, RulePath),
    /// `//…`: the hash of one of these, by one or, where it cannot be told, both of its readings.
    Hashed(Vec<Multihash>),
}

/// The path of a rule: decoded, without slashes at its ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RulePath {
    /// The path.
    pub text: String,
    /// Whether it stands for all that begin with it.
    pub prefix: bool,
}

impl Rule {
    /// Reads a line that is neither empty nor a comment. What is wrong is said in words that repeat nothing of it.
    ///
    /// # Errors
    /// A text that says why it is no rule.
    pub fn parse_bytes(line: &[u8]) -> Result<Self, &'static str> {
        let line = std::str::from_utf8(line).map_err(|_| "the line is not UTF-8")?;
        let mut fields = line.split_ascii_whitespace();
        let rule = fields.next().unwrap_or_default();
        if rule.len() > RULE_BYTES_MAX {
            return Err("the rule is over 16384 bytes");
        }
        // IPIP-383 writes hints with a colon, its implementation reads them with an equals sign.
        let hints = fields.filter_map(|hint| hint.split_once(['=', ':']));
        let denied = hints.filter_map(|(key, value)| denied_by_hint(key, value)).next_back();
        let plain = rule.strip_prefix(['!', '+', '-']);
        Ok(Self { allow: plain.is_some(), about: About::parse(plain.unwrap_or(rule))?, denied })
    }
}

impl About {
    fn parse(rule: &str) -> Result<Self, &'static str> {
        if let Some(hash) = rule.strip_prefix("//") {
            return hashed(hash).map(Self::Hashed);
        }
        let content = rule.strip_prefix("/ipfs/").or_else(|| rule.strip_prefix("/ipld/"));
        let Some(rest) = content.or_else(|| rule.strip_prefix("/ipns/")) else {
            return Err("a rule begins with /ipfs/, /ipns/ or //");
        };
        let (name, path) = match rest.split_once('/') {
            Some((name, path)) => (name, RulePath::parse(path)?),
            None => (rest, RulePath { text: String::new(), prefix: false }),
        };
        match (content, multihash(name)) {
            (Some(_), Some(multihash)) => Ok(Self::Content(multihash, path)),
            (Some(_), None) => Err("what follows /ipfs/ is no CID"),
            (None, Some(multihash)) => Ok(Self::Key(multihash, path)),
            (None, None) => {
                Ok(Self::Domain(domain(name).ok_or("what follows /ipns/ is neither a key nor a host name")?, path))
            }
        }
    }
}

impl RulePath {
    /// Reads a path; an asterisk at its end, with or without a slash before it, makes it a prefix.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (text, prefix) = match text.strip_suffix('*') {
            Some(before) => (before.strip_suffix('/').unwrap_or(before), true),
            None => (text, false),
        };
        let text = percent_decode_str(text).decode_utf8().map_err(|_| "the path is not UTF-8 when decoded")?;
        Ok(Self { text: text.trim_matches('/').to_owned(), prefix })
    }
}

/// The status that a hint asks for.
pub(super) fn denied_by_hint(key: &str, value: &str) -> Option<Denied> {
    match (key, value) {
        ("status_code" | "status", "451") => Some(Denied::Legal),
        ("status_code" | "status", "410") => Some(Denied::Gone),
        _ => None,
    }
}

/// The multihash in a CID, or one alone in base58 as peer ids are written.
pub(crate) fn multihash(text: &str) -> Option<Multihash> {
    if text.len() > 256 {
        return None;
    }
    let cid = Cid::try_from(text).ok().map(|cid| *cid.hash());
    cid.or_else(|| Multihash::from_bytes(&Base::Base58Btc.decode(text).ok()?).ok())
}

/// A host name in lower case; a label that inlines one is spelled out (Subdomain Gateway, "Inlining").
pub(crate) fn domain(text: &str) -> Option<String> {
    let byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if text.is_empty() || text.len() > 253 || !text.bytes().all(byte) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    if lower.contains('.') || !lower.contains('-') {
        return Some(lower);
    }
    // A dash stands for a dot, two for a dash.
    Some(lower.replace("--", "/").replace('-', ".").replace('/', "-"))
}

/// The readings of a double hash: a multihash in base58, or the hexadecimal digest of the legacy form.
fn hashed(text: &str) -> Result<Vec<Multihash>, &'static str> {
    let modern = multihash(text).filter(is_known);
    let legacy = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok().filter(|digest| digest.len() == 32);
    let legacy = legacy.and_then(|digest| Multihash::wrap(SHA2_256, &digest).ok());
    let found: Vec<_> = modern.into_iter().chain(legacy).collect();
    if found.is_empty() { Err("what follows // is no multihash of a known function and no SHA-256") } else { Ok(found) }
}

/// Whether hashes of that kind can be made here, whole.
fn is_known(hash: &Multihash) -> bool {
    use multihash_codetable::MultihashDigest;
    Code::try_from(hash.code()).is_ok_and(|code| code.digest(&[]).size() == hash.size())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafybeihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq";

    fn parse(line: &str) -> Result<Rule, &'static str> {
        Rule::parse_bytes(line.as_bytes())
    }

    fn path(text: &str) -> (String, bool) {
        match parse(&format!("/ipfs/{CID}{text}")).unwrap().about {
            About::Content(_, path) => (path.text, path.prefix),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_decoded_and_may_be_prefixes() {
        for (text, decoded, prefix) in [
            ("", "", false),
            ("/", "", false),
            ("/*", "", true),
            ("/a/b", "a/b", false),
            ("/a/", "a", false),
            ("/a/*", "a", true),
            ("/a*", "a", true),
            ("/%61%20%2a", "a *", false),
            ("/a+b", "a+b", false),
        ] {
            assert_eq!(path(text), (decoded.to_owned(), prefix), "{text}");
        }
    }

    #[test]
    fn all_forms_of_a_cid_are_one() {
        let hash = |text: &str| multihash(text).unwrap();
        assert_eq!(hash(CID), hash("QmesfgDQ3q6prBy2Kg2gKbW4MAGuWiRP2DVuGA5MZSERLo"));
        assert_eq!(hash(CID), hash("bafkreihvvulpp4evxj7x7armbqcyg6uezzuig6jp3lktpbovlqfkuqeuoq"));
        assert_eq!(
            hash("k51qzi5uqu5dhmzyv3zac033i7rl9hkgczxyl81lwoukda2htteop7d3x0y1mf"),
            hash("12D3KooWDkNqEJNmreF3NYYFK1ws7Ra2fuW6cHBTu567SPV3LdYA")
        );
    }

    #[test]
    fn hints_and_exceptions_are_read() {
        let rule = parse(&format!("!/ipfs/{CID} x=y status_code=451 z")).unwrap();
        assert_eq!((rule.allow, rule.denied), (true, Some(Denied::Legal)));
        let rule = parse("+/ipns/Domain.example status:410").unwrap();
        assert_eq!((rule.allow, rule.denied), (true, Some(Denied::Gone)));
        let nothing = RulePath { text: String::new(), prefix: false };
        assert_eq!(rule.about, About::Domain("domain.example".to_owned(), nothing));
        assert_eq!(domain("en-wikipedia--on--ipfs-org").as_deref(), Some("en.wikipedia-on-ipfs.org"));
    }

    #[test]
    fn double_hashes_have_two_forms() {
        let hashes = |text: &str| match parse(text).map(|rule| rule.about) {
            Ok(About::Hashed(hashes)) => hashes.len(),
            _ => 0,
        };
        assert_eq!(hashes("//QmX9dhRcQcKUw3Ws8485T5a9dtjrSCQaUAHnG4iK9i4ceM"), 1);
        assert_eq!(hashes("//gW813G35CnLsy7gRYYHuf63hrz71U1xoLFDVeV7actx6oX"), 1);
        assert_eq!(hashes("//d9d295bde21f422d471a90f2a37ec53049fdf3e5fa3ee2e8f20e10003da429e7"), 1);
        assert_eq!((hashes("//"), hashes("//d9d2"), hashes("//nonsense")), (0, 0, 0));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for line in [
            "x",
            "/my/path*",
            "/ipfs/",
            "/ipfs/x",
            "/ipns/",
            "/ipns/a b",
            "/ipns/ą",
            "/ipfs//a",
            "/ipfs/x/%ff",
            "https://x",
        ] {
            assert!(parse(line).is_err() || line == "/ipns/a b", "{line}");
        }
        assert!(parse(&format!("/ipfs/{CID}/{}", "a".repeat(RULE_BYTES_MAX))).is_err());
        assert!(Rule::parse_bytes(b"/ipns/\xff").is_err());
    }
}
