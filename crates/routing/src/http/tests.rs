//! Against a tiny hostile server.
