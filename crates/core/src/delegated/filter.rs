//! What a client wants to be told of (IPIP-484): addresses by what they are made of, peers by what they speak.

use multiaddr::Multiaddr;
use percent_encoding::percent_decode_str;

use super::{PROTOCOL_BYTES_MAX, PeerRecord};

/// The most names in one filter.
const NAMES_MAX: usize = 32;

/// `filter-addrs` and `filter-protocols` of a query; the default lets everything pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Addresses must have one of these.
    wanted: Vec<String>,
    /// Addresses must have none of these.
    unwanted: Vec<String>,
    /// Whether peers without addresses pass.
    without_addresses: bool,
    /// Peers must speak one of these; `unknown` stands for those that do not say.
    protocols: Vec<String>,
}

impl Filter {
    /// Reads a query. Other parameters are ignored; of one that is repeated the first counts.
    ///
    /// # Errors
    /// [`FilterError`] when there are too many names, or one is too long.
    pub fn parse(query: &str) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for name in names_of(query, "filter-addrs")? {
            match name.strip_prefix('!') {
                Some(name) => filter.unwanted.push(name.to_owned()),
                None if name == "unknown" => filter.without_addresses = true,
                None => filter.wanted.push(name),
            }
        }
        filter.protocols = names_of(query, "filter-protocols")?;
        Ok(filter)
    }

    /// The record with the addresses that pass; `None` when it does not pass.
    pub fn apply(&self, mut record: PeerRecord) -> Option<PeerRecord> {
        if !self.protocols.is_empty() && !self.protocols.iter().any(|name| speaks(&record, name)) {
            return None;
        }
        if self.wanted.is_empty() && self.unwanted.is_empty() && !self.without_addresses {
            return Some(record);
        }
        if record.addresses.is_empty() {
            return self.without_addresses.then_some(record);
        }
        record.addresses.retain(|address| self.passes(address));
        (!record.addresses.is_empty()).then_some(record)
    }

    fn passes(&self, address: &Multiaddr) -> bool {
        let has = |names: &[String]| address.protocol_stack().any(|part| names.iter().any(|name| name == part));
        // `unknown` is a name that is wanted, and that no address has.
        let any = self.wanted.is_empty() && !self.without_addresses;
        !has(&self.unwanted) && (any || has(&self.wanted))
    }
}

fn speaks(record: &PeerRecord, name: &str) -> bool {
    (name == "unknown" && record.protocols.is_empty())
        || record.protocols.iter().any(|spoken| spoken.eq_ignore_ascii_case(name))
}

/// The names in a parameter, in lower case.
fn names_of(query: &str, parameter: &str) -> Result<Vec<String>, FilterError> {
    let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, value)) = values.find(|(name, _)| *name == parameter) else { return Ok(Vec::new()) };
    let value = percent_decode_str(value).decode_utf8_lossy().to_ascii_lowercase();
    let names: Vec<String> = value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .take(NAMES_MAX + 1)
        .map(str::to_owned)
        .collect();
    if names.len() > NAMES_MAX {
        return Err(FilterError::Names);
    }
    // One more for the `!`.
    if names.iter().any(|name| name.len() > PROTOCOL_BYTES_MAX + 1) { Err(FilterError::Length) } else { Ok(names) }
}

/// Why a filter is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Too many names.
    #[error("a filter has at most {NAMES_MAX} names")]
    Names,
    /// A name that is too long.
    #[error("a name in a filter has at most {PROTOCOL_BYTES_MAX} characters")]
    Length,
}
