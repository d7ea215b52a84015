//! Servers that come back, played by hand: each answers when the test says so.
//!
//! Protects: nothing that has been updated in vain is given out again, by whichever worker; a server that has been
//! restarted is not emptied; what has been done after all is not done again.

use std::sync::Arc;

use crate::upstream::owed::Debts;
use crate::worker::played::{Shared, Worker, snapshot};

/// A worker with one server.
fn worker(on_return: &str, debts: &Arc<Debts>) -> Worker {
    let text = format!(
        "flush_all = true\nmiss_on_get_errors = true\n[pools.a]\nservers = [\"127.0.0.1:1\"]\n{on_return}"
    );
    let shared = Shared {
        debts: Arc::clone(debts),
        ..Shared::default()
    };
    let mut worker = Worker::new(&text, &shared);
    // Up for long enough that a lost connection is no failure of the server.
    assert_eq!(worker.asks("get first\r\n"), "");
    worker.hears("get first\r\n", "END\r\n");
    assert_eq!(worker.told(), "END\r\n");
    worker.pass(2000);
    worker
}

fn replaying() -> Worker {
    worker("on_return = \"replay\"", &Arc::default())
}

impl Worker {
    /// The server can be reached again, and is found to be.
    fn comes_back(&mut self) {
        self.reachable = true;
        for _ in 0..2000 {
            if !self.conns.is_empty() {
                return;
            }
            self.pass(10);
        }
        panic!("it is not tried");
    }

    fn count(&self, name: &str) -> u64 {
        let mut values = self.core.stats.worker.values();
        values.find(|(known, _)| *known == name).unwrap().1
    }
}

#[test]
fn what_was_under_way_on_a_lost_connection_is_deleted_before_it_is_asked_for() {
    let mut worker = replaying();
    worker.asks("set k 0 0 1\r\nv\r\nget k\r\nincr n 1\r\n");
    worker.loses_connection();
    let told = worker.told();
    assert_eq!(told.matches("SERVER_ERROR").count(), 2, "{told}");
    // Whatever is asked for first, the keys are deleted first.
    assert_eq!(worker.asks("get k\r\n"), "END\r\n");
    assert_eq!(
        worker
            .asks("set k 0 0 1\r\nv\r\n")
            .matches("SERVER_ERROR")
            .count(),
        1
    );
    assert_eq!(worker.asks("get other\r\n"), "");
    let sent = worker.sent();
    let mut lines: Vec<&str> = sent.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["delete k", "delete n", "get other"]);
    // In whatever order: both deletions come before the get or behind it.
    let answers: String = sent
        .lines()
        .map(|line| match line.starts_with("get") {
            true => "END\r\n",
            false => "DELETED\r\n",
        })
        .collect();
    worker.hears("", &answers);
    assert_eq!(worker.told(), "END\r\n");
    worker.asks("get k n\r\n");
    worker.hears("get k n\r\n", "END\r\n");
    assert_eq!(worker.told(), "END\r\n");
    assert_eq!(
        (worker.count("owed_updates"), worker.count("owed_deletes")),
        (3, 2)
    );
}

#[test]
fn updates_while_a_server_is_out_are_made_up_for_when_it_is_back() {
    let mut worker = replaying();
    worker.reachable = false;
    worker.loses_connection();
    worker.asks("set first 0 0 1\r\nv\r\n");
    assert_eq!(worker.asks("get k\r\n"), "END\r\n");
    assert!(worker.asks("delete k\r\n").starts_with("SERVER_ERROR"));
    assert!(
        worker
            .asks("ms bWF5IGJl 1 b\r\nv\r\n")
            .starts_with("SERVER_ERROR")
    );
    assert!(
        worker
            .asks("touch t 0\r\nmg g v t\r\n")
            .starts_with("SERVER_ERROR")
    );
    worker.pass(60_000);
    worker.comes_back();
    let sent = worker.sent();
    let mut lines: Vec<&str> = sent.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["delete first", "delete k", "md bWF5IGJl b O0"]);
    let answers: String = sent
        .lines()
        .map(|line| match line.starts_with("md") {
            true => "HD O0\r\n",
            false => "DELETED\r\n",
        })
        .collect();
    assert_eq!(worker.asks("get k\r\n"), "END\r\n", "not yet");
    worker.hears("", &answers);
    assert_eq!(worker.asks("get k\r\n"), "");
    worker.hears("get k\r\n", "END\r\n");
}

#[test]
fn every_worker_refuses_what_one_of_them_could_not_update() {
    let debts = Arc::default();
    let mut one = worker("on_return = \"replay\"", &debts);
    let mut other = worker("on_return = \"replay\"", &debts);
    one.reachable = false;
    one.loses_connection();
    one.asks("delete k\r\n");
    one.asks("delete k\r\n");
    // It is in service for this one, which makes up for it.
    assert_eq!(other.asks("get k\r\n"), "END\r\n");
    assert_eq!(other.sent(), "");
    other.pass(100);
    other.hears("delete k\r\n", "DELETED\r\n");
    assert_eq!(other.asks("get k\r\n"), "");
    other.hears("get k\r\n", "END\r\n");
    one.comes_back();
    assert_eq!(one.sent(), "", "nothing is left to do");
}

#[test]
fn who_settles_and_fails_lets_it_be_done_again() {
    let mut worker = replaying();
    worker.asks("delete a\r\n");
    worker.loses_connection();
    worker.told();
    worker.asks("get b\r\n");
    assert!(worker.sent().contains("delete a\r\n"));
    worker.loses_connection();
    worker.told();
    worker.comes_back();
    assert!(worker.sent().contains("delete a\r\n"));
}

#[test]
fn an_update_that_is_answered_late_has_been_done() {
    let mut worker = replaying();
    worker.asks("delete k\r\n");
    assert_eq!(worker.sent(), "delete k\r\n");
    worker.pass(1500);
    assert!(worker.told().starts_with("SERVER_ERROR"));
    worker.hears("", "DELETED\r\n");
    worker.pass(1000);
    assert_eq!(worker.asks("get k\r\n"), "");
    worker.hears("get k\r\n", "END\r\n");
    assert_eq!(worker.count("owed_updates"), 0);
}

/// A server that is out for a minute, is back, and has been up for so many seconds.
fn cold(uptime: &str) -> Worker {
    let mut worker = worker("on_return = \"cold\"", &Arc::default());
    worker.reachable = false;
    worker.loses_connection();
    worker.asks("get k\r\n");
    worker.told();
    worker.pass(60_000);
    worker.comes_back();
    assert_eq!(worker.asks("get k\r\n"), "END\r\n");
    worker.hears(
        "stats\r\n",
        &format!("STAT pid 1\r\n{uptime}STAT time 2\r\nEND\r\n"),
    );
    worker
}

#[test]
fn a_cold_server_is_emptied_unless_it_has_been_restarted() {
    for uptime in [
        "STAT uptime 3600\r\n",
        "STAT uptime 80\r\n",
        "",
        "STAT uptime x\r\n",
    ] {
        let mut worker = cold(uptime);
        assert_eq!(worker.asks("get k\r\n"), "END\r\n");
        worker.hears("flush_all\r\n", "OK\r\n");
        assert_eq!(worker.asks("get k\r\n"), "", "{uptime}");
        worker.hears("get k\r\n", "END\r\n");
        assert_eq!(worker.count("owed_flushes"), 1);
    }
    let mut worker = cold("STAT uptime 20\r\n");
    assert_eq!(worker.asks("get k\r\n"), "");
    worker.hears("get k\r\n", "END\r\n");
    assert_eq!(worker.count("owed_flushes"), 0);
}

#[test]
fn a_server_that_refuses_to_be_emptied_is_used_all_the_same() {
    let mut worker = cold("");
    worker.hears("flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n");
    assert_eq!(worker.asks("get k\r\n"), "");
    worker.hears("get k\r\n", "END\r\n");
}

#[test]
fn a_flush_all_that_did_not_arrive_is_made_up_for() {
    let mut worker = replaying();
    worker.asks("flush_all\r\n");
    worker.loses_connection();
    assert!(worker.told().starts_with("SERVER_ERROR"));
    assert_eq!(worker.asks("get k\r\n"), "END\r\n");
    worker.hears("stats\r\n", "STAT uptime 3600\r\nEND\r\n");
    worker.hears("flush_all\r\n", "OK\r\n");
    assert_eq!(worker.asks("get k\r\n"), "");
}

#[test]
fn a_server_that_is_trusted_is_owed_nothing() {
    let mut worker = worker("on_return = \"trust\"", &Arc::default());
    worker.asks("delete k\r\nflush_all\r\n");
    worker.loses_connection();
    worker.told();
    assert_eq!(worker.asks("get k\r\n"), "");
    worker.hears("get k\r\n", "END\r\n");
}

#[test]
fn a_key_that_is_updated_all_the_time_is_not_owed_for_ever() {
    let mut worker = replaying();
    worker.asks("set k 0 0 1\r\nv\r\n");
    worker.loses_connection();
    worker.told();
    worker.pass(60);
    assert_eq!(worker.sent(), "delete k\r\n");
    // They are refused, and fail on their own.
    for _ in 0..3 {
        let told = worker.asks("set k 0 0 1\r\nv\r\n");
        assert!(told.starts_with("SERVER_ERROR"), "{told}");
    }
    worker.hears("", "DELETED\r\n");
    worker.asks("set k 0 0 1\r\nv\r\n");
    worker.hears("set k 0 0 1\r\nv\r\n", "STORED\r\n");
    assert_eq!(worker.told(), "STORED\r\n");
}

#[test]
fn a_server_that_was_never_reached_is_not_emptied() {
    let text = "[pools.a]\nservers = [\"127.0.0.1:1\"]\non_return = \"cold\"";
    let mut worker = Worker::new(text, &Shared::default());
    worker.reachable = false;
    worker.asks("get k\r\ndelete k\r\n");
    worker.pass(5000);
    worker.told();
    worker.comes_back();
    assert_eq!(worker.sent(), "delete k\r\n");
}

#[test]
fn a_server_that_left_and_is_back_is_emptied_unless_it_has_been_restarted() {
    let mut worker = replaying();
    let of = |servers: &str| {
        let text = format!("[pools.a]\nservers = [{servers}]\non_return = \"replay\"");
        snapshot(&text)
    };
    worker.core.apply(of("\"127.0.0.1:2\""));
    worker.pass(60_000);
    worker.core.apply(of("\"127.0.0.1:1\""));
    worker.conns.clear();
    assert_eq!(worker.asks("get k\r\n"), "END\r\n");
    worker.hears("stats\r\n", "STAT uptime 3600\r\nEND\r\n");
    worker.hears("flush_all\r\n", "OK\r\n");
    assert_eq!(worker.asks("get k\r\n"), "");
}

#[test]
fn a_server_that_was_only_trusted_for_a_while_keeps_what_it_has() {
    let mut worker = replaying();
    let of = |on_return: &str| {
        let text = format!("[pools.a]\nservers = [\"127.0.0.1:1\"]\non_return = \"{on_return}\"");
        snapshot(&text)
    };
    worker.core.apply(of("trust"));
    worker.pass(60_000);
    worker.core.apply(of("replay"));
    worker.conns.clear();
    assert_eq!(worker.asks("get k\r\n"), "");
    assert_eq!(worker.count("owed_flushes"), 0);
    assert!(!worker.core.is_in_debt());
}
