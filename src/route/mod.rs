//! Routes: from a key to the pool that serves it, and what happens when that fails.
//!
//! [`tree`] holds the compiled route, [`exec`] runs the nodes that decide on replies as an explicit state
//! machine, [`compile`] makes both from a configuration. Nothing here knows of connections.

pub mod big_value;
pub mod choose;
pub mod compile;
pub mod exec;
pub mod introspect;
pub mod keys;
pub mod many;
pub mod moved;
pub mod orders;
pub mod pairing;
pub mod rate;
pub mod tree;
