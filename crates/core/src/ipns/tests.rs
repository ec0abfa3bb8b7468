//! Records of ours and of others: what verifies, what must not, and which of two counts.

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::content_path::ContentPath;
use crate::keys::SiteKey;
use prost::Message as _;

use std::time::Duration;

const CID: &str = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m";

fn key() -> SiteKey {
    SiteKey::from_seed(&[9; 32])
}

fn new(sequence: u64, eol_ms: u64) -> NewRecord {
    let target: ContentPath = format!("/ipfs/{CID}/a").parse().unwrap();
    NewRecord { target, sequence, eol: Timestamp::from_millis(eol_ms), ttl: TTL_DEFAULT }
}

fn entry(record: &Record) -> wire::Entry {
    wire::Entry::decode(&record.bytes()[..]).unwrap()
}

fn verify(entry: &wire::Entry) -> Result<Record, RecordError> {
    Record::verify(&Name::of(&key().public()).unwrap(), entry.encode_to_vec().into())
}

#[test]
fn a_name_has_one_text_and_many_readings() {
    let name: Name = "12D3KooWRBy97UB99e3J6hiPesre1MZeuNQvfan4gBziswrRJsNK".parse().unwrap();
    assert_eq!(name.to_string(), "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8");
    let rsa: Name = "QmcJM7PRfkSbcM5cf1QugM5R37TLRKyJGgBEhXjLTB8uA2".parse().unwrap();
    assert_eq!(rsa.to_string(), "k2k4r8ol4m8kkcqz509c1rcjwunebj02gcnm5excpx842u736nja8ger");
    for name in [name, rsa] {
        let dag_pb = crate::Cid::new_v1(crate::block::DAG_PB, *name.to_cid().hash());
        let base32 = name.to_cid().to_string();
        for text in [name.to_string(), dag_pb.to_string(), base32] {
            assert_eq!(text.parse(), Ok(name), "{text}");
        }
        assert_eq!(Name::from_bytes(&name.to_bytes()), Ok(name));
    }
    for text in ["", "k51", "example.org", &"1".repeat(10_000)] {
        assert_eq!(text.parse::<Name>(), Err(NameParseError), "{text}");
    }
}

#[test]
fn what_is_signed_is_read_again() {
    let record = new(7, 1_900_000_000_123).sign(&key()).unwrap();
    assert_eq!(record.sequence(), 7);
    assert_eq!(record.target().unwrap().to_string(), format!("/ipfs/{CID}/a"));
    assert_eq!(record.ttl(), TTL_DEFAULT);
    assert_eq!(record.eol().timestamp(), Timestamp::from_millis(1_900_000_000_123));
    assert!(record.is_live(Timestamp::from_millis(1_900_000_000_122)));
    assert!(!record.is_live(Timestamp::from_millis(1_900_000_000_123)));
    assert_eq!(new(7, 1_900_000_000_123).sign(&key()), Ok(record));
}

#[test]
fn the_signature_counts_and_the_first_version_does_not() {
    let record = new(1, 1_900_000_000_000).sign(&key()).unwrap();
    let other = Name::of(&SiteKey::from_seed(&[8; 32]).public()).unwrap();
    assert_eq!(Record::verify(&other, record.bytes().clone()), Err(RecordError::Signature));
    let mut entry = entry(&record);
    entry.signature_v1 = Some(vec![0; 64]);
    assert!(verify(&entry).is_ok());
    entry.value = Some(b"/ipfs/bafkqaaa".to_vec());
    assert_eq!(verify(&entry), Err(RecordError::Differs("Value")));
    (entry.value, entry.signature_v1) = (None, None);
    assert!(verify(&entry).is_ok(), "without both, the copies are nobody's");
    entry.signature_v2 = None;
    assert_eq!(verify(&entry), Err(RecordError::NotV2));
}

#[test]
fn each_copy_must_say_what_is_signed() {
    let record = new(1, 1_900_000_000_000).sign(&key()).unwrap();
    let changed = |change: fn(&mut wire::Entry)| {
        let mut entry = entry(&record);
        change(&mut entry);
        verify(&entry)
    };
    assert_eq!(changed(|entry| entry.validity = None), Err(RecordError::Differs("Validity")));
    assert_eq!(changed(|entry| entry.validity_type = Some(-1)), Err(RecordError::Differs("ValidityType")));
    assert_eq!(changed(|entry| entry.sequence = Some(2)), Err(RecordError::Differs("Sequence")));
    assert_eq!(changed(|entry| entry.ttl = None), Err(RecordError::Differs("TTL")));
    let public = |seed| Some(SiteKey::from_seed(&[seed; 32]).public().to_protobuf());
    assert_eq!(changed(|entry| entry.pub_key = Some(vec![1])), Err(RecordError::Key));
    let mut with_key = entry(&record);
    with_key.pub_key = public(8);
    assert_eq!(verify(&with_key), Err(RecordError::OtherKey));
    with_key.pub_key = public(9);
    assert!(verify(&with_key).is_ok(), "the name's own key is superfluous, not wrong");
}

/// Signs `data` whatever it is.
fn sealed(data: &impl serde::Serialize) -> wire::Entry {
    let data = serde_ipld_dagcbor::to_vec(data).unwrap();
    let signature_v2 = Some(key().sign(&signing_bytes(&data)).to_vec());
    wire::Entry { signature_v2, data: Some(data), ..wire::Entry::default() }
}

#[test]
fn what_an_author_adds_is_passed_over_and_what_he_leaves_out_is_not() {
    #[derive(serde::Serialize)]
    struct Extended {
        _a: u64,
        #[serde(flatten)]
        data: std::collections::BTreeMap<&'static str, ipld_core::ipld::Ipld>,
    }
    let whole = || {
        let bytes = |text: &str| ipld_core::ipld::Ipld::Bytes(text.as_bytes().to_vec());
        let number = ipld_core::ipld::Ipld::Integer;
        std::collections::BTreeMap::from([
            ("Value", bytes("")),
            ("Validity", bytes("2099-01-01T00:00:00Z")),
            ("ValidityType", number(0)),
            ("Sequence", number(0)),
            ("TTL", number(5)),
        ])
    };
    let record = verify(&sealed(&Extended { _a: 1, data: whole() })).unwrap();
    assert_eq!(record.target().unwrap().to_string(), "/ipfs/bafkqaaa");
    for field in ["Value", "Validity", "ValidityType", "Sequence"] {
        let mut data = whole();
        data.remove(field);
        assert_eq!(verify(&sealed(&data)), Err(RecordError::Data), "{field}");
    }
    let mut data = whole();
    data.insert("TTL", ipld_core::ipld::Ipld::Integer(-1));
    assert_eq!(verify(&sealed(&data)), Err(RecordError::Data));
    data.remove("TTL");
    assert_eq!(verify(&sealed(&data)).unwrap().ttl(), TTL_DEFAULT);
    data.insert("ValidityType", ipld_core::ipld::Ipld::Integer(1));
    assert_eq!(verify(&sealed(&data)), Err(RecordError::ValidityType(1)));
}

#[test]
fn a_record_of_ten_kibibytes_is_the_largest() {
    let record = new(1, 1_900_000_000_000).sign(&key()).unwrap();
    let mut bytes = record.bytes().to_vec();
    // An unknown field fills it up: tag 15, a length of two bytes, zeros.
    let rest = RECORD_BYTES_MAX - bytes.len() - 3;
    bytes.extend([0x7a, u8::try_from(rest & 0x7f).unwrap() | 0x80, u8::try_from(rest >> 7).unwrap()]);
    bytes.resize(RECORD_BYTES_MAX, 0);
    let name = *record.name();
    assert!(Record::verify(&name, bytes.clone().into()).is_ok());
    bytes.push(0);
    assert_eq!(Record::verify(&name, bytes.into()), Err(RecordError::TooLarge(RECORD_BYTES_MAX + 1)));
    let mut long = new(1, 1_900_000_000_000);
    long.target.segments = vec!["a".repeat(RECORD_BYTES_MAX)];
    assert!(matches!(long.sign(&key()), Err(RecordError::TooLarge(_))));
}

#[test]
fn the_end_of_life_is_read_in_every_zone() {
    let at = |text: &str| Eol::parse(text.as_bytes()).map(|eol| eol.timestamp().as_millis());
    assert_eq!(at("1970-01-01T00:00:01.000000001Z"), Some(1000));
    assert_eq!(at("1970-01-01T02:00:01.5+02:00"), Some(1500));
    assert_eq!(at("1969-12-31T22:30:00-02:00"), None, "before 1970 nothing was signed");
    assert_eq!(at("1970-01-01T00:00:00-01:30"), Some(5_400_000));
    for text in ["", "Z", "2099", "2099-01-01T00:00:00", "2099-13-01T00:00:00Z", "1970-01-01T00:00:00+0x:00"] {
        assert_eq!(at(text), None, "{text}");
    }
    assert!(Eol::parse(b"2099-01-01T00:00:00.000000001Z") > Eol::parse(b"2099-01-01T00:00:00Z"));
    assert_eq!(new(1, u64::MAX).sign(&key()), Err(RecordError::EndTooLate));
}

#[test]
fn the_higher_sequence_counts_then_the_later_end() {
    let record = |sequence, eol| new(sequence, eol).sign(&key()).unwrap();
    assert!(record(2, 1_000).replaces(&record(1, 9_000)));
    assert!(record(2, 9_000).replaces(&record(2, 1_000)));
    assert!(!record(2, 9_000).replaces(&record(2, 9_000)));
    let mut longer = new(2, 9_000);
    longer.ttl = Duration::from_secs(1);
    let (one, two) = (longer.sign(&key()).unwrap(), record(2, 9_000));
    assert_ne!(one.replaces(&two), two.replaces(&one), "of two alike, all choose the same");
}

#[test]
fn every_flipped_bit_of_what_is_signed_is_refused() {
    let record = new(1, 1_900_000_000_000).sign(&key()).unwrap();
    let data = entry(&record).data.unwrap();
    for at in 0..data.len() * 8 {
        let mut flipped = entry(&record);
        flipped.data.as_mut().unwrap()[at / 8] ^= 1 << (at % 8);
        assert!(verify(&flipped).is_err(), "bit {at}");
    }
}

proptest! {
    #[test]
    fn any_record_is_read_as_it_was_signed(
        sequence: u64,
        eol_ms in 0_u64..253_402_300_800_000,
        ttl_ns: u64,
        segments in prop::collection::vec("[^/\u{0}]{1,20}", 0..5),
    ) {
        let text = format!("/ipfs/{CID}/{}", segments.join("/"));
        prop_assume!(text.parse::<ContentPath>().is_ok());
        let target: ContentPath = text.parse().unwrap();
        let (eol, ttl) = (Timestamp::from_millis(eol_ms), Duration::from_nanos(ttl_ns));
        let record = NewRecord { target: target.clone(), sequence, eol, ttl }.sign(&key()).unwrap();
        prop_assert_eq!((record.sequence(), record.eol().timestamp(), record.ttl()), (sequence, eol, ttl));
        prop_assert_eq!(record.target(), Ok(target));
    }

    #[test]
    fn any_bytes_return(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::verify(&Name::of(&key().public()).unwrap(), bytes.into());
    }
}
