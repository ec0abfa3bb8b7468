//! Tests of signed answers: the template and nothing else, the RFC's own example, and what a client refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::keys::signer_p256;

const NOW: u64 = 1_795_000_000;

fn key() -> AnswerKey {
    AnswerKey::from_scalar(&[7; 32]).unwrap()
}

fn answer<'a>(key: &'a str, authority: &'a str) -> Answer<'a> {
    let subject = Subject { status: 200, digest: [1; 32], bundle: BundleId([2; 32]), key, head: [3; 32] };
    Answer { subject, authority, nonce: NO_NONCE, created: NOW, expires: NOW + 300, node: self::key().node_id() }
}

/// Fields as a client has them.
fn sent(fields: &Fields) -> BTreeMap<&'static str, String> {
    fields.pairs().map(|(name, value)| (name, value.to_owned())).into()
}

fn checked(fields: &BTreeMap<&'static str, String>, now: u64) -> Result<Checked, Unsound> {
    check(200, "example.com", &|name| fields.get(name).map(|value| Cow::Borrowed(&**value)), now)
}

#[test]
fn the_base_is_the_template() {
    let zeros = "0".repeat(64);
    let node = key().node_id();
    let expected = format!(
        "\"@status\": 200\n\"@authority\";req: example.com\n\
         \"unencoded-digest\": sha-256=:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=:\n\
         \"atoll-bundle\": 0x{}\n\"atoll-key\": /a%20b.html\n\"atoll-head\": 0x{}\n\"atoll-nonce\": 0x{zeros}\n\
         \"@signature-params\": (\"@status\" \"@authority\";req \"unencoded-digest\" \"atoll-bundle\" \"atoll-key\" \
         \"atoll-head\" \"atoll-nonce\");created=1795000000;expires=1795000300;keyid=\"{node}\";\
         alg=\"ecdsa-p256-sha256\";tag=\"atoll-1\"",
        "02".repeat(32),
        "03".repeat(32),
    );
    assert_eq!(answer("/a%20b.html", "example.com").base(), expected);
}

#[test]
fn what_is_signed_is_checked_without_knowing_the_key() {
    let fields = sent(&answer("/a", "example.com").sign(&key()));
    let checked = checked(&fields, NOW).unwrap();
    assert_eq!((checked.node, checked.signer), (key().node_id(), key().public()));
    assert_eq!((&*checked.key, checked.digest, checked.bundle.0, checked.head), ("/a", [1; 32], [2; 32], [3; 32]));
}

#[test]
fn another_signature_beside_ours_changes_nothing() {
    let mut fields = sent(&answer("/a", "example.com").sign(&key()));
    let add = |value: &mut String, more: &str| *value = format!("{more}, {value}");
    add(fields.get_mut(SIGNATURE_INPUT).unwrap(), "cdn=(\"@status\");created=1");
    add(fields.get_mut(SIGNATURE).unwrap(), "cdn=:AAAA:");
    assert!(checked(&fields, NOW).is_ok());
    // Alone, it is none of ours.
    fields.insert(SIGNATURE_INPUT, "cdn=(\"@status\");created=1".to_owned());
    assert_eq!(checked(&fields, NOW), Err(Unsound::Unsigned));
}

#[test]
fn every_field_is_covered() {
    let fields = sent(&answer("/a", "example.com").sign(&key()));
    let other = sent(&Answer { nonce: [9; 32], ..answer("/b", "example.com") }.sign(&key()));
    let mut different = other.clone();
    different.insert(UNENCODED_DIGEST, super::unencoded_digest(&[8; 32]));
    different.insert(BUNDLE, hex(&[8; 32]));
    different.insert(HEAD, hex(&[8; 32]));
    for name in [UNENCODED_DIGEST, BUNDLE, KEY, HEAD, NONCE] {
        let mut changed = fields.clone();
        changed.insert(name, different[name].clone());
        assert_eq!(checked(&changed, NOW), Err(Unsound::Forged(key().node_id())), "{name}");
        changed.remove(name);
        assert_eq!(checked(&changed, NOW), Err(Unsound::OffTemplate(OffTemplate::Field(name))), "{name}");
    }
    let lookup = |name: &str| fields.get(name).map(|value| Cow::Borrowed(&**value));
    assert!(matches!(check(404, "example.com", &lookup, NOW), Err(Unsound::Forged(_))));
    assert!(matches!(check(200, "evil.example", &lookup, NOW), Err(Unsound::Forged(_))));
}

#[test]
fn whatever_is_off_the_template_is_refused() {
    let fields = sent(&answer("/a", "example.com").sign(&key()));
    let off = |name: &'static str, from: &str, to: &str| {
        let mut changed = fields.clone();
        let value = changed.get_mut(name).unwrap();
        assert!(value.contains(from), "{from}");
        *value = value.replacen(from, to, 1);
        matches!(checked(&changed, NOW), Err(Unsound::OffTemplate(_)))
    };
    for (from, to) in [
        ("\"@status\" \"@authority\";req", "\"@authority\";req \"@status\""),
        ("\"@status\" ", ""),
        ("\"@status\"", "\"@status\" \"date\""),
        (";req", ""),
        (";created=1795000000;expires=1795000300", ";expires=1795000300;created=1795000000"),
        ("expires=1795000300", "expires=1795000301"),
        ("expires=1795000300", "expires=1795000000"),
        ("expires=1795000300;", ""),
        ("created=1795000000", "created=-1"),
        ("atoll-1", "atoll-2"),
        ("ecdsa-p256-sha256", "ed25519"),
        (";tag=\"atoll-1\"", ""),
        ("atoll-1\"", "atoll-1\";nonce=\"x\""),
        ("keyid=\"0x", "keyid=\"0X"),
        ("keyid=\"0x", "keyid=\""),
        ("atoll=(", "atoll=1, x=("),
    ] {
        assert!(off(SIGNATURE_INPUT, from, to), "{from} -> {to}");
    }
    for (name, from, to) in [
        (SIGNATURE, "atoll=:", "atoll=:AAAA"),
        (SIGNATURE, "atoll=:", "other=:"),
        (BUNDLE, "0x02", "0X02"),
        (BUNDLE, "0x02", "0x"),
        (UNENCODED_DIGEST, "sha-256", "sha-512"),
        (UNENCODED_DIGEST, "sha-256=:", "sha-256=:AQ==:, x=:"),
        (KEY, "/a", "a"),
        (KEY, "/a", "/a b"),
        (NONCE, "0x", "0x0"),
    ] {
        assert!(off(name, from, to), "{name}: {from} -> {to}");
    }
}

#[test]
fn time_passes() {
    let fields = sent(&answer("/a", "example.com").sign(&key()));
    assert_eq!(checked(&fields, NOW + 300), Err(Unsound::Expired(0)));
    assert!(checked(&fields, NOW + 299).is_ok());
    assert!(checked(&fields, NOW - 300).is_ok());
    assert_eq!(checked(&fields, NOW - 301), Err(Unsound::Early(301)));
}

#[test]
fn authorities_are_normalised() {
    let written = |text, https| authority(text, https).map(Cow::into_owned);
    assert_eq!(written("Example.COM:80", false).as_deref(), Some("example.com"));
    assert_eq!(written("example.com:443", true).as_deref(), Some("example.com"));
    assert_eq!(written("example.com:80", true).as_deref(), Some("example.com:80"));
    assert_eq!(written("[::1]:8080", false).as_deref(), Some("[::1]:8080"));
    assert_eq!(written("exa mple", false), None);
    assert_eq!(written("", false), None);
}

/// RFC 9421, appendix B.2.4: a response signed with the appendix's own P-256 key. ECDSA is not deterministic there, so that the
/// signature is checked, not made.
#[test]
fn the_rfcs_own_example_holds() {
    let base = "\"@status\": 200\n\"content-type\": application/json\n\
        \"content-digest\": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:\n\
        \"content-length\": 23\n\
        \"@signature-params\": (\"@status\" \"content-type\" \"content-digest\" \"content-length\");created=1618884473;\
        keyid=\"test-key-ecc-p256\"";
    let signature = BASE64
        .decode(b"wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==")
        .unwrap();
    let number = |text: &str| data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).unwrap();
    let x = number("qIVYZVLCrPZHGHjP17CTW0_-D9Lfw0EkjqF7xB4FivA");
    let y = number("Mc4nN9LTDOBhfoUeg8Ye9WedFRhnZXZJA12Qp0zZ6F0");
    let point = [&[4][..], &x, &y].concat();
    let node = NodeId(crate::manifest::digest(&point));
    let signature: [u8; 64] = signature.try_into().unwrap();
    let found = signer_p256(&node, base.as_bytes(), &signature).unwrap();
    assert_eq!((&found[1..], found[0]), (&x[..], 2 + (y[31] & 1)));
    assert!(signer_p256(&node, &base.as_bytes()[1..], &signature).is_none());
}

proptest! {
    #[test]
    fn any_answer_that_can_be_said_is_signed_and_checked(
        status in 100_u16..600, digest: [u8; 32], bundle: [u8; 32], head: [u8; 32], nonce: [u8; 32],
        key in "/[!-~]{0,100}", authority in "[a-z0-9.:-]{1,40}", lifetime in 1_u64..=300,
    ) {
        let signer = self::key();
        let subject = Subject { status, digest, bundle: BundleId(bundle), key: &key, head };
        let expires = NOW + lifetime;
        let answer = Answer { subject, authority: &authority, nonce, created: NOW, expires, node: signer.node_id() };
        let fields = sent(&answer.sign(&signer));
        let lookup = |name: &str| fields.get(name).map(|value| Cow::Borrowed(&**value));
        let checked = check(status, &authority, &lookup, NOW).unwrap();
        prop_assert_eq!((checked.digest, checked.bundle.0, checked.head), (digest, bundle, head));
        prop_assert_eq!((checked.key, checked.nonce), (key, nonce));
    }

    #[test]
    fn whatever_is_sent_is_refused_or_right(
        name in proptest::sample::select(vec![SIGNATURE_INPUT, SIGNATURE, KEY, HEAD, BUNDLE, UNENCODED_DIGEST, NONCE]),
        at in 0_usize..400, byte in 0x20_u8..0x7f,
    ) {
        let fields = sent(&answer("/a", "example.com").sign(&key()));
        let mut changed = fields.clone();
        let value = changed.get_mut(name).unwrap();
        let at = at % value.len();
        value.replace_range(at..=at, std::str::from_utf8(&[byte]).unwrap());
        let same = changed == fields;
        // The last digits of base64 can be written in several ways.
        let found = checked(&changed, NOW).is_ok();
        prop_assert!(found == same || found && name == SIGNATURE, "{}: {}", name, changed[name]);
    }
}
