//! Golden vectors (`testdata/vectors.json`), libp2p's own envelope as judge, and records that must be refused.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use multiaddr::Multiaddr;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::block::Cid;
use crate::bundle::BundleId;
use crate::envelope::{ENVELOPE_BYTES_MAX, Record, RecordError, Signed};
use crate::id::{PublicKey, SiteId};
use crate::ipns::Name;
use crate::keys::{AnswerKey, IdentityKey, OperatorKey, SiteKey};
use crate::rank;

const ROOT: &str = "bafybeifx7yeb55armcsxwwitkymga5xf53dxiarykms3ygqic223w5sk3m";

fn member(seed: u8, operator: u8) -> (IdentityKey, Member) {
    let identity = IdentityKey::from_seed(&[seed; 32]);
    let answer = AnswerKey::from_scalar(&[seed; 32]).unwrap();
    let operator = OperatorKey::from_seed(&[operator; 32]);
    let certificate = OperatorCertificate::issue(&operator, "Lagoon", &identity.peer_id(), 2_000_000_000);
    let addrs: [Multiaddr; 1] = ["/ip4/127.0.0.1/tcp/8080/http".parse().unwrap()];
    let mut member = Member::new(&identity, &answer, certificate, &addrs);
    (member.seq, member.exp, member.free) = (1_790_000_000_000, 1_790_086_400, 1 << 30);
    (identity, member)
}

fn placement() -> Signed<Placement> {
    let mut placement = Placement::new(ROOT.parse().unwrap(), 3, 1 << 20);
    (placement.seq, placement.exp) = (1_790_000_000_001, 1_821_536_000);
    Signed::seal(placement, &SiteKey::from_seed(&[9; 32])).unwrap()
}

fn probe() -> Signed<ProbeAnswer> {
    let root: Cid = ROOT.parse().unwrap();
    let answer = ProbeAnswer::new([5; 32], 1_790_000_030, vec![root]);
    Signed::seal(answer, &IdentityKey::from_seed(&[1; 32])).unwrap()
}

/// Everything that `docs/formats.md` promises, as the code writes it today.
fn vectors() -> Value {
    let (identity, record) = member(1, 3);
    let key = SiteKey::from_seed(&[9; 32]);
    let site = key.site_id();
    let signed = Signed::seal(record, &identity).unwrap();
    serde_json::json!({
        "identity": {
            "seed": HEXLOWER.encode(&[1; 32]),
            "public": HEXLOWER.encode(&identity.public().0),
            "peerId": identity.peer_id().to_string(),
            "peerIdBytes": HEXLOWER.encode(&identity.peer_id().to_bytes()),
            "pem": identity.to_pem().unwrap(),
        },
        "answer": {
            "scalar": HEXLOWER.encode(&[1; 32]),
            "public": HEXLOWER.encode(&AnswerKey::from_scalar(&[1; 32]).unwrap().public()),
            "pem": AnswerKey::from_scalar(&[1; 32]).unwrap().to_pem().unwrap(),
        },
        "site": {
            "seed": HEXLOWER.encode(&[9; 32]),
            "public": HEXLOWER.encode(&key.public().0),
            "id": HEXLOWER.encode(&site.0),
            "text": site.to_string(),
            "name": Name::of(&key.public()).unwrap().to_string(),
        },
        "member": HEXLOWER.encode(signed.bytes()),
        "placement": HEXLOWER.encode(placement().bytes()),
        "probe": HEXLOWER.encode(probe().bytes()),
        "rank": (1..=5).map(|seed| {
            let peer = IdentityKey::from_seed(&[seed; 32]).peer_id();
            serde_json::json!([peer.to_string(), HEXLOWER.encode(&rank::score(&site, &peer.to_bytes()))])
        }).collect::<Vec<_>>(),
    })
}

#[test]
fn golden_vectors_hold() {
    let golden: Value = serde_json::from_str(include_str!("../../testdata/vectors.json")).unwrap();
    let now = vectors();
    assert_eq!(golden, now, "formats are fixed; were they meant to change? now:\n{now:#}");
}

#[test]
fn libp2p_reads_our_envelopes() {
    let bytes = placement().bytes().to_vec();
    let envelope = libp2p_core::SignedEnvelope::from_protobuf_encoding(&bytes).unwrap();
    let (payload, key) =
        envelope.payload_and_signing_key(Placement::DOMAIN.to_owned(), Placement::PAYLOAD_TYPE.as_bytes()).unwrap();
    assert_eq!(key.encode_protobuf(), SiteKey::from_seed(&[9; 32]).public().to_protobuf());
    let read: Placement = serde_ipld_dagcbor::from_slice(payload).unwrap();
    assert_eq!(&read, placement().record());
    assert_eq!(envelope.into_protobuf_encoding(), bytes);
}

#[test]
fn every_flipped_bit_is_refused() {
    let (identity, record) = member(1, 3);
    let bytes = Signed::seal(record, &identity).unwrap().bytes().to_vec();
    for at in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        assert!(Signed::<Member>::open(flipped.into()).is_err(), "bit {at}");
    }
}

#[test]
fn one_kind_is_not_another() {
    assert_eq!(Signed::<Member>::open(placement().bytes().clone()), Err(RecordError::OtherKind));
}

#[test]
fn nobody_speaks_for_another_node() {
    let (_, record) = member(1, 3);
    assert_eq!(Signed::seal(record, &IdentityKey::from_seed(&[2; 32])), Err(RecordError::WrongSigner));
}

#[test]
fn nobody_claims_another_operator() {
    let (identity, mut record) = member(1, 3);
    record.operator.key = OperatorKey::from_seed(&[4; 32]).public();
    assert_eq!(Signed::seal(record, &identity), Err(RecordError::InnerSignature("the operator")));
}

#[test]
fn a_record_does_not_outlive_its_certificate() {
    let (identity, mut record) = member(1, 3);
    record.exp = record.operator.exp + 1;
    assert_eq!(Signed::seal(record, &identity), Err(RecordError::Bounds("exp")));
}

#[test]
fn a_placement_without_a_bundle_is_as_it_was_and_each_version_has_its_form() {
    let key = SiteKey::from_seed(&[9; 32]);
    let placed = || Placement::new(ROOT.parse().unwrap(), 1, 0);
    let sealed = |v: u64, mut placement: Placement| {
        placement.v = v;
        Signed::seal(placement, &key).map(|_| ())
    };
    let with = || placed().with_bundle(&BundleId([1; 32]));
    assert_eq!((sealed(1, placed()), sealed(2, with())), (Ok(()), Ok(())));
    assert_eq!(sealed(1, with()), Err(RecordError::Bounds("bundle")));
    assert_eq!(sealed(2, placed()), Err(RecordError::Bounds("bundle")));
    assert_eq!(sealed(3, placed()), Err(RecordError::Version(3)));
}

#[test]
fn bounds_are_met_exactly() {
    let key = SiteKey::from_seed(&[9; 32]);
    let sealed = |n| Signed::seal(Placement::new(ROOT.parse().unwrap(), n, 0), &key).map(|_| ());
    assert_eq!(sealed(0), Err(RecordError::Bounds("n")));
    assert_eq!(sealed(REPLICAS_MAX), Ok(()));
    assert_eq!(sealed(REPLICAS_MAX + 1), Err(RecordError::Bounds("n")));
    let peers: Vec<_> = (0..=64).map(|seed| IdentityKey::from_seed(&[seed; 32]).peer_id()).collect();
    let only = |peers: &[_]| Signed::seal(Placement::new(ROOT.parse().unwrap(), 1, 0).only(peers), &key).map(|_| ());
    assert_eq!(only(&peers[..ALLOWED_MEMBERS_MAX]), Ok(()));
    assert_eq!(only(&peers), Err(RecordError::Bounds("members")));
    let over = Bytes::from(vec![0; ENVELOPE_BYTES_MAX + 1]);
    assert_eq!(Signed::<Placement>::open(over), Err(RecordError::TooLarge(ENVELOPE_BYTES_MAX + 1)));
}

#[test]
fn rank_takes_the_best_of_each_operator_first() {
    let members: Vec<_> = (1..=6).map(|seed| member(seed, 100 + seed % 3).1).collect();
    let placement = Placement::new(ROOT.parse().unwrap(), 3, 1 << 20);
    let site = SiteId::of(&PublicKey([7; 32]));
    let ranked = rank::rank(&site, &placement, members.iter(), |_| false);
    assert_eq!(ranked.len(), 6);
    let operators: std::collections::HashSet<_> = ranked[..3].iter().map(|m| m.operator.key).collect();
    assert_eq!(operators.len(), 3);
    let scores = |range: std::ops::Range<usize>| -> Vec<_> {
        ranked[range].iter().map(|m| rank::score(&site, m.peer_bytes())).collect()
    };
    assert!(scores(0..3).is_sorted_by(|a, b| a > b) && scores(3..6).is_sorted_by(|a, b| a > b));
}

#[test]
fn rank_leaves_out_who_does_not_accept() {
    let (_, mut full) = member(1, 3);
    full.free = 10;
    let (_, mut closed) = member(2, 4);
    closed.accept = Accept::None;
    let placement = Placement::new(ROOT.parse().unwrap(), 3, 11);
    let site = SiteId::of(&PublicKey([7; 32]));
    assert!(rank::rank(&site, &placement, [&full, &closed].into_iter(), |_| false).is_empty());
    let holding = rank::rank(&site, &placement, [&full, &closed].into_iter(), |_| true);
    assert_eq!(holding, [&full], "who holds it already needs no room");
}

proptest! {
    #[test]
    fn whatever_bytes_come_open_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(Signed::<Member>::open(bytes.clone()).is_err());
        prop_assert!(Signed::<Placement>::open(bytes.clone()).is_err());
        prop_assert!(Signed::<ProbeAnswer>::open(bytes).is_err());
    }

    #[test]
    fn placements_come_back(n in 1..=REPLICAS_MAX, seq: u64, exp: u64, quota: u64, named in 0u8..4, bundle: Option<[u8; 32]>) {
        let mut placement = Placement::new(ROOT.parse().unwrap(), n, quota);
        (placement.seq, placement.exp) = (seq, exp);
        let peers: Vec<_> = (0..named).map(|i| member(i + 1, 1).0.peer_id()).collect();
        let placement = if named == 0 { placement } else { placement.only(&peers) };
        let bundle = bundle.map(BundleId);
        let placement = bundle.iter().fold(placement, |placement, bundle| placement.with_bundle(bundle));
        prop_assert_eq!(placement.bundle(), bundle);
        let sealed = Signed::seal(placement, &SiteKey::from_seed(&[9; 32])).unwrap();
        prop_assert_eq!(Signed::<Placement>::open(sealed.bytes().clone()).unwrap(), sealed);
    }
}
