//! Certificates by host name: the exact name first, then the wildcard above it. Pure; a crash loses nothing.

use std::collections::HashMap;
use std::sync::Arc;

use crate::certificate::Certificate;

/// Who shows what.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Names as certificates write them, so that those of wildcards begin with `*.`.
    names: HashMap<String, Arc<Certificate>>,
    /// What a client is shown that names no host.
    nameless: Option<Arc<Certificate>>,
}

impl Table {
    /// Of certificates in the order of their weight: for a name that several hold for, the first counts, and the first of all
    /// is for clients that name none.
    pub(crate) fn new<'a>(certificates: impl IntoIterator<Item = &'a Arc<Certificate>>) -> Self {
        let mut table = Self::default();
        for certificate in certificates {
            table.nameless.get_or_insert_with(|| Arc::clone(certificate));
            for name in &certificate.names {
                table.names.entry(name.clone()).or_insert_with(|| Arc::clone(certificate));
            }
        }
        table
    }

    /// The certificate for a host name, which is in lower case.
    pub(crate) fn of(&self, name: &str) -> Option<&Arc<Certificate>> {
        self.names.get(name).or_else(|| {
            let (_, above) = name.split_once('.')?;
            // A wildcard stands for exactly one label (RFC 9525, section 6.3).
            self.names.get(&format!("*.{above}"))
        })
    }

    /// The certificate for a client that names no host.
    pub(crate) fn nameless(&self) -> Option<&Arc<Certificate>> {
        self.nameless.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::own;

    fn certificate(names: &[&str]) -> Arc<Certificate> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Arc::new(own::make(&names, &own::new_key().unwrap(), std::time::SystemTime::now()).unwrap())
    }

    #[test]
    fn the_exact_name_is_before_the_wildcard_and_the_first_before_the_second() {
        let (wild, exact) = (certificate(&["*.site.example"]), certificate(&["a.site.example", "b.site.example"]));
        let table = Table::new([&exact, &wild, &certificate(&["b.site.example"])]);
        assert!(Arc::ptr_eq(table.of("a.site.example").unwrap(), &exact));
        assert!(Arc::ptr_eq(table.of("b.site.example").unwrap(), &exact));
        assert!(Arc::ptr_eq(table.of("c.site.example").unwrap(), &wild));
        assert!(Arc::ptr_eq(table.nameless().unwrap(), &exact));
        for none in ["site.example", "x.c.site.example", "example", ""] {
            assert!(table.of(none).is_none(), "{none}");
        }
    }
}
