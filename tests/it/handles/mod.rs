//! One file for each kind of route: the built binary, and scripted servers that record what they get.
//!
//! A [`Scene`] is a route over pools of one server each, `p0`, `p1` and so on. [`Scene::check`] plays one request: what each
//! server answers, what the client gets, and which lines each server has got, in their order. Each server is asked in
//! the text protocol unless it says otherwise. Outcomes are those of mcrouter.

mod around;
mod by_size;
mod json;
mod migrate;
mod orders;
mod staging;
mod stock;
mod two_level;
mod warm_up;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use crate::support::eventually;
use crate::support::router::{Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};

/// What the servers of a scene answer: to each command, by the server and the beginning of the line. The longest
/// beginning counts; several answers are given one after the other, the last one for ever.
pub type Answers<'a> = &'a [(usize, &'a str, &'a str)];

/// A request, its answer, and what each server gets.
pub type Case<'a> = (&'a str, Answers<'a>, &'a str, &'a [(usize, &'a str)]);

/// Breaks the connection.
pub const CLOSES: &str = "closes";
pub const LOST: &str = "SERVER_ERROR connection lost\r\n";
pub const HIT: &str = "VALUE k 7 1\r\nx\r\nEND\r\n";
pub const MISS: &str = "END\r\n";

pub struct Scene {
    pub servers: Vec<Scripted>,
    pub router: Ringroad,
}

fn written(command: &Command) -> String {
    match &command.data {
        Some(data) => format!("{}\r\n{}\r\n", command.line, String::from_utf8_lossy(data)),
        None => format!("{}\r\n", command.line),
    }
}

impl Scene {
    /// This route over so many pools; errors are shown, and what a server is owed is not sent.
    pub fn new(route: &str, pools: usize) -> Scene {
        let servers: Vec<Scripted> = (0..pools).map(|_| Scripted::well_behaved()).collect();
        let tables: String = servers
            .iter()
            .enumerate()
            .map(|(n, server)| {
                let addr = server.addr();
                format!(
                    "[pools.p{n}]\nservers = [\"{addr}\"]\ntimeout = \"60s\"\non_return = \"trust\"\n[pools.p{n}.tko]\nafter = 1000\n"
                )
            })
            .collect();
        let direct: String = (0..pools)
            .map(|n| format!("\"direct{n}:\" = \"p{n}\"\n"))
            .collect();
        let router = Setup::new([servers[0].addr()])
            .top("workers = 1\nmiss_on_get_errors = false")
            .table(&format!(
                "{tables}[route]\ntype = \"prefix\"\n[route.prefixes]\n{direct}[route.default]\n{route}\n"
            ))
            .start();
        let scene = Scene { servers, router };
        (0..pools).for_each(|n| scene.settle(n));
        scene
    }

    /// Has the servers answer so from now on, and forgets what they have got.
    pub fn script(&self, answers: Answers<'_>) -> Vec<usize> {
        for (n, server) in self.servers.iter().enumerate() {
            let mut mine: HashMap<String, Vec<String>> = HashMap::new();
            for (_, line, answer) in answers.iter().filter(|(server, ..)| *server == n) {
                let place = mine.entry((*line).to_owned()).or_default();
                place.push((*answer).to_owned());
            }
            let mine = Arc::new(Mutex::new(mine));
            server.follow(move |command| {
                if command.verb() == "version" {
                    return vec![Act::Serve];
                }
                let mut mine = mine.lock().unwrap();
                let all = mine.iter_mut();
                let fits = all.filter(|(line, _)| command.line.starts_with(line.as_str()));
                let found = fits.max_by_key(|(line, _)| line.len());
                let Some((_, answers)) = found else {
                    return Act::say("SERVER_ERROR unexpected\r\n");
                };
                let answer = match answers.len() {
                    1 => answers[0].clone(),
                    _ => answers.remove(0),
                };
                match answer.as_str() {
                    CLOSES => vec![Act::Close],
                    answer => Act::say(answer),
                }
            });
        }
        self.servers
            .iter()
            .map(|server| server.log().len())
            .collect()
    }

    /// What a server has got since.
    pub fn got(&self, n: usize, since: usize) -> Vec<String> {
        let log = self.servers[n].log();
        let news = log.iter().skip(since);
        news.filter(|command| command.verb() != "version")
            .map(written)
            .collect()
    }

    /// Plays a request. Every server has got what `asked` says of it, in that order, and nothing else.
    #[track_caller]
    pub fn check(&self, (command, answers, want, asked): Case<'_>) {
        let since = self.script(answers);
        let mut client = self.router.client();
        client.ask(command, want);
        for (n, since) in since.iter().enumerate() {
            let mine = asked.iter().filter(|(server, _)| *server == n);
            let want: Vec<String> = mine.map(|(_, line)| (*line).to_owned()).collect();
            eventually(
                &format!(
                    "{command:?}: server {n} has got {want:?}, not {:?}",
                    self.got(n, *since)
                ),
                || self.got(n, *since) == want,
            );
        }
        for (n, ..) in answers.iter().filter(|(.., answer)| *answer == CLOSES) {
            self.settle(*n);
        }
    }

    /// Waits until the server is in service again, after it has closed a connection.
    pub fn settle(&self, n: usize) {
        self.script(&[(n, "", MISS)]);
        let mut client = self.router.client();
        eventually(&format!("server {n} is back"), || {
            client.send(format!("get direct{n}:\r\n"));
            client.line() == "END"
        });
    }

    #[track_caller]
    pub fn check_all(&self, cases: &[Case<'_>]) {
        for case in cases {
            self.check(*case);
        }
    }
}
