//! Answers as AWS and Google document them, hostile ones, and a dialogue over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::thread::{self, JoinHandle};

use proptest::prelude::*;

use super::*;

const TWO: &str = "12\nmyCluster.pc4ldq.0001.use1.cache.amazonaws.com|10.82.235.120|11211 \
                   myCluster.pc4ldq.0002.use1.cache.amazonaws.com|10.80.249.27|11211\n";

fn reply(head: &str, text: &str) -> Vec<u8> {
    format!("{head} 0 {}\r\n{text}\r\nEND\r\n", text.len()).into_bytes()
}

fn read(text: &str) -> Result<Cluster, Failure> {
    match parse(&reply("CONFIG cluster", text))? {
        Reply::Cluster(cluster) => Ok(cluster),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_elasticache_says() {
    let cluster = read(TWO).unwrap();
    assert_eq!((cluster.version, cluster.nodes.len()), (12, 2));
    let first = &cluster.nodes[0];
    assert_eq!(
        first.name,
        "mycluster.pc4ldq.0001.use1.cache.amazonaws.com:11211"
    );
    assert_eq!(first.identity, Identity::Configured);
    assert_eq!(
        first.addr,
        ServerAddr::Tcp("10.82.235.120:11211".parse().unwrap())
    );
    let old = parse(&reply("VALUE AmazonElastiCache:cluster", TWO));
    assert_eq!(old, Ok(Reply::Cluster(cluster)));
}

#[test]
fn what_memorystore_says() {
    let cluster = read("7\n10.0.0.3|10.0.0.3|11211 10.0.0.4|10.0.0.4|11211\r\n").unwrap();
    let names: Vec<&str> = cluster
        .nodes
        .iter()
        .map(|node| node.name.as_str())
        .collect();
    assert_eq!(names, ["10.0.0.3:11211", "10.0.0.4:11211"]);
    assert!(
        cluster
            .nodes
            .iter()
            .all(|node| node.identity == Identity::Ip)
    );
}

#[test]
fn nodes_without_an_address_are_left_to_resolve() {
    let cluster =
        read("1\na.example||11211 b.example|fd00::2|11212 [fd00::3]|[fd00::3]|1").unwrap();
    assert_eq!(cluster.nodes[0].to_resolve(), Some(("a.example", 11211)));
    assert_eq!(cluster.nodes[1].addr.to_string(), "[fd00::2]:11212");
    assert_eq!(cluster.nodes[1].name, "b.example:11212");
    assert_eq!(cluster.nodes[2].name, "[fd00::3]:1");
}

#[test]
fn an_answer_is_waited_for_and_taken_once_it_is_whole() {
    let whole = reply("CONFIG cluster", TWO);
    for end in 0..whole.len() {
        assert_eq!(parse(&whole[..end]), Ok(Reply::Partial), "{end}");
    }
    assert!(matches!(parse(&whole), Ok(Reply::Cluster(_))));
}

#[test]
fn what_is_no_configuration_is_a_failure() {
    use FailureKind::{Empty, Server, Unusable};
    let text = |text: &str| reply("CONFIG cluster", text);
    let many = format!("1\n{}", "a|10.0.0.1|1 ".repeat(MAX_NODES + 1));
    for (reply, kind, part) in [
        (b"END\r\n".to_vec(), Empty, "no configuration"),
        (b"SERVER_ERROR busy\r\n".to_vec(), Server, "busy"),
        (b"HTTP/1.1 400 Bad Request\r\n".to_vec(), Unusable, "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\n".to_vec(), Unusable, "\\x15"),
        (vec![b'x'; 600], Unusable, "xxx"),
        (b"CONFIG cluster 0 -1\r\n".to_vec(), Unusable, "-1"),
        (
            b"CONFIG cluster 0 99999999999999999999\r\n".to_vec(),
            Unusable,
            "999",
        ),
        (
            b"CONFIG cluster 0 1048577\r\n".to_vec(),
            Unusable,
            "too long",
        ),
        (b"CONFIG other 0 5\r\n".to_vec(), Unusable, "other"),
        (
            b"CONFIG cluster 0 2\r\n1\nxx\r\nEND\r\n".to_vec(),
            Unusable,
            "after 2 bytes",
        ),
        (text(""), Unusable, "version"),
        (text("x\na|10.0.0.1|1"), Unusable, "version"),
        (text("1\n"), Empty, "no nodes"),
        (text("1\na|10.0.0.1|1\nmore"), Unusable, "more"),
        (text("1\na|10.0.0.1"), Unusable, "host|ip|port"),
        (text("1\na|10.0.0.1|1|2"), Unusable, "host|ip|port"),
        (text("1\na|10.0.0.1|0"), Unusable, "port"),
        (text("1\na|10.0.0.1|70000"), Unusable, "port"),
        (text("1\na|10.0.0|1"), Unusable, "IP"),
        (text("1\n|10.0.0.1|1"), Unusable, "host"),
        (text("1\nunix:/a|10.0.0.1|1"), Unusable, "host"),
        (text("1\na|10.0.0.1|1 b"), Unusable, "b"),
        (text(&many), Unusable, "4096"),
    ] {
        let failure = parse(&reply).unwrap_err();
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.detail.contains(part), "{failure:?}");
    }
    assert_eq!(parse(b"ERROR\r\n"), Ok(Reply::Unknown));
}

/// A server that answers each line that it knows, once, then hangs up.
fn server(answers: Vec<(&'static str, Vec<u8>)>) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for (question, answer) in answers {
            let mut asked = vec![0; question.len()];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(String::from_utf8(asked).unwrap(), question);
            // In two pieces, so that the first is not the whole.
            let (one, two) = answer.split_at(answer.len() / 2);
            stream.write_all(one).unwrap();
            stream.flush().unwrap();
            thread::yield_now();
            stream.write_all(two).unwrap();
        }
        let _ = stream.shutdown(Shutdown::Write);
        // Until the client hangs up, so that it sees our end and no reset.
        let _ = stream.read(&mut [0]);
    });
    (addr, thread)
}

fn asked(addr: SocketAddr, timeout: Duration) -> Result<Cluster, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(ask(addr, timeout))
}

const LONG: Duration = Duration::from_secs(30);

#[test]
fn an_endpoint_is_asked() {
    let (addr, thread) = server(vec![(
        "config get cluster\r\n",
        reply("CONFIG cluster", TWO),
    )]);
    assert_eq!(asked(addr, LONG), read(TWO));
    thread.join().unwrap();
}

#[test]
fn an_old_engine_is_asked_the_old_way() {
    let (addr, thread) = server(vec![
        ("config get cluster\r\n", b"ERROR\r\n".to_vec()),
        (
            "get AmazonElastiCache:cluster\r\n",
            reply("VALUE AmazonElastiCache:cluster", TWO),
        ),
    ]);
    assert_eq!(asked(addr, LONG), read(TWO));
    thread.join().unwrap();
}

/// What a plain memcached says, which is no endpoint.
#[test]
fn a_memcached_is_told_from_an_endpoint() {
    let (addr, thread) = server(vec![
        ("config get cluster\r\n", b"ERROR\r\n".to_vec()),
        ("get AmazonElastiCache:cluster\r\n", b"END\r\n".to_vec()),
    ]);
    assert_eq!(asked(addr, LONG).unwrap_err().kind, FailureKind::Empty);
    thread.join().unwrap();
    let (addr, thread) = server(vec![
        ("config get cluster\r\n", b"ERROR\r\n".to_vec()),
        ("get AmazonElastiCache:cluster\r\n", b"ERROR\r\n".to_vec()),
    ]);
    assert_eq!(asked(addr, LONG).unwrap_err().kind, FailureKind::Unusable);
    thread.join().unwrap();
}

#[test]
fn an_endpoint_that_hangs_up_or_never_answers() {
    let (addr, thread) = server(vec![(
        "config get cluster\r\n",
        b"CONFIG cluster 0 100\r\n12\n".to_vec(),
    )]);
    let failure = asked(addr, LONG).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Io);
    assert!(failure.detail.starts_with(&addr.to_string()), "{failure:?}");
    thread.join().unwrap();

    // Nobody accepts, yet the kernel completes the connection.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let failure = asked(silent.local_addr().unwrap(), Duration::from_millis(50)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Timeout);

    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    assert_eq!(asked(gone, LONG).unwrap_err().kind, FailureKind::Io);
}

fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = vec![
        "CONFIG cluster 0 ",
        "VALUE AmazonElastiCache:cluster 0 ",
        "7",
        "20",
        "\r\n",
        "\n",
        "END\r\n",
        "a|10.0.0.1|1",
        "|",
        " ",
        "ERROR",
        "1\na||1\n",
        "\r\nEND\r\n",
        "fd00::1",
        "\u{ff}",
    ];
    let piece = prop::sample::select(pieces);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..80),
        prop::collection::vec(piece.clone(), 0..20).prop_map(|pieces| pieces.concat().into_bytes()),
        prop::collection::vec(piece, 0..8)
            .prop_map(|pieces| reply("CONFIG cluster", &pieces.concat())),
    ]
}

proptest! {
    /// No bytes bring it down, what it takes can go into a ring, and what it says of the rest fits into a log.
    #[test]
    fn any_answer_has_an_outcome(bytes in hostile()) {
        match parse(&bytes) {
            Ok(Reply::Cluster(cluster)) => {
                prop_assert!(!cluster.nodes.is_empty());
                for node in &cluster.nodes {
                    prop_assert!(crate::discovery::names::is_usable(&node.name), "{:?}", node);
                }
                // More bytes behind a whole answer change nothing.
                let more = [&bytes[..], b"more"].concat();
                prop_assert_eq!(parse(&more), Ok(Reply::Cluster(cluster)));
            }
            Ok(Reply::Partial) => prop_assert!(bytes.len() <= MAX_LINE + MAX_TEXT + 7),
            Ok(Reply::Unknown) => {}
            Err(failure) => {
                prop_assert!(failure.detail.len() < 500 && !failure.detail.contains(char::is_control));
            }
        }
    }
}
