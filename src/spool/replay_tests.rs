//! Files against servers that record what they are told.

use super::*;
use crate::config::{Spool, SpoolFormat};
use crate::spool::line::Deletion;
use crate::spool::names;
use crate::spool::store::since_1970;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};

/// A server that answers deletions, up to a number of them; then it closes what is open.
struct Server {
    addr: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(most: usize, answer: &'static str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let for_thread = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                while let Some(Ok(line)) = lines.next() {
                    if line == "version" {
                        (&stream).write_all(b"VERSION 1\r\n").unwrap();
                        continue;
                    }
                    let mut heard = for_thread.lock().unwrap();
                    if heard.len() >= most {
                        break;
                    }
                    heard.push(line);
                    (&stream).write_all(answer.as_bytes()).unwrap();
                }
            }
        });
        Server { addr, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    fn place(&self) -> Place {
        Place::of("", &ServerAddr::Tcp(self.addr))
    }
}

fn place(port: u16) -> Place {
    Place {
        host: "10.9.8.7".to_owned(),
        port,
    }
}

fn text(lines: &[(&Place, &str)], format: SpoolFormat) -> Vec<u8> {
    let mut spool = Spool::new("/x");
    spool.format = format;
    let mut out = Vec::new();
    for (place, key) in lines {
        let one = Deletion {
            place: (*place).clone(),
            key: key.as_bytes().to_vec(),
            pool: String::new(),
        };
        line::write(&one, 1, &spool, &mut out);
    }
    out
}

/// A file as ringroad writes it; `at` is its time.
fn file(dir: &Path, at: u64, text: &[u8]) -> PathBuf {
    let hour = dir.join(names::dir(at));
    std::fs::create_dir_all(&hour).unwrap();
    let path = hour.join(names::file(at, "s", "r", 1, at));
    std::fs::write(&path, text).unwrap();
    path
}

fn options() -> Options {
    Options {
        rate: 0,
        timeout: Duration::from_secs(5),
        dry_run: false,
        mcrouter_has_ended: false,
    }
}

fn pass(replayer: &mut Replayer, dir: &Path, find: impl Fn(&Place) -> Found) -> Totals {
    let stop = AtomicBool::new(false);
    replayer.pass(dir, &find, &stop, &mut |_| {}).unwrap()
}

fn at(place: &Place) -> Found {
    match format!("{place}").parse() {
        Ok(addr) => Found::At(addr),
        Err(_) => Found::Unknown,
    }
}

#[test]
fn both_formats_are_delivered_in_order_and_their_files_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        Server::start(9, "DELETED\r\n"),
        Server::start(9, "NOT_FOUND\r\n"),
    );
    let (pa, pb) = (a.place(), b.place());
    file(
        dir.path(),
        8000,
        &text(&[(&pa, "k3"), (&pb, "x2")], SpoolFormat::V2),
    );
    file(
        dir.path(),
        100,
        &text(&[(&pa, "k1"), (&pb, "x1"), (&pa, "k2")], SpoolFormat::V1),
    );
    std::fs::write(dir.path().join("other"), "x").unwrap();
    let totals = pass(&mut Replayer::new(options()), dir.path(), at);
    assert_eq!(a.heard(), ["delete k1", "delete k2", "delete k3"]);
    assert_eq!(b.heard(), ["delete x1", "delete x2"]);
    assert_eq!(
        (totals.delivered, totals.files, totals.files_left),
        (5, 2, 0)
    );
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "what is no spool's stays");
}

#[test]
fn a_dry_run_sends_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let a = Server::start(9, "DELETED\r\n");
    let path = file(dir.path(), 1, &text(&[(&a.place(), "k")], SpoolFormat::V1));
    let dry_run = Options {
        dry_run: true,
        ..options()
    };
    let totals = pass(&mut Replayer::new(dry_run), dir.path(), at);
    assert_eq!((totals.delivered, a.heard().len()), (1, 0));
    assert!(path.exists());
}

#[test]
fn what_a_server_does_not_take_stays_and_nothing_overtakes_it() {
    let dir = tempfile::tempdir().unwrap();
    // It breaks off after two deletions.
    let (a, b) = (
        Server::start(2, "DELETED\r\n"),
        Server::start(9, "DELETED\r\n"),
    );
    let (pa, pb) = (a.place(), b.place());
    let first = file(
        dir.path(),
        1,
        &text(
            &[(&pa, "k1"), (&pa, "k2"), (&pa, "k3"), (&pb, "x")],
            SpoolFormat::V1,
        ),
    );
    let second = file(dir.path(), 2, &text(&[(&pa, "k4")], SpoolFormat::V1));
    let third = file(dir.path(), 3, &text(&[(&pb, "y")], SpoolFormat::V1));
    let mut replayer = Replayer::new(options());
    let totals = pass(&mut replayer, dir.path(), at);
    assert_eq!(a.heard(), ["delete k1", "delete k2"]);
    assert_eq!(b.heard(), ["delete x", "delete y"]);
    assert_eq!((totals.delivered, totals.waiting), (4, 2));
    assert!(first.exists() && second.exists() && !third.exists());
    // It is back, elsewhere: all of its file again, in order, and the other server's no more.
    let back = Server::start(9, "DELETED\r\n");
    let find = |place: &Place| match *place == pa {
        true => Found::At(ServerAddr::Tcp(back.addr)),
        false => at(place),
    };
    let totals = pass(&mut replayer, dir.path(), find);
    assert_eq!(
        back.heard(),
        ["delete k1", "delete k2", "delete k3", "delete k4"]
    );
    assert_eq!(b.heard().len(), 2);
    assert_eq!((totals.files, totals.files_left), (2, 0));
}

#[test]
fn what_answers_but_is_no_memcached_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let busy = Server::start(9, "SERVER_ERROR busy\r\n");
    let path = file(
        dir.path(),
        1,
        &text(&[(&busy.place(), "k")], SpoolFormat::V1),
    );
    assert_eq!(
        pass(&mut Replayer::new(options()), dir.path(), at).waiting,
        1
    );
    assert!(path.exists());
    let refuses = Server::start(9, "CLIENT_ERROR bad key\r\n");
    file(
        dir.path(),
        1,
        &text(&[(&refuses.place(), "k")], SpoolFormat::V1),
    );
    let totals = pass(&mut Replayer::new(options()), dir.path(), at);
    assert_eq!(
        (totals.refused, totals.delivered, path.exists()),
        (1, 1, false)
    );
}

#[test]
fn unknown_servers_keep_their_lines_or_lose_them() {
    let dir = tempfile::tempdir().unwrap();
    let a = Server::start(9, "DELETED\r\n");
    let path = file(
        dir.path(),
        1,
        &text(&[(&place(1), "gone"), (&a.place(), "k")], SpoolFormat::V1),
    );
    let mut replayer = Replayer::new(options());
    let only_a = |unknown: Found| {
        move |one: &Place| match *one == place(1) {
            true => unknown.clone(),
            false => at(one),
        }
    };
    for _ in 0..2 {
        let totals = pass(&mut replayer, dir.path(), only_a(Found::Unknown));
        assert_eq!((totals.unknown, totals.waiting), (1, 1));
    }
    assert_eq!(a.heard(), ["delete k"], "once");
    // A file that waits is not read again and again.
    let find = only_a(Found::Unknown);
    let mut read = 0;
    let mut tell = |event: Event<'_>| read += u32::from(matches!(event, Event::File { .. }));
    let never = AtomicBool::new(false);
    replayer.pass(dir.path(), &find, &never, &mut tell).unwrap();
    assert_eq!(read, 0);
    let totals = pass(&mut replayer, dir.path(), only_a(Found::Dropped));
    assert_eq!((totals.dropped, totals.files), (1, 1));
    assert!(!path.exists());
}

#[test]
fn half_a_line_at_the_end_is_ignored_and_one_in_the_middle_keeps_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let a = Server::start(9, "DELETED\r\n");
    let pa = a.place();
    let mut half = text(&[(&pa, "k1"), (&pa, "k2"), (&pa, "lost")], SpoolFormat::V2);
    half.truncate(half.len() - 9);
    file(dir.path(), 1, &half);
    // It lacks nothing but its end.
    let mut whole = text(&[(&pa, "k3")], SpoolFormat::V1);
    whole.pop();
    file(dir.path(), 2, &whole);
    let mut torn = b"[\"AS1.0\",1\n".to_vec();
    torn.extend(text(&[(&pa, "k4")], SpoolFormat::V1));
    let torn = file(dir.path(), 3, &torn);
    let empty = file(dir.path(), 4, b"");
    let endless = file(dir.path(), 5, &vec![b'x'; 3 * MAX_LINE]);
    let mut replayer = Replayer::new(options());
    let totals = pass(&mut replayer, dir.path(), at);
    assert_eq!(
        a.heard(),
        ["delete k1", "delete k2", "delete k3", "delete k4"]
    );
    assert_eq!((totals.files, totals.files_left), (3, 2));
    assert!(torn.exists() && endless.exists() && !empty.exists());
    // Nothing of it is sent twice.
    let totals = pass(&mut replayer, dir.path(), at);
    assert_eq!((a.heard().len(), totals.unreadable), (4, 0));
}

#[test]
fn files_that_are_being_written_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let a = Server::start(9, "DELETED\r\n");
    let path = file(dir.path(), 1, &text(&[(&a.place(), "k")], SpoolFormat::V1));
    let writer = File::open(&path).unwrap();
    assert!(store::try_lock(&writer));
    let now = since_1970().as_secs();
    let hour = dir.path().join(names::dir(now));
    std::fs::create_dir_all(&hour).unwrap();
    let stamp = names::dir(now);
    let (stamp, _) = stamp.split_once('-').unwrap();
    // mcrouter locks nothing.
    let theirs = hour.join(format!("{stamp}0000-{now}-mcrouter-5000-t7-0x7f3518a69210"));
    std::fs::write(&theirs, text(&[(&a.place(), "m")], SpoolFormat::V1)).unwrap();
    let totals = pass(&mut Replayer::new(options()), dir.path(), at);
    assert_eq!((a.heard().len(), totals.files_left), (0, 2));
    drop(writer);
    let ended = Options {
        mcrouter_has_ended: true,
        ..options()
    };
    let totals = pass(&mut Replayer::new(ended), dir.path(), at);
    assert_eq!((a.heard().len(), totals.files), (2, 2));
}
