//! The DNS source against servers: a real one (knot), and one that misbehaves in every way that came to mind.
//!
//! What must hold is the same everywhere: a defined answer within bounded time, never a part of the set, and members
//! that don't change their names because a lookup failed.

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

mod answers;
mod failures;
mod hostile;
mod identity;
mod real;
mod rogue;
mod searching;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use ringroad::discovery::dns::{Dns, Found, IdentityWish, NoticeKind};
use ringroad::discovery::{Answer, Failure, FailureKind, Sighting};

use rogue::Rogue;

/// The Service that most tests ask for.
const SERVICE: &str = "mc.default.svc.cluster.local.";

/// Runs one question's future as the control thread does: on a runtime of one thread.
fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn dns(server: &Rogue) -> Dns {
    Dns::with_servers(&[server.addr()], &[])
}

/// Asks for [`SERVICE`] once.
async fn ask(dns: &Dns) -> Found {
    dns.service(SERVICE, 11211, None, IdentityWish::Auto).await
}

/// Members as `name=address,address`.
#[track_caller]
fn members(found: &Found) -> Vec<String> {
    let show = |s: &Sighting| {
        let addrs: Vec<String> = s.addrs.iter().map(SocketAddr::to_string).collect();
        format!("{}={}", s.name, addrs.join(","))
    };
    sightings(found).iter().map(show).collect()
}

#[track_caller]
fn sightings(found: &Found) -> &[Sighting] {
    match &found.answer {
        Answer::Members { sightings, .. } => sightings,
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

#[track_caller]
fn valid(found: &Found) -> Duration {
    match &found.answer {
        Answer::Members { valid, .. } => *valid,
        Answer::Failed(failure) => panic!("{failure:?}"),
    }
}

#[track_caller]
fn failure(found: &Found) -> &Failure {
    match &found.answer {
        Answer::Failed(failure) => failure,
        Answer::Members { .. } => panic!("{:?}", members(found)),
    }
}

#[track_caller]
fn failed(found: &Found) -> FailureKind {
    failure(found).kind
}

fn notices(found: &Found) -> Vec<NoticeKind> {
    found.notices.iter().map(|notice| notice.kind).collect()
}
