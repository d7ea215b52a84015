//! A cluster as Kubernetes has it: pods that come, go and change their addresses, the DNS that tells of them, and
//! a router in front.
//!
//! The DNS server is a real one (knot), the pods are real memcached daemons on loopback addresses of their own, and
//! the router is the built binary with nothing in its configuration but the Service's name. Each scenario runs under
//! steady load and prints what the load saw: requests, errors, hit rates, keys moved against keys expected to move.

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

mod kube;
mod load;
mod placement;
mod restarts;
mod scaling;
mod sources;
mod trouble;
mod warm;
