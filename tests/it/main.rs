//! The built binary against real servers, and against servers that misbehave.
//!
//! Everything here goes through sockets: `ringroad run` with a configuration file in front of real memcached
//! daemons, driven by raw clients that say exactly which bytes they expect. Where a test states what memcached
//! answers, the same exchange is first held with a memcached, so that the expectation itself is checked.
//!
//! `RINGROAD_TEST_MEMCACHED` and `RINGROAD_TEST_BINARY` choose other binaries.

// Helpers of tests: a failed unwrap is a failed test, and clippy's exemption covers only test functions.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    dead_code
)]

#[path = "../support/mod.rs"]
mod support;

mod big_values;
mod both;
mod bounds;
mod differential;
mod failure;
mod golden;
mod handles;
mod hostile_reads;
mod hostile_updates;
mod idle;
mod in_flight;
mod inherited;
mod input;
mod introspection;
mod keys;
mod leases;
mod lifecycle;
mod many;
mod mcrouter;
mod metrics;
mod neighbours;
mod nested;
mod on_failure;
mod reload;
mod returns;
mod rollout;
mod routing;
mod session;
mod spool;
mod stage;
mod tko;
mod transcript;
mod turns;
mod values;
mod weights;
