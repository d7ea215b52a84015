//! Which server owns a key.
