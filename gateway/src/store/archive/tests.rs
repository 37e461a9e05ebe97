//! Archive over SQLite.
