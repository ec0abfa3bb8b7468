//! Which blocks a CAR is to have, and how (IPIP-402, IPIP-412, IPIP-523). Pure; a crash loses nothing.

use atoll_content::export::{EntityBytes, Scope, Selection};

use crate::failure::Failure;

/// What a URL or an `Accept` header says about a CAR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CarAsked {
    scope: Option<Scope>,
    bytes: Option<EntityBytes>,
    version: Option<Version>,
    order: Option<Order>,
    repeats: Option<bool>,
}

/// The one version that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version;

/// The orders that can be asked for. Blocks always come depth first, which is what an unknown order may be too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    DepthFirst,
    Unknown,
}

impl CarAsked {
    /// Takes a parameter of the URL, if it is about CARs.
    ///
    /// # Errors
    /// [`Failure::QueryMalformed`] for values that mean nothing.
    pub(super) fn parameter(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "dag-scope" => self.scope = Some(scope(value)?),
            "entity-bytes" => {
                let malformed = |_| Failure::QueryMalformed("The entity-bytes are not FROM:TO.");
                self.bytes = Some(value.parse().map_err(malformed)?);
            }
            // An empty value asks for nothing.
            "car-version" | "car-order" | "car-dups" if value.is_empty() => {}
            "car-version" => self.version = Some(version(value)?),
            "car-order" => self.order = Some(order(value)?),
            "car-dups" => self.repeats = Some(repeats(value)?),
            _ => {}
        }
        Ok(())
    }

    /// Takes a parameter of the media type.
    ///
    /// # Errors
    /// [`Failure::QueryMalformed`] for values that mean nothing.
    pub(super) fn media_parameter(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        match key {
            "version" => self.version = Some(version(value)?),
            "order" => self.order = Some(order(value)?),
            "dups" => self.repeats = Some(repeats(value)?),
            _ => {}
        }
        Ok(())
    }

    /// Whether it says how the CAR is to be made.
    pub(super) fn has_details(&self) -> bool {
        self.version.is_some() || self.order.is_some() || self.repeats.is_some()
    }

    /// What it says that `stronger` does not, as parameters of a URL.
    pub(super) fn details_beyond(&self, stronger: &Self) -> Vec<&'static str> {
        let version = self.version.filter(|_| stronger.version.is_none()).map(|Version| "car-version=1");
        let order = self.order.filter(|_| stronger.order.is_none()).map(|order| match order {
            Order::DepthFirst => "car-order=dfs",
            Order::Unknown => "car-order=unk",
        });
        let repeats = self.repeats.filter(|_| stronger.repeats.is_none());
        let repeats = repeats.map(|repeats| if repeats { "car-dups=y" } else { "car-dups=n" });
        [version, order, repeats].into_iter().flatten().collect()
    }

    /// This, and what `weaker` says where this says nothing.
    pub(super) fn or(self, weaker: Self) -> Self {
        Self {
            scope: self.scope.or(weaker.scope),
            bytes: self.bytes.or(weaker.bytes),
            version: self.version.or(weaker.version),
            order: self.order.or(weaker.order),
            repeats: self.repeats.or(weaker.repeats),
        }
    }

    /// The blocks that are meant: a range of a file implies its entity.
    pub(super) fn selection(self) -> Selection {
        let scope = self.scope.or(self.bytes.map(|_| Scope::Entity)).unwrap_or_default();
        Selection { scope, bytes: self.bytes, repeats: self.repeats.unwrap_or(false) }
    }
}

fn scope(value: &str) -> Result<Scope, Failure> {
    match value {
        "block" => Ok(Scope::Block),
        "entity" => Ok(Scope::Entity),
        "all" => Ok(Scope::All),
        _ => Err(Failure::QueryMalformed("The dag-scope is neither block, entity nor all.")),
    }
}

fn version(value: &str) -> Result<Version, Failure> {
    if value == "1" { Ok(Version) } else { Err(Failure::QueryMalformed("Only CAR version 1 is served.")) }
}

fn order(value: &str) -> Result<Order, Failure> {
    match value {
        "dfs" => Ok(Order::DepthFirst),
        "unk" => Ok(Order::Unknown),
        _ => Err(Failure::QueryMalformed("The order of a CAR is neither dfs nor unk.")),
    }
}

fn repeats(value: &str) -> Result<bool, Failure> {
    match value {
        "y" => Ok(true),
        "n" => Ok(false),
        _ => Err(Failure::QueryMalformed("The duplicates of a CAR are neither y nor n.")),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header};

    use super::*;
    use crate::negotiate::{Format, Wanted};

    fn parse(query: &str, accept: &str) -> Result<Wanted, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Wanted::parse(Some(query), &headers)
    }

    fn car(query: &str, accept: &str) -> Selection {
        match parse(query, accept).unwrap().format {
            Format::Car(selection) => selection,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_range_of_a_file_implies_its_entity() {
        let all = car("format=car&entity-bytes=0:*", "");
        assert_eq!((all.scope, all.bytes), (Scope::Entity, Some(EntityBytes { from: 0, to: None })));
        let end = car("format=car&entity-bytes=-9:-2&dag-scope=block&car-dups=y", "");
        let bytes = Some(EntityBytes { from: -9, to: Some(-2) });
        assert_eq!(end, Selection { scope: Scope::Block, bytes, repeats: true });
        for bad in ["entity-bytes=9:1", "dag-scope=some", "car-version=2", "car-order=bfs", "car-dups=yes"] {
            assert!(parse(&format!("format=car&{bad}"), "").is_err(), "{bad}");
        }
        assert!(matches!(parse("", "application/vnd.ipld.car;version=2"), Err(Failure::QueryMalformed(_))));
    }

    #[test]
    fn a_header_counts_for_the_form_it_names_and_where_the_url_is_silent() {
        let repeats = |query: &str, accept: &str| car(query, accept).repeats;
        assert!(repeats("", "application/vnd.ipld.car; dups=y"));
        assert!(repeats("format=car", "application/vnd.ipld.car;dups=y"));
        assert!(!repeats("format=car&car-dups=n", "application/vnd.ipld.car;dups=y"));
        assert!(!repeats("format=car", "application/vnd.ipld.raw;dups=y"));
        assert!(repeats("format=car&car-dups=y", "application/vnd.ipld.car;version=9"), "the URL wins");
    }

    #[test]
    fn what_the_header_decided_can_be_said_in_a_url() {
        let of = |query: &str, accept: &str| {
            let wanted = parse(query, accept).unwrap();
            (wanted.by_accept, wanted.contested, wanted.details.join("&"))
        };
        let car = "application/vnd.ipld.car";
        assert_eq!(of("format=car", car), (false, false, String::new()));
        assert_eq!(of("", car), (true, false, String::new()));
        let all = format!("{car}; version=1; order=unk; dups=y");
        assert_eq!(of("", &all), (true, true, "car-version=1&car-order=unk&car-dups=y".to_owned()));
        assert_eq!(of("format=car&car-order=dfs", &all), (false, true, "car-version=1&car-dups=y".to_owned()));
        assert_eq!(of("format=car", "application/vnd.ipld.raw"), (false, true, String::new()));
    }
}
