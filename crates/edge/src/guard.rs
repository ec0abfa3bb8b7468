//! The place before the HTTP parser where bytes can be refused that the parser would take (bare line feeds, contradicting
//! lengths). Keeps nothing itself.

/// Watches the bytes of connections before the HTTP parser sees them.
pub trait Guard: Send + Sync + 'static {
    /// A watcher for a new connection, `None` to let it pass unwatched.
    fn watch(&self) -> Option<Box<dyn Watch>>;
}

/// Watches one connection.
pub trait Watch: Send {
    /// Looks at the next bytes, which follow those of the last call in any division, and never sees bytes twice.
    ///
    /// # Errors
    /// [`Refused`] closes the connection: the client is answered 400, and the parser never sees these bytes.
    fn inspect(&mut self, bytes: &[u8]) -> Result<(), Refused>;
}

/// Bytes that are not to be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the guard refused these bytes: {0}")]
pub struct Refused(
    /// What is wrong with them, for the log.
    pub &'static str,
);

/// Lets everything pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoopGuard;

impl Guard for NoopGuard {
    fn watch(&self) -> Option<Box<dyn Watch>> {
        None
    }
}
