//! Rules of the table.
