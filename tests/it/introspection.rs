//! What the router tells of itself in mcrouter's words, in front of real servers.
//!
//! Protects: questions get the answers that mcrouter 0.36 was recorded to give, and only gets are questions; figures
//! count what was done, in answers and in files; a configuration that was good is started from when the file no longer
//! is; variables hold without a reload; errors have the words of the mcrouter that is asked for.

use std::path::Path;
use std::time::Duration;

use crate::mcrouter::{Place, chart};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::memcached::Memcached;
use crate::support::port::Port;
use crate::support::router::{Cluster, Ringroad, Setup};
use crate::support::scripted::{Act, Command, Scripted};

/// As mcrouter, in front of three servers.
fn started(servers: &[Memcached], more: &[&str]) -> Ringroad {
    let place = Place::new();
    let file = place.write("config.json", &chart(servers));
    let file = format!("--config-file={file}");
    let mut args = vec!["-pPORT", &*file];
    args.extend(more);
    place.serve(&args)
}

/// The value of a key.
fn got(c: &mut Client, key: &str) -> String {
    c.send(format!("get {key}\r\n"));
    let line = c.line();
    let length = line
        .rsplit(' ')
        .next()
        .and_then(|length| length.parse::<usize>().ok());
    let length = length.unwrap_or_else(|| panic!("{key}: {line}"));
    assert_eq!(line, format!("VALUE {key} 0 {length}"));
    let value = String::from_utf8(c.read(length)).unwrap();
    c.expect("\r\nEND\r\n");
    value
}

fn asked(c: &mut Client, question: &str) -> String {
    got(c, &format!("__mcrouter__.{question}"))
}

/// A figure of a group of `stats`.
fn figure(router: &Ringroad, group: &str, name: &str) -> String {
    let stats = router.client().stats(group);
    let found = stats.into_iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("{group} has no {name}")).1
}

#[test]
fn questions_are_answered_as_by_the_recorded_daemon() {
    let servers = Memcached::several(3);
    let router = started(&servers, &["--mcrouter-compat=0.36", "--service-name=svc"]);
    let mut c = router.client();
    let addr = |index: usize| servers[index].addr().to_string();
    // Where the recorded daemon sent these keys.
    for (key, index) in [("foo", 1), ("foo|#|bar", 1), ("", 1), ("foo,bar", 0)] {
        for operation in [
            "get",
            "gets",
            "set",
            "add",
            "delete",
            "incr",
            "touch",
            "cas",
            "append",
            "lease-get",
        ] {
            let got = asked(&mut c, &format!("route({operation},{key})"));
            assert_eq!(got, addr(index), "{operation} {key}");
        }
    }
    let all = [addr(0), addr(1), addr(2)].join("\r\n");
    for (question, want) in [
        ("version", "36.0.0 mcrouter".to_owned()),
        ("version(x)", "36.0.0 mcrouter".to_owned()),
        ("route(flushall,foo)", all),
        (
            "route(version,foo)",
            "ERROR: route: unknown request version".to_owned(),
        ),
        ("route(get)", "ERROR: route: 2 args expected".to_owned()),
        (
            "route_handles(get)",
            "ERROR: route_handles: 2 args expected".to_owned(),
        ),
        ("nope(a)", "ERROR: unknown command: nope".to_owned()),
        ("", "ERROR: unknown command: ".to_owned()),
        ("help", "ERROR: unknown command: help".to_owned()),
        ("options(num_proxies)", "1".to_owned()),
        ("options(service_name)", "svc".to_owned()),
        (
            "options(nope)",
            "ERROR: options: option nope not found".to_owned(),
        ),
        (
            "verbosity(0,1)",
            "ERROR: expected at most 1 argument, got 2".to_owned(),
        ),
        ("verbosity(2)", "1 -> 2".to_owned()),
        ("verbosity", "2".to_owned()),
    ] {
        assert_eq!(asked(&mut c, question), want, "{question}");
    }
    let handles = asked(&mut c, "route_handles(get,foo)");
    assert!(handles.starts_with("root\n "), "{handles}");
    let leaf = format!(
        "host|pool=A|id=1|ap={}:ascii:plain:notcompressed|timeout=1000ms",
        addr(1)
    );
    assert!(
        handles.ends_with(&leaf) && handles.contains(" hash|Ch3\n "),
        "{handles}"
    );
    assert!(asked(&mut c, "hostid").parse::<u32>().is_ok());
    assert!(asked(&mut c, "config_age").parse::<u64>().unwrap() < 60);
    let file = asked(&mut c, "config_file");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), chart(&servers));
    let digest = asked(&mut c, "config_md5_digest");
    let sources = asked(&mut c, "config_sources_info");
    assert_eq!(
        sources,
        format!("{{\n  \"config_file\" : \"{file}\",\n  \"mcrouter_config\" : \"{digest}\"\n}}")
    );
    // The comma behind the last server is gone.
    let listed: Vec<String> = (0..3)
        .map(|index| format!("        \"{}\"", addr(index)))
        .collect();
    let want = format!(
        "{{\n  \"pools\" : {{\n    \"A\" : {{\n      \"servers\" : [\n{}\n      ]\n    }}\n  }},\n  \"route\" : \"PoolRoute|A\"\n}}",
        listed.join(",\n")
    );
    assert_eq!(asked(&mut c, "preprocessed_config"), want);
    assert!(asked(&mut c, "options()").contains(&format!("\nports {}\n", router.addr().port())));
    c.ask("version\r\n", "VERSION 36.0.0 mcrouter\r\n");
}

#[test]
fn only_gets_are_questions() {
    let servers = Memcached::several(3);
    let router = started(&servers, &["--mcrouter-compat=0.36"]);
    let mut c = router.client();
    c.ask("set a 0 0 2\r\nab\r\n", "STORED\r\n");
    c.ask("set b 0 0 1\r\n2\r\n", "STORED\r\n");
    let key = "__mcrouter__.version";
    let version = format!("VALUE {key} 0 15\r\n36.0.0 mcrouter\r\n");
    c.ask(
        format!("get a {key} b\r\n"),
        format!("VALUE a 0 2\r\nab\r\n{version}VALUE b 0 1\r\n2\r\nEND\r\n"),
    );
    c.ask(format!("gets {key}\r\n"), "END\r\n");
    c.ask("get __mcrouter__\r\n", "END\r\n");
    c.ask(format!("mg {key} v\r\n"), "EN\r\n");
    c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    assert_eq!(servers.iter().filter(|one| one.holds(key)).count(), 1);
    c.ask(format!("get {key}\r\n"), format!("{version}END\r\n"));
    c.ask(format!("delete {key}\r\n"), "DELETED\r\n");
    c.ask(format!("incr {key} 1\r\n"), "NOT_FOUND\r\n");
    // The blank ends the key: the rest is a key of its own.
    let first = "__mcrouter__.route(get,";
    c.ask(
        format!("get {first} foo)\r\n"),
        format!("VALUE {first} 0 34\r\nERROR: unknown command: route(get,\r\nEND\r\n"),
    );
}

#[test]
fn who_is_out_of_service_is_not_in_the_way_of_a_request() {
    let mut servers = Memcached::several(2);
    let place = Place::new();
    let text = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{}\"]}}, \"B\": {{\"servers\": [\"{}\"]}}}}, \"route\": {{\"type\": \"FailoverRoute\", \"children\": [\"PoolRoute|A\", \"PoolRoute|B\"]}}}}",
        servers[0].addr(),
        servers[1].addr()
    );
    let file = place.write("f.json", &text);
    let router = place.serve(&["-p", "PORT", "-f", &file]);
    let mut c = router.client();
    let addrs = [0, 1].map(|index| servers[index].addr().to_string());
    c.ask("get k\r\n", "END\r\n");
    assert_eq!(asked(&mut c, "route(get,k)"), addrs[0]);
    let tree = asked(&mut c, "route_handles(get,k)");
    assert!(tree.starts_with("proxy\n root\n  failover\n   "), "{tree}");
    assert!(
        tree.contains(&addrs[0]) && tree.contains(&addrs[1]),
        "{tree}"
    );
    assert!(asked(&mut c, "help").contains("\nroute: "));
    assert!(asked(&mut c, "pools").contains(&format!("host|pool=B|id=0|ap={}:", addrs[1])));
    servers[0].kill();
    eventually("the second child is where the key goes", || {
        c.ask("get k\r\n", "END\r\n");
        asked(&mut c, "route(get,k)") == addrs[1]
    });
    let suspects = router.client().stats("suspect_servers");
    assert_eq!(suspects[0].0, addrs[0]);
    assert!(suspects[0].1.starts_with("status:tko num_failures:"));
    let lines = router.client().stats("servers");
    let key = |addr: &str| format!("{addr}:ascii:plain:notcompressed-1000");
    let of = |addr: &str| lines.iter().find(|(name, _)| *name == key(addr)).unwrap();
    assert!(of(&addrs[0]).1.contains("hard_tko; ") && of(&addrs[0]).1.contains(" down:1"));
    assert!(of(&addrs[1]).1.starts_with("avg_latency_us:") && of(&addrs[1]).1.contains(" up:1"));
    let failed = figure(&router, "count", "result_tko_all_count");
    assert_ne!(failed, "0");
    assert_eq!(
        figure(&router, "count", "result_error_count"),
        "0",
        "no client has seen any"
    );
}

#[test]
fn figures_count_what_was_done() {
    let servers = Memcached::several(3);
    let router = started(&servers, &[]);
    let mut c = router.client();
    c.ask("set a 0 0 1\r\n1\r\n", "STORED\r\n");
    c.ask("add b 0 0 1\r\n1\r\n", "STORED\r\n");
    c.ask("add b 0 0 1\r\n1\r\n", "NOT_STORED\r\n");
    c.ask("get a\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n");
    c.ask(
        "get a b\r\n",
        "VALUE a 0 1\r\n1\r\nVALUE b 0 1\r\n1\r\nEND\r\n",
    );
    c.ask("gets none\r\n", "END\r\n");
    c.ask("gat 0 a\r\n", "VALUE a 0 1\r\n1\r\nEND\r\n");
    c.ask("touch a 0\r\n", "TOUCHED\r\n");
    c.ask("incr a 1\r\n", "2\r\n");
    c.ask("decr a 1\r\n", "1\r\n");
    c.ask("append a 0 0 1\r\n1\r\n", "STORED\r\n");
    c.ask("delete a\r\n", "DELETED\r\n");
    for (name, want) in [
        ("cmd_get_count", "3"),
        ("cmd_gets_count", "1"),
        ("cmd_gat_count", "1"),
        ("cmd_set_count", "1"),
        ("cmd_add_count", "2"),
        ("cmd_append_count", "1"),
        ("cmd_touch_count", "1"),
        ("cmd_incr_count", "1"),
        ("cmd_decr_count", "1"),
        ("cmd_delete_count", "1"),
        ("request_sent_count", "13"),
        ("request_replied_count", "13"),
        ("request_success_count", "13"),
        ("request_error_count", "0"),
    ] {
        assert_eq!(figure(&router, "count", name), want, "{name}");
        assert_eq!(figure(&router, "all", name), want, "{name}");
    }
    assert_eq!(figure(&router, "", "num_servers"), "3");
    assert_eq!(
        figure(&router, "version", "mcrouter-version"),
        figure(&router, "", "version")
    );
    let threads = std::process::id().to_string();
    assert_eq!(figure(&router, "", "parent_pid"), threads);
    c.ask("stats foo\r\n", "CLIENT_ERROR bad stats command\r\n");
    c.ask("stats items\r\n", "CLIENT_ERROR bad stats command\r\n");
    c.send("stats  servers \r\n");
    c.read_until(b"END\r\n");
    eventually("the rate of gets is seen", || {
        c.ask("get b\r\n", "VALUE b 0 1\r\n1\r\nEND\r\n");
        figure(&router, "cmd", "cmd_get").parse::<f64>().unwrap() > 0.0
    });
}

/// The figures in a file, once it has this many gets.
fn in_file(path: &Path, name: &str, want: u64) -> serde_json::Value {
    let mut found = serde_json::Value::Null;
    eventually("the file has the figure", || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        found = serde_json::from_str(&text).unwrap_or_default();
        found[name] == want
    });
    found
}

#[test]
fn figures_options_and_sources_are_in_files() {
    let servers = Memcached::several(3);
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().display().to_string();
    let args = [
        "--stats-root",
        &dir,
        "--stats-logging-interval=100",
        "--service-name",
        "svc",
    ];
    let router = started(&servers, &args);
    let mut c = router.client();
    c.ask("get a b c\r\n", "END\r\n");
    let port = router.addr().port();
    let prefix = format!("libmcrouter.svc.{port}");
    let file = |name: &str| root.path().join(format!("{prefix}.{name}"));
    let name = format!("{prefix}.cmd_get_count");
    let figures = in_file(&file("stats"), &name, 3);
    assert_eq!(figures[format!("{prefix}.num_servers")], 3);
    c.ask("get a\r\n", "END\r\n");
    in_file(&file("stats"), &name, 4);
    let options = std::fs::read(file("startup_options")).unwrap();
    let options: serde_json::Value = serde_json::from_slice(&options).unwrap();
    assert_eq!(options["service_name"], "svc");
    assert_eq!(options["ports"], port.to_string());
    let sources = std::fs::read_to_string(file("config_sources_info")).unwrap();
    assert_eq!(sources, asked(&mut c, "config_sources_info"));
    for entry in std::fs::read_dir(root.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.starts_with(&prefix), "{name}");
    }
}

#[test]
fn directories_that_are_not_there_are_told_once_and_nothing_else() {
    let servers = Memcached::several(3);
    let args = [
        "--stats-root=/nowhere/stats",
        "--config-dump-root=/nowhere/dump",
        "--stats-logging-interval=1",
    ];
    let mut router = started(&servers, &args);
    let mut c = router.client();
    let count = |router: &mut Ringroad, text: &str| router.process().output().matches(text).count();
    eventually("both are told", || {
        let text = router.process().output();
        text.contains("/nowhere/stats") && text.contains("/nowhere/dump")
    });
    // Two more rounds.
    let age: u64 = asked(&mut c, "config_age").parse().unwrap();
    eventually("time has passed", || {
        asked(&mut c, "config_age").parse::<u64>().unwrap() > age + 2
    });
    assert_eq!(count(&mut router, "can't be written to /nowhere/stats"), 1);
    assert_eq!(count(&mut router, "can't be written to /nowhere/dump"), 1);
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
}

#[test]
fn a_file_that_is_broken_is_replaced_by_the_copy_of_the_last_good_one() {
    let servers = Memcached::several(3);
    let root = tempfile::tempdir().unwrap();
    let dump = root.path().join("dump");
    let file = root.path().join("config.json");
    std::fs::create_dir(&dump).unwrap();
    std::fs::write(&file, chart(&servers)).unwrap();
    let (dump, path) = (dump.display().to_string(), file.display().to_string());
    let args = [
        "-pPORT",
        "-f",
        &path,
        "--config-dump-root",
        &dump,
        "--service-name=svc",
    ];
    let router = Place::new().serve(&args);
    let router_name = router.addr().port().to_string();
    let copies = root.path().join("dump/svc").join(&router_name);
    let escaped = path.replace('/', "%2F");
    let name = format!("file-{escaped}");
    eventually("there is a copy", || copies.join(&name).exists());
    drop(router);
    let copy = copies.join(&name);
    assert_eq!(std::fs::read_to_string(&copy).unwrap(), chart(&servers));
    // The next one has another port, and so another name.
    let next = |file: &str, more: &[&str]| {
        let port = crate::support::port::Port::reserve();
        let mine = root.path().join("dump/svc").join(port.number().to_string());
        std::fs::create_dir_all(&mine).unwrap();
        std::fs::copy(&copy, mine.join(&name)).unwrap();
        let number = port.number().to_string();
        let mut args = vec![
            "mcrouter",
            "-p",
            &number,
            "-f",
            file,
            "--config-dump-root",
            &dump,
            "--service-name=svc",
        ];
        args.extend(more);
        let mut command = std::process::Command::new(crate::support::router::binary());
        command.args(&args);
        (command, port)
    };
    std::fs::write(&file, "{ \"pools\": ").unwrap();
    let (command, port) = next(&path, &[]);
    let mut router = Ringroad::spawn(command, port, tempfile::tempdir().unwrap());
    let mut c = router.client();
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    assert_eq!(figure(&router, "detailed", "configs_from_disk"), "1");
    assert_eq!(figure(&router, "detailed", "config_failures"), "1");
    assert!(
        router
            .process()
            .output()
            .contains("Failed to reconfigure: ")
    );
    // What is wrong anew changes nothing, what is good is taken.
    std::fs::write(&file, "{ \"route\": 5 }").unwrap();
    eventually("the file was read again", || {
        figure(&router, "detailed", "config_failures") == "2"
    });
    eventually("the log says so", || {
        let text = router.process().output();
        text.contains("Error while reconfiguring mcrouter after config change")
    });
    c.ask("get k\r\n", "VALUE k 0 1\r\nx\r\nEND\r\n");
    std::fs::write(&file, chart(&servers[..1])).unwrap();
    eventually("the file is good again", || {
        figure(&router, "", "num_servers") == "1"
    });
    eventually("the log says so, too", || {
        let text = router.process().output();
        text.contains("reconfigured 1 proxies with 1 pools, 1 clients ")
    });
    drop(router);
    // One that is too old is none.
    std::fs::write(&file, "{").unwrap();
    let (mut command, port) = next(&path, &["--max-dumped-config-age=0"]);
    let copy = root.path().join("dump/svc").join(port.number().to_string());
    let file = std::fs::File::options()
        .write(true)
        .open(copy.join(&name))
        .unwrap();
    let hour_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    file.set_modified(hour_ago).unwrap();
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_runtime_variable_holds_without_a_reload() {
    let servers = Memcached::several(2);
    let place = Place::new();
    let text = format!(
        "{{\"pools\": {{\"A\": {{\"servers\": [\"{}\"]}}, \"B\": {{\"servers\": [\"{}\"]}}}}, \"route\": {{\"type\": \"PoolRoute\", \"pool\": \"A\", \"shadows\": [{{\"target\": \"PoolRoute|B\", \"index_range\": [0, 1], \"key_fraction_range_rv\": \"copied\"}}]}}}}",
        servers[0].addr(),
        servers[1].addr()
    );
    let file = place.write("f.json", &text);
    let vars = place.write("vars.json", "{\"copied\": [0, 0]}");
    let router = place.serve(&["-p", "PORT", "-f", &file, "--runtime-vars-file", &vars]);
    let mut c = router.client();
    c.ask("set a 0 0 1\r\nx\r\n", "STORED\r\n");
    std::fs::write(&vars, "{\"copied\": [0.0, 1.0]}").unwrap();
    eventually("keys are copied", || {
        c.ask("set b 0 0 1\r\nx\r\n", "STORED\r\n");
        servers[1].holds("b")
    });
    assert!(!servers[1].holds("a"));
    // A file that makes no sense leaves it as it is.
    std::fs::write(&vars, "{\"copied\": ").unwrap();
    let tree = asked(&mut c, "route_handles(set,a)");
    assert!(tree.contains("shadow"), "{tree}");
    eventually("keys are still copied", || {
        c.ask("set c 0 0 1\r\nx\r\n", "STORED\r\n");
        servers[1].holds("c")
    });
}

#[test]
fn errors_have_the_words_of_the_version_that_is_asked_for() {
    for (compat, refused, out, flush, number) in [
        (
            "0.36",
            "SERVER_ERROR connection error",
            "SERVER_ERROR unavailable",
            "SERVER_ERROR Command disabled",
            "NOT_FOUND",
        ),
        (
            "latest",
            "SERVER_ERROR connect failed",
            "SERVER_ERROR server is down",
            "SERVER_ERROR flush_all is disabled",
            "SERVER_ERROR server is down",
        ),
    ] {
        let mut servers = Memcached::several(1);
        servers[0].kill();
        let compat = format!("--mcrouter-compat={compat}");
        let router = started(&servers, &[&compat, "--asynclog-disable"]);
        let mut c = router.client();
        c.send("set k 0 0 1\r\nx\r\n");
        let first = c.line();
        assert!(first == refused || first == out, "{compat}: {first}");
        eventually("the server is out", || {
            c.send("set k 0 0 1\r\nx\r\n");
            c.line() == out
        });
        c.ask("get k\r\n", "END\r\n");
        c.ask("incr k 1\r\n", format!("{number}\r\n"));
        c.ask("touch k 1\r\n", format!("{out}\r\n"));
        c.ask("delete k\r\n", format!("{out}\r\n"));
        c.ask("flush_all\r\n", format!("{flush}\r\n"));
        assert_ne!(figure(&router, "count", "result_tko_count"), "0");
        // What is memcached's own stays so.
        c.ask("nonsense\r\n", "ERROR\r\n");
        c.ask("mn\r\n", "MN\r\n");
    }
    let servers = Memcached::several(1);
    let router = started(&servers, &["--mcrouter-compat=0.36"]);
    let mut c = router.client();
    c.ask("set k 0 0 1\r\nx\r\n", "STORED\r\n");
    c.ask(
        "incr k 1\r\n",
        "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n",
    );
    // A routing prefix that leads nowhere.
    c.ask("get /x/y/k\r\n", "SERVER_ERROR local error\r\n");
    c.ask("delete /x/y/k\r\n", "SERVER_ERROR local error\r\n");
    c.ask("incr /x/y/k 1\r\n", "NOT_FOUND\r\n");
    assert_eq!(asked(&mut c, "route(get,/x/y/k)"), "");
    assert_eq!(asked(&mut c, "route_handles(get,/x/y/k)"), "root");
    assert_eq!(
        asked(&mut c, "route(get,/././k)"),
        servers[0].addr().to_string()
    );
    c.ask("get /././__mcrouter__.version\r\n", "END\r\n");
    let (code, text) = Place::new().output(&["-p1", "-f/x", "--mcrouter-compat=0.37"]);
    assert_eq!(code, 3);
    assert!(text.contains("it is latest or 0.36"), "{text}");
}

#[test]
fn a_configuration_in_toml_says_whether_there_are_questions() {
    let cluster = Cluster::start(1);
    let mut c = cluster.client();
    let key = "__mcrouter__.version";
    c.ask(format!("get {key}\r\n"), "END\r\n");
    c.ask(format!("set {key} 0 0 1\r\nx\r\n"), "STORED\r\n");
    c.ask(
        format!("get {key}\r\n"),
        format!("VALUE {key} 0 1\r\nx\r\nEND\r\n"),
    );
    let cluster = Cluster::with(1, |setup| setup.top("introspection = true"));
    let mut c = cluster.client();
    assert!(asked(&mut c, "version").ends_with(" mcrouter"));
    let addr = cluster.servers[0].addr().to_string();
    assert_eq!(asked(&mut c, "route(get,k)"), addr);
    assert_eq!(
        Path::new(&asked(&mut c, "config_file")),
        cluster.router.config()
    );
    assert!(asked(&mut c, "preprocessed_config").contains("[pools.cache]"));
    // `stats` is memcached's, and mcrouter's figures are there, too.
    assert!(cluster.router.stat("threads") > 0);
    assert_eq!(
        figure(&cluster.router, "mcrouter count", "cmd_get_count"),
        "4"
    );
}

/// How requests to a server have failed is told of that server.
#[test]
fn failures_are_counted_by_server_under_mcrouters_names() {
    let server = Scripted::start(|command: &Command| {
        let key = command.args().first().copied().unwrap_or_default();
        match (command.verb(), key) {
            ("get", "busy") => Act::say("SERVER_ERROR 307 busy\r\n"),
            ("get", "client") => Act::say("CLIENT_ERROR x\r\n"),
            ("get", "error") => Act::say("SERVER_ERROR x\r\n"),
            ("get", "silent") => vec![Act::Ignore],
            ("get", "closed") => vec![Act::Close],
            _ => vec![Act::Serve],
        }
    });
    let dead = Port::reserve();
    let table = format!("[pools.dead]\nservers = [\"{}\"]\n", dead.addr());
    let router = Setup::new([server.addr()])
        .top("workers = 1")
        .top(r#"route = { type = "prefix", default = "cache", prefixes = { dead = "dead" } }"#)
        .table(&table)
        .start();
    let mut c = router.client();
    let asked = [
        ("busy", 3),
        ("client", 2),
        ("error", 1),
        ("silent", 1),
        ("closed", 1),
        ("good", 1),
        ("dead", 1),
    ];
    for (key, times) in asked {
        for _ in 0..times {
            c.ask(format!("get {key}\r\n"), "END\r\n");
        }
    }
    let shown = |addr: String| {
        let all = router.client().stats("mcrouter servers");
        let found = all
            .into_iter()
            .find(|(server, _)| server.starts_with(&addr));
        let line = found.unwrap().1;
        line.split_once("; ").map(|(_, results)| results.to_owned())
    };
    let results = shown(server.addr().to_string());
    let want = "timeout:1 busy:3 client_error:2 remote_error:2";
    assert_eq!(results.as_deref(), Some(want));
    // Whoever asks while it is out of service has no result of it.
    c.ask("get dead\r\n", "END\r\n");
    let results = shown(dead.addr().to_string()).unwrap();
    assert!(results.ends_with("connect_error:1"), "{results}");
}
