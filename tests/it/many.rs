//! Routes to several children below and above others, by the bytes that each child gets and the client sees.
//!
//! Protects: which children a request reaches, byte for byte and once; which reply is the answer, for gets, updates,
//! deletions, arithmetic and touches, whether they hit, miss or fail; that what nobody waits for is done to the end.
//! The outcomes are those of mcrouter: see the order of replies in the reference.

use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::router::{Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};

/// What a child does with everything it is asked.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Says(&'static str),
    /// Never answers.
    Hangs,
    /// Breaks the connection.
    Closes,
}
use Reply::{Closes, Hangs, Says};

const HIT: Reply = Says("VALUE k 7 1\r\nx\r\nEND\r\n");
const MISS: Reply = Says("END\r\n");
const LOST: &str = "SERVER_ERROR connection lost\r\n";
const LATE: &str = "SERVER_ERROR timeout\r\n";

fn script(reply: Reply) -> impl FnMut(&Command) -> Vec<Act> + Send {
    move |command| match (command.verb(), reply) {
        ("version", _) => vec![Act::Serve],
        (_, Says(text)) => Act::say(text),
        (_, Hangs) => vec![Act::Ignore],
        (_, Closes) => vec![Act::Close],
    }
}

struct Stage {
    servers: Vec<Scripted>,
    router: Ringroad,
}

impl Stage {
    /// A pool of one server for each child (`p0`, `p1`, …) under this route, and errors shown. What a server is owed when
    /// it comes back is not sent: it would come between.
    fn start(route: &str, children: usize) -> Stage {
        let servers: Vec<Scripted> = (0..children).map(|_| Scripted::well_behaved()).collect();
        let pools: String = (0..children)
            .map(|n| {
                let addr = servers[n].addr();
                format!(
                    "[pools.p{n}]\nservers = [\"{addr}\"]\ntimeout = \"400ms\"\non_return = \"trust\"\n[pools.p{n}.tko]\nafter = 1000\n"
                )
            })
            .collect();
        let router = Setup::new([servers[0].addr()])
            .top("workers = 1\nmiss_on_get_errors = false")
            .table(&format!("{pools}[route]\n{route}\n"))
            .start();
        Stage { servers, router }
    }

    /// Has the children reply so to a command; returns what the client gets. Every child in `asked` has got the
    /// command as it is, once, and no other child has got anything.
    fn check(&self, command: &str, replies: &[Reply], asked: &[usize], want: &str) {
        for (server, reply) in self.servers.iter().zip(replies) {
            server.follow(script(*reply));
        }
        let mut client = self.router.client();
        client.ask(command, want);
        for (n, server) in self.servers.iter().enumerate() {
            let got = || -> Vec<String> {
                let log = server.log();
                log.iter()
                    .filter(|c| c.verb() != "version")
                    .map(|c| match &c.data {
                        Some(data) => {
                            format!("{}\r\n{}\r\n", c.line, String::from_utf8_lossy(data))
                        }
                        None => format!("{}\r\n", c.line),
                    })
                    .collect()
            };
            let want: Vec<String> = match asked.contains(&n) {
                true => vec![command.to_owned()],
                false => Vec::new(),
            };
            eventually(&format!("child {n} has got {want:?}: {:?}", got()), || {
                got() == want
            });
        }
    }
}

const SET: &str = "set k 7 0 1\r\nx\r\n";
const ALL: &[usize] = &[0, 1, 2];

/// Failing over below and above, with more keys and more requests at a time than one.
#[test]
fn rules_nest_and_keep_the_order_of_replies() {
    let route = "type = \"failover\"\non = [\"closed\", \"timeout\"]\n\
         children = [{ type = \"all-sync\", children = [\"p0\", { type = \"failover\", children = [\"p1\", \"p2\"] }] }, \"p3\"]";
    let start = || Stage::start(route, 4);
    start().check(SET, &[Says("STORED\r\n"); 4], &[0, 1], "STORED\r\n");
    let stored = Says("STORED\r\n");
    start().check(
        SET,
        &[stored, Closes, stored, Hangs],
        &[0, 1, 2],
        "STORED\r\n",
    );
    start().check(
        SET,
        &[Closes, stored, Hangs, stored],
        &[0, 1, 3],
        "STORED\r\n",
    );
    start().check(SET, &[Closes, Closes, Closes, Closes], &[0, 1, 2, 3], LOST);

    let stage = start();
    for server in &stage.servers {
        server.behave();
    }
    let mut client = stage.router.client();
    let keys: Vec<String> = (0..300).map(|n| format!("key{n}")).collect();
    let mut sets = String::new();
    let mut all = String::new();
    for key in &keys {
        sets.push_str(&format!("set {key} 0 0 {}\r\n{key}\r\n", key.len()));
        all.push_str(&format!("VALUE {key} 0 {}\r\n{key}\r\n", key.len()));
    }
    client.pipeline(sets.as_bytes(), "STORED\r\n".repeat(keys.len()).as_bytes());
    client.ask(
        format!("get {}\r\n", keys.join(" ")),
        format!("{all}END\r\n"),
    );
    client.ask(
        "set key7 0 0 1 noreply\r\ny\r\nget key7\r\n",
        "VALUE key7 0 1\r\ny\r\nEND\r\n",
    );
    // Large ones are held until all have answered.
    let large = "z".repeat(300_000);
    client.ask(format!("set big 0 0 300000\r\n{large}\r\n"), "STORED\r\n");
    client.ask(
        "get big\r\n",
        format!("VALUE big 0 300000\r\n{large}\r\nEND\r\n"),
    );
}

fn selective(more: &str) -> String {
    format!("type = \"selective-failover\"\nchildren = [\"p0\", \"p1\", \"p2\"]\n{more}")
}

#[test]
fn selective_failover_goes_on_with_the_errors_of_the_command() {
    let stored = Says("STORED\r\n");
    let client_error = Says("CLIENT_ERROR x\r\n");
    let few =
        "get_errors = [\"timeout\", \"client\"]\nupdate_errors = [\"remote\"]\ndelete_errors = []";
    for (more, command, replies, asked, want) in [
        (
            "",
            "get k\r\n",
            [Hangs, Closes, HIT],
            ALL,
            "VALUE k 7 1\r\nx\r\nEND\r\n",
        ),
        ("", "get k\r\n", [MISS, HIT, HIT], &[0][..], "END\r\n"),
        (
            "",
            "get k\r\n",
            [client_error, HIT, HIT],
            &[0],
            "CLIENT_ERROR x\r\n",
        ),
        ("", SET, [Closes, stored, stored], &[0, 1], "STORED\r\n"),
        (
            "",
            SET,
            [Hangs, Closes, Says("SERVER_ERROR last\r\n")],
            ALL,
            "SERVER_ERROR last\r\n",
        ),
        (
            few,
            "get k\r\n",
            [Hangs, client_error, HIT],
            ALL,
            "VALUE k 7 1\r\nx\r\nEND\r\n",
        ),
        (few, "get k\r\n", [Closes, HIT, HIT], &[0], LOST),
        (
            few,
            SET,
            [Says("SERVER_ERROR x\r\n"), Hangs, stored],
            &[0, 1],
            LATE,
        ),
        (
            few,
            "delete k\r\n",
            [Closes, Says("DELETED\r\n"), Hangs],
            &[0],
            LOST,
        ),
        // By the default, whatever the lists say.
        (
            few,
            "incr k 1\r\n",
            [Closes, Hangs, Says("5\r\n")],
            ALL,
            "5\r\n",
        ),
        (
            few,
            "touch k 9\r\n",
            [Hangs, Says("TOUCHED\r\n"), Hangs],
            &[0, 1],
            "TOUCHED\r\n",
        ),
        (
            "max_tries = 2",
            "get k\r\n",
            [Closes, Hangs, HIT],
            &[0, 1],
            LATE,
        ),
        (
            "limit_per_million = 0\nlimit_burst = 1",
            "get k\r\n",
            [Closes, Hangs, HIT],
            &[0, 1],
            LATE,
        ),
    ] {
        Stage::start(&selective(more), 3).check(command, &replies, asked, want);
    }
}

#[test]
fn selective_failover_shortens_what_is_stored_elsewhere_and_learns_from_failures() {
    let stage = Stage::start(&selective("failover_exptime = \"10s\"\nmax_tries = 2"), 3);
    stage.servers[0].follow(script(Says("SERVER_ERROR first\r\n")));
    stage.servers[1].follow(script(Says("SERVER_ERROR second\r\n")));
    stage.servers[2].follow(script(Says("STORED\r\n")));
    let mut client = stage.router.client();
    client.ask(SET, "SERVER_ERROR second\r\n");
    client.ask(SET, "STORED\r\n");
    client.ask(SET, "STORED\r\n");
    let lines = |n: usize| -> Vec<String> {
        let log = stage.servers[n].log();
        let sets = log.iter().filter(|command| command.verb() == "set");
        sets.map(|command| command.line.clone()).collect()
    };
    assert_eq!(lines(0), ["set k 7 0 1"; 3]);
    assert_eq!(lines(1), ["set k 7 10 1"]);
    assert_eq!(lines(2), ["set k 7 10 1"; 2]);
}

/// Routes that decide without a reply, below and above those with several children.
#[test]
fn rules_take_answers_of_routes_and_choices_lead_to_rules() {
    let stored = Says("STORED\r\n");
    let hit = "VALUE k 7 1\r\nx\r\nEND\r\n";
    let own_timeout = "{ type = \"error\", result = \"timeout\", message = \"own\" }";
    let kinds = format!(
        "type = \"selective-failover\"\nchildren = [{own_timeout}, \"p0\"]\nget_errors = [\"timeout\"]\nupdate_errors = [\"connect\"]"
    );
    let above = format!(
        "type = \"failover\"\non = [\"timeout\"]\nchildren = [{{ type = \"all-sync\", children = [\"p0\", {own_timeout}] }}, \"p1\"]"
    );
    let nothing = "type = \"all-sync\"\nchildren = [\"p0\", { type = \"null\" }]";
    let fastest = "type = \"all-fastest\"\nchildren = [\"p0\", { type = \"null\" }]";
    let operation = "type = \"operation\"\ndefault = \"p0\"\noperations = { update_like = { type = \"all-sync\", children = [\"p0\", \"p1\"] } }";
    let limited = "type = \"miss-failover\"\nchildren = [{ type = \"rate-limit\", child = \"p0\", gets_rate = 0.00001 }, \"p1\"]";
    let stop = "type = \"all-initial\"\nchildren = [{ type = \"hash-stop\", child = \"p0\", prefixes = [] }, \"p1\"]";
    let refused = "SERVER_ERROR Hash stop not permited\r\n";
    for (route, command, replies, asked, want) in [
        (&*kinds, "get k\r\n", [HIT, Hangs], &[0][..], hit),
        (&kinds, SET, [stored, Hangs], &[], "SERVER_ERROR own\r\n"),
        (&above, "get k\r\n", [MISS, HIT], &[0, 1], hit),
        (&above, SET, [Closes, stored], &[0], LOST),
        (nothing, "get k\r\n", [HIT, Hangs], &[0], "END\r\n"),
        (nothing, SET, [stored, Hangs], &[0], "NOT_STORED\r\n"),
        (fastest, "get k\r\n", [Hangs, Hangs], &[0], "END\r\n"),
        (operation, "get k\r\n", [HIT, Hangs], &[0], hit),
        (operation, SET, [stored, Closes], &[0, 1], LOST),
        (limited, "get k\r\n", [HIT, HIT], &[1], hit),
        (limited, SET, [stored, stored], &[0], "STORED\r\n"),
        (stop, "get k|#|x\r\n", [HIT, MISS], &[1], refused),
        (stop, "get k\r\n", [HIT, MISS], &[0, 1], hit),
    ] {
        Stage::start(route, 2).check(command, &replies, asked, want);
    }
}

/// What is changed above all children is changed for each, below for one; and a random child is one.
#[test]
fn times_to_live_are_changed_above_and_below_rules() {
    let lines = |stage: &Stage, n: usize| -> Vec<String> {
        let log = stage.servers[n].log();
        let sets = log.iter().filter(|command| command.verb() == "set");
        sets.map(|command| command.line.clone()).collect()
    };
    let above = "type = \"exptime\"\nexptime = \"10s\"\nchild = { type = \"shadow\", children = [\"p0\", \"p1\"] }";
    let below = "type = \"all-sync\"\nchildren = [\"p0\", { type = \"exptime\", exptime = \"10s\", child = \"p1\" }]";
    for (route, want) in [
        (above, ["set k 7 10 1", "set k 7 10 1"]),
        (below, ["set k 7 0 1", "set k 7 10 1"]),
    ] {
        let stage = Stage::start(route, 2);
        for server in &stage.servers {
            server.follow(script(Says("STORED\r\n")));
        }
        stage.router.client().ask(SET, "STORED\r\n");
        for (n, want) in want.into_iter().enumerate() {
            eventually("the children have got it", || lines(&stage, n) == [want]);
        }
    }
    let route = "type = \"all-sync\"\nchildren = [{ type = \"random\", children = [\"p0\", \"p1\"] }, \"p2\"]";
    let stage = Stage::start(route, 3);
    for server in &stage.servers {
        server.follow(script(Says("STORED\r\n")));
    }
    let mut client = stage.router.client();
    client.ask(SET.repeat(50), "STORED\r\n".repeat(50));
    assert_eq!(lines(&stage, 0).len() + lines(&stage, 1).len(), 50);
    assert_eq!(lines(&stage, 2).len(), 50);
}

/// A child that nobody waits for and that never answers is in nobody's way, however many requests it has been sent and
/// however large they are: it gets what its queue takes.
#[test]
fn a_child_that_never_answers_holds_nothing_up_where_nobody_waits_for_it() {
    let below = |rule: &str| {
        let child = format!(r#"{{ type = "{rule}", children = ["p0", "p1"] }}"#);
        format!("type = \"failover\"\nchildren = [{child}, \"p2\"]")
    };
    for (rule, answers) in [
        ("shadow", true),
        ("all-initial", true),
        ("all-fastest", true),
        ("all-async", false),
    ] {
        let servers = [Memcached::start(), Memcached::start(), Memcached::start()];
        let pools: String = (0..3)
            .map(|n| {
                let addr = servers[n].addr();
                format!(
                    "[pools.p{n}]\nservers = [\"{addr}\"]\ntimeout = \"10m\"\n[pools.p{n}.tko]\nenabled = false\n"
                )
            })
            .collect();
        let router = Setup::new([servers[0].addr()])
            .top("workers = 1\nmiss_on_get_errors = false")
            .table(&format!("{pools}[route]\n{}\n", below(rule)))
            .start();
        let mut client = router.client();
        // So that there is a connection.
        let first = if answers {
            "STORED\r\n"
        } else {
            "NOT_STORED\r\n"
        };
        client.ask("set k 0 0 1\r\nx\r\n", first);
        eventually("the copy has come", || servers[1].holds("k"));
        servers[1].process().freeze();
        for _ in 0..1100 {
            client.ask("delete missing\r\n", "NOT_FOUND\r\n");
        }
        let value = "v".repeat(500_000);
        for _ in 0..20 {
            client.ask(format!("set k 0 0 500000\r\n{value}\r\n"), first);
        }
        router.client().ask("get other\r\n", "END\r\n");
        servers[1].process().thaw();
    }
}
