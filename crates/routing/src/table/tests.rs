//! Who may replace whom, what is refused, and that nothing grows without bound.

use std::time::Duration;

use atoll_core::keys::{AnswerKey, IdentityKey, OperatorKey, SiteKey};
use atoll_core::record::OperatorCertificate;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn member(identity: u8, operator: u8, seq: u64, lifetime: u64) -> Bytes {
    let identity = IdentityKey::from_seed(&[identity; 32]);
    let operator = OperatorKey::from_seed(&[operator; 32]);
    let certificate = OperatorCertificate::issue(&operator, "reef", &identity.peer_id(), 2_100_000_000);
    let answer = AnswerKey::from_scalar(&[1; 32]).unwrap();
    let address = "/ip4/127.0.0.1/tcp/80/http".parse().unwrap();
    let mut member = Member::new(&identity, &answer, certificate, &[address]);
    (member.seq, member.exp) = (seq, NOW.as_secs() + lifetime);
    Signed::seal(member, &identity).unwrap().bytes().clone()
}

fn root(version: u8) -> Cid {
    *atoll_core::Block::sha2_256(atoll_core::block::RAW, Bytes::from(vec![version])).unwrap().cid()
}

fn placement(site: u8, seq: u64, version: u8) -> Bytes {
    let mut placement = Placement::new(root(version), 3, 1000);
    (placement.seq, placement.exp) = (seq, NOW.as_secs() + 60);
    Signed::seal(placement, &SiteKey::from_seed(&[site; 32])).unwrap().bytes().clone()
}

fn insert(table: &mut Table, bytes: &Bytes, config: &Config) -> Result<bool, RouteError> {
    Opened::open(bytes.clone()).and_then(|opened| table.insert(opened, NOW, config))
}

#[test]
fn the_highest_sequence_wins_whatever_the_order() {
    let (mut table, config) = (Table::new(1), Config::default());
    let [first, second] = [placement(1, 5, 0), placement(1, 6, 1)];
    assert!(insert(&mut table, &second, &config).unwrap());
    assert!(matches!(insert(&mut table, &first, &config), Err(RouteError::Older(6))));
    assert!(!insert(&mut table, &second, &config).unwrap());
    assert_eq!((table.placements.len(), table.is_known(&first), table.is_known(&second)), (1, false, true));

    let third = placement(1, 7, 0);
    assert!(insert(&mut table, &third, &config).unwrap());
    let placed = table.placements.values().next().unwrap();
    assert_eq!(placed.roots, [root(0), root(1)]);
    assert!(!table.is_known(&second));
}

#[test]
fn earlier_roots_are_bounded_and_never_repeat() {
    let (mut table, config) = (Table::new(1), Config::default());
    let versions = [0, 1, 2, 3, 4, 5, 6, 1, 0];
    for (seq, version) in versions.into_iter().cycle().take(30).enumerate() {
        insert(&mut table, &placement(1, seq as u64, version), &config).unwrap();
        let placed = table.placements.values().next().unwrap();
        let distinct: HashSet<_> = placed.roots.iter().collect();
        assert!(placed.roots.len() <= 1 + EARLIER_ROOTS_MAX && distinct.len() == placed.roots.len());
    }
}

#[test]
fn expired_and_too_long_lived_records_are_refused() {
    let (mut table, config) = (Table::new(1), Config::default());
    assert!(matches!(insert(&mut table, &member(1, 1, 1, 0), &config), Err(RouteError::Expired)));
    let eight_days = 8 * 24 * 60 * 60;
    assert!(matches!(insert(&mut table, &member(1, 1, 1, eight_days), &config), Err(RouteError::TooLong(_))));
    assert!(insert(&mut table, &member(1, 1, 1, 60), &config).unwrap());
    assert!(!table.expire(NOW.after(Duration::from_secs(59))));
    assert!(table.expire(NOW.after(Duration::from_secs(60))));
    assert_eq!((table.members.len(), table.known.len(), table.order.len()), (0, 0, 0));
}

#[test]
fn a_full_table_lets_go_of_the_dead_first_and_of_nobody_live() {
    let (mut table, config) = (Table::new(1), Config { members_max: 2, placements_max: 1, ..Config::default() });
    for identity in [1, 2] {
        insert(&mut table, &member(identity, 1, 1, 60), &config).unwrap();
    }
    table.members.values_mut().next().unwrap().health.live = true;
    assert!(insert(&mut table, &member(3, 1, 1, 60), &config).unwrap());
    assert_eq!((table.members.len(), table.known.len(), table.order.len()), (2, 2, 2));
    table.members.values_mut().for_each(|peer| peer.health.live = true);
    assert!(matches!(insert(&mut table, &member(4, 1, 1, 60), &config), Err(RouteError::Full("members"))));
    // A member that is there may still renew its record.
    assert!(insert(&mut table, &member(3, 1, 2, 60), &config).unwrap());

    insert(&mut table, &placement(1, 1, 0), &config).unwrap();
    let another = insert(&mut table, &placement(2, 1, 0), &config);
    assert!(matches!(another, Err(RouteError::Full("placements"))));
}

#[test]
fn changes_are_told_in_order_and_in_pages() {
    let (mut table, config) = (Table::new(1), Config::default());
    let mut all = Vec::new();
    for site in 0..=255 {
        all.push(placement(site, 1, 0));
    }
    all.push(member(1, 1, 1, 60));
    for bytes in &all {
        insert(&mut table, bytes, &config).unwrap();
    }
    let (next, page, more) = table.since(0);
    assert_eq!((next, page.len(), more), (256, RECORDS_MAX, true));
    let (next, rest, more) = table.since(next);
    assert_eq!((next, rest.len(), more), (257, 1, false));
    assert_eq!([page, rest].concat(), all);
    // A change moves a record to the end, once.
    let changed = placement(9, 2, 1);
    insert(&mut table, &changed, &config).unwrap();
    assert_eq!(table.since(next), (258, vec![changed], false));
    assert_eq!(table.since(258), (258, vec![], false));
    assert_eq!(table.since(u64::MAX), (258, vec![], false));
}

#[test]
fn garbage_is_refused_with_a_reason() {
    assert!(matches!(Opened::open(Bytes::from_static(b"garbage")), Err(RouteError::Record(_))));
    let whole = member(1, 1, 1, 60);
    for index in 0..whole.len() {
        let mut damaged = whole.to_vec();
        damaged[index] ^= 1;
        assert!(Opened::open(Bytes::from(damaged)).is_err(), "byte {index}");
    }
}
