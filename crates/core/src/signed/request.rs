//! A node's signature on a request to a server (RFC 9421), so that the server can refuse others (`docs/front.md`, "Requests that the node
//! signs"). The tag and the components keep it apart from every answer.

use data_encoding::BASE64;

use super::{LABEL, hex, parse_hex};
use crate::id::NodeId;
use crate::keys::{AnswerKey, AnswerPublicKey, signer_p256};
use crate::merkle::Hash;

/// How long a signature counts, in seconds.
pub const REQUEST_SECONDS: u64 = 60;
/// The components, in their order.
const REQUEST: &str = "(\"@method\" \"@authority\" \"@path\" \"@query\")";
const TAG: &str = "atoll-origin-1";

/// A request as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// Host and port that the server is told, as [`super::authority`] writes them.
    pub authority: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// When it was signed, in seconds since the Unix epoch.
    pub created: u64,
    /// Fresh randomness.
    pub nonce: Hash,
    /// Who signs.
    pub node: NodeId,
}

impl SignedRequest<'_> {
    /// The signature's parameters (RFC 9421, section 2.3).
    pub fn params(&self) -> String {
        let expires = self.created.saturating_add(REQUEST_SECONDS);
        format!(
            "{REQUEST};created={};expires={expires};nonce=\"{}\";keyid=\"{}\";alg=\"ecdsa-p256-sha256\";tag=\"{TAG}\"",
            self.created,
            hex(&self.nonce),
            self.node
        )
    }

    /// What is signed (RFC 9421, section 2.5).
    pub fn base(&self) -> String {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        format!(
            "\"@method\": {}\n\"@authority\": {}\n\"@path\": {path}\n\"@query\": ?{query}\n\"@signature-params\": {}",
            self.method,
            self.authority,
            self.params()
        )
    }

    /// `Signature-Input` and `Signature`.
    pub fn sign(&self, key: &AnswerKey) -> [String; 2] {
        let signature = key.sign(self.base().as_bytes());
        [format!("{LABEL}={}", self.params()), format!("{LABEL}=:{}:", BASE64.encode(&signature))]
    }
}

/// Whose signature a request carries: the key of the node that it names. `None` if that is no such signature, is of something else, or
/// does not count at `now`, in seconds since the Unix epoch. `created`, `nonce` and `node` are those of the signature.
pub fn check_request(
    (method, authority, target): (&str, &str, &str),
    [input, signature]: [&str; 2],
    now: u64,
) -> Option<(NodeId, AnswerPublicKey)> {
    let params = input.strip_prefix(LABEL)?.strip_prefix('=')?;
    let parameter = |name: &str| params.split(';').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let quoted = |name: &str| parse_hex(parameter(name)?.trim_matches('"'));
    let created: u64 = parameter("created")?.parse().ok()?;
    let (nonce, node) = (quoted("nonce")?, NodeId(quoted("keyid")?));
    let request = SignedRequest { method, authority, target, created, nonce, node };
    let raw = signature.strip_prefix(LABEL)?.strip_prefix("=:")?.strip_suffix(':')?;
    let raw: [u8; 64] = BASE64.decode(raw.as_bytes()).ok()?.try_into().ok()?;
    let in_time = now.saturating_sub(created) <= REQUEST_SECONDS && created.saturating_sub(now) <= REQUEST_SECONDS;
    // What was sent is what the template makes of it, byte by byte.
    let sound = in_time && params == request.params();
    sound.then(|| signer_p256(&node, request.base().as_bytes(), &raw)).flatten().map(|key| (node, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_the_request_and_nothing_else() {
        let key = AnswerKey::from_scalar(&[1; 32]).unwrap();
        let request = SignedRequest {
            method: "GET",
            authority: "origin.example",
            target: "/a/b?c=d?e",
            created: 1_000,
            nonce: [7; 32],
            node: key.node_id(),
        };
        assert!(request.base().contains("\n\"@path\": /a/b\n\"@query\": ?c=d?e\n"));
        let [input, signature] = request.sign(&key);
        let check = |method, authority, target, input: &str, now| {
            check_request((method, authority, target), [input, &signature], now)
        };
        let good = Some((key.node_id(), key.public()));
        assert_eq!(check("GET", "origin.example", "/a/b?c=d?e", &input, 1_030), good);
        assert_eq!(check("GET", "origin.example", "/a/b?c=d?e", &input, 1_061), None);
        assert_eq!(check("GET", "origin.example", "/a/b?c=d?e", &input, 900), None);
        for (method, authority, target) in [
            ("PUT", "origin.example", "/a/b?c=d?e"),
            ("GET", "other.example", "/a/b?c=d?e"),
            ("GET", "origin.example", "/a/b"),
        ] {
            assert_eq!(check(method, authority, target, &input, 1_030), None);
        }
        for other in [
            input.replace("1000", "1001"),
            input.replace("atoll-origin-1", "atoll-1"),
            format!("{input};x"),
            String::new(),
        ] {
            assert_eq!(check("GET", "origin.example", "/a/b?c=d?e", &other, 1_030), None);
        }
        let none = SignedRequest { target: "/", ..request };
        assert!(none.base().contains("\"@query\": ?\n"));
    }
}
