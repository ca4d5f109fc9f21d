//! Crown.
