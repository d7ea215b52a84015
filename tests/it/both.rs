//! The same conversation with a memcached and with ringroad in front of three.
//!
//! What a test claims memcached answers is thereby checked against memcached. Answers to bad input changed
//! between the versions in use; [`Both::newer`] asks the daemon only where it is new enough.

use crate::support::client::Client;
use crate::support::memcached::{self, Memcached};
use crate::support::router::{Cluster, Setup};

pub struct Both {
    pub memcached: Memcached,
    pub cluster: Cluster,
}

/// Says which endpoint a failure is about.
struct Label(&'static str);

impl Drop for Label {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("(this was the conversation with {})", self.0);
        }
    }
}

impl Both {
    pub fn start() -> Both {
        Both::with(|setup| setup)
    }

    pub fn with(change: impl FnOnce(Setup) -> Setup) -> Both {
        Both {
            memcached: Memcached::start(),
            cluster: Cluster::with(3, change),
        }
    }

    /// Holds the conversation with both, on a fresh connection each.
    pub fn each(&self, talk: impl Fn(&mut Client)) -> &Both {
        {
            let _label = Label("memcached");
            talk(&mut self.memcached.client());
        }
        self.ringroad(talk)
    }

    /// For answers that older daemons give differently.
    pub fn newer(&self, talk: impl Fn(&mut Client)) -> &Both {
        if memcached::is_reference() {
            return self.each(talk);
        }
        self.ringroad(talk)
    }

    /// For what only a router does.
    pub fn ringroad(&self, talk: impl Fn(&mut Client)) -> &Both {
        let _label = Label("ringroad");
        talk(&mut self.cluster.client());
        self
    }
}
