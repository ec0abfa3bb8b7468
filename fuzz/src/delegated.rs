//! What routers and their clients send: lists, lines, filters, keys.

use atoll_core::delegated::{Filter, Lines, PeerRecord, parse_key, parse_peer, records};

/// An answer of a router, or the query or key of a question to one.
pub fn delegated(data: &[u8]) {
    let text = std::str::from_utf8(data).unwrap_or_default();
    let filter = Filter::parse(text);
    for record in records(data).unwrap_or_default().into_iter().chain(lines(data)) {
        let json = serde_json::to_vec(&record).unwrap_or_default();
        assert_eq!(PeerRecord::parse(&json).as_ref(), Some(&record), "it does not come back");
        atoll_routing::fuzzing::router_record(&record);
        if let Ok(filter) = &filter
            && let Some(passed) = filter.apply(record.clone())
        {
            assert!(passed.addresses.len() <= record.addresses.len());
        }
    }
    let (peer, key) = (parse_peer(text), parse_key(text));
    assert!(peer.is_none() || key == peer.map(|peer| peer.to_bytes()));
}

/// The records of a stream, the same however it is cut into pieces.
fn lines(data: &[u8]) -> Vec<PeerRecord> {
    let read = |size: usize| {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for piece in data.chunks(size) {
            lines.push(piece);
            while let Ok(Some(line)) = lines.next_line() {
                found.extend(PeerRecord::parse(line));
            }
        }
        found.extend(lines.rest().and_then(PeerRecord::parse));
        found
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(7), whole, "pieces matter");
    whole
}
