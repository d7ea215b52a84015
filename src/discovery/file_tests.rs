//! Lists as people and other systems write them, right and wrong, and the file as it changes under the daemon.

use std::fs;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

fn listed(name: &str, identity: Identity, addr: &str, weight: Option<f64>) -> Listed {
    Listed {
        name: name.into(),
        identity,
        addr: addr.parse().unwrap(),
        weight,
    }
}

fn three() -> Vec<Listed> {
    vec![
        listed("10.0.0.1:11211", Identity::Ip, "10.0.0.1:11211", None),
        listed(
            "cache-1",
            Identity::Configured,
            "[fd00::1]:11211",
            Some(2.0),
        ),
        listed(
            "c.example:11211",
            Identity::Configured,
            "c.example:11211",
            None,
        ),
    ]
}

#[test]
fn both_forms_say_the_same() {
    for text in [
        "10.0.0.1:11211\ncache-1=[fd00::1]:11211 2\nc.example:11211\n",
        "\u{feff}# servers\r\n\r\n  10.0.0.1:11211 # the first\r\n\tcache-1=[fd00::1]:11211\t2.0 #\r\nc.example:11211",
        r#"["10.0.0.1:11211", {"name": "cache-1", "addr": "[fd00::1]:11211", "weight": 2}, "c.example:11211"]"#,
        "\n {\"servers\": [\n{\"addr\": \"10.0.0.1:11211\"},\n\
         {\"weight\": 2e0, \"addr\": \"[fd00::1]:11211\", \"name\": \"cache-1\"},\n\"c.example:11211\"]}\n",
    ] {
        assert_eq!(parse(text), Ok(three()), "{text}");
    }
    // A bracket at the beginning need not be JSON.
    let v6 = parse("[fd00::1]:11211\n").unwrap();
    assert_eq!(v6[0].name, "[fd00::1]:11211");
}

#[test]
fn what_has_to_be_resolved_is_told_apart() {
    let all = three();
    let resolved: Vec<_> = ["10.0.0.9:11211".parse().unwrap()].into();
    assert_eq!(all[0].to_resolve(), None);
    assert_eq!(all[2].to_resolve(), Some(("c.example", 11211)));
    assert_eq!(all[2].sighting(resolved.clone()).addrs, resolved);
    let sighting = all[1].sighting(resolved);
    assert_eq!(sighting.addrs, ["[fd00::1]:11211".parse().unwrap()]);
    assert_eq!(
        (sighting.name.as_str(), sighting.weight),
        ("cache-1", Some(2.0))
    );
}

/// One mistake spoils the file, and is named with its line.
#[test]
fn mistakes_have_a_line_and_a_cause() {
    for (text, line, part) in [
        ("a:1\n10.0.0.1\n", 2, "10.0.0.1:11211"),
        ("a:1\n\n#\nb:1 heavy\n", 4, "\"heavy\" is not a weight"),
        ("a:1 2 b:1\n", 1, "one server a line"),
        ("a:1 -1\n", 1, "from 0 to"),
        ("a:1 nan\n", 1, "from 0 to"),
        ("a:1 1e999\n", 1, "from 0 to"),
        ("=a:1\n", 1, "can't be the name"),
        ("a:1\nx=b:1\nx=c:1\n", 3, "the other one is on line 2"),
        ("a:1\na:1\n", 2, "two servers named"),
        ("x=unix:/run/m.sock\n", 1, "unix sockets"),
        ("10.0.0.1:11211:1\n", 1, "name=10.0.0.1:11211 2"),
        ("a:1,b:1\n", 1, "write \"10.0.0.1:11211\""),
        ("a:0\n", 1, "port 0"),
        ("\0\n", 1, "port"),
        ("[1,2]", 1, "an address such as"),
        ("[fd00::1]\n", 1, "[::1]:11211"),
        ("{", 1, "EOF"),
        ("[\"a:1\",\n\"b\"]", 2, "b:11211"),
        ("[\"a:1\",\n7]", 2, "an address such as"),
        (
            "[\"a:1\",\n\"b:1\",\n{\"addr\": \"a:1\"}]",
            3,
            "two servers named",
        ),
        ("[{\"adr\": \"a:1\"}]", 1, "unknown field"),
        ("[{\"name\": \"a\"}]", 1, "missing field `addr`"),
        (
            "[{\"addr\": \"a:1\", \"addr\": \"b:1\"}]",
            1,
            "duplicate field",
        ),
        (
            "[{\"addr\": \"a:1\", \"name\": \"a b\"}]",
            1,
            "can't be the name",
        ),
        ("[{\"addr\": \"a:1\", \"weight\": \"2\"}]", 1, "f64"),
        ("[{\"addr\": \"a:1\", \"weight\": -2}]", 1, "from 0 to"),
        ("{\"servers\": {}}", 1, "a list of servers"),
        ("{\"server\": []}", 1, "unknown field"),
        ("{\"servers\": [\"a:1\"]} x", 1, "trailing"),
    ] {
        let mistake = parse(text).unwrap_err();
        assert_eq!(
            (mistake.line, mistake.kind),
            (line, FailureKind::Unusable),
            "{text}: {mistake}"
        );
        assert!(mistake.cause.contains(part), "{text}: {mistake}");
        assert!(!mistake.cause.contains("at line"), "said once: {mistake}");
    }
    for text in ["", "\n# nobody\n", "[]", "{\"servers\": []}"] {
        assert_eq!(parse(text).unwrap_err().kind, FailureKind::Empty, "{text}");
    }
}

#[test]
fn a_list_is_bounded() {
    let lines = |count: usize| (0..count).map(|n| format!("h-{n}:1\n")).collect::<String>();
    assert_eq!(parse(&lines(MAX_LISTED)).unwrap().len(), MAX_LISTED);
    assert!(
        parse(&lines(MAX_LISTED + 1))
            .unwrap_err()
            .cause
            .contains("more than")
    );
    let json = |count: usize| {
        let all: Vec<String> = (0..count).map(|n| format!("h-{n}:1")).collect();
        serde_json::to_string(&all).unwrap()
    };
    assert_eq!(parse(&json(MAX_LISTED)).unwrap().len(), MAX_LISTED);
    assert!(
        parse(&json(MAX_LISTED + 1))
            .unwrap_err()
            .cause
            .contains("more than")
    );
    assert!(
        parse(&"[{\"addr\":".repeat(100_000)).is_err(),
        "nested deeply"
    );
}

fn names(source: &FileSource) -> Vec<&str> {
    source
        .current()
        .unwrap()
        .iter()
        .map(|one| one.name.as_str())
        .collect()
}

/// Polls until a change is reported, at most as often as it takes.
fn changes(source: &mut FileSource) -> bool {
    (0..3).any(|_| source.poll())
}

#[test]
fn a_file_is_followed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("servers");
    fs::write(&path, "a=h:1\n").unwrap();
    let mut source = FileSource::new(&path);
    assert_eq!(names(&source), ["a"]);
    assert!(!changes(&mut source));
    fs::write(&path, "a=h:1\nb=h:2\n").unwrap();
    assert!(!source.poll(), "it may be in the middle of being written");
    assert!(source.poll());
    assert_eq!(names(&source), ["a", "b"]);
    fs::write(&path, "# the same\na=h:1\nb=h:2\n").unwrap();
    assert!(!changes(&mut source), "a comment is no change of the list");

    fs::write(&path, "a=h:1\nb=\n").unwrap();
    assert!(changes(&mut source));
    let failure = source.current().unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unusable);
    let detail = &failure.detail;
    assert!(
        detail.contains("servers:2: the address is empty"),
        "{detail}"
    );
    fs::write(&path, "a=h:1\nb=h:2\n").unwrap();
    assert!(changes(&mut source));
    assert_eq!(names(&source), ["a", "b"]);
}

/// While it is away the source fails; when it is back as it was, it must be good again.
#[test]
fn a_file_that_goes_and_comes_back_is_good_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("servers");
    let mut source = FileSource::new(&path);
    assert_eq!(source.current().unwrap_err().kind, FailureKind::Io);
    for round in 0..3 {
        fs::write(&path, "a=h:1\n").unwrap();
        assert!(changes(&mut source), "{round}");
        assert_eq!(names(&source), ["a"]);
        fs::remove_file(&path).unwrap();
        assert!(changes(&mut source));
        assert_eq!(source.current().unwrap_err().kind, FailureKind::Io);
        assert!(!changes(&mut source), "said once");
    }
    fs::write(&path, "").unwrap();
    assert!(changes(&mut source));
    assert_eq!(source.current().unwrap_err().kind, FailureKind::Empty);
    fs::write(&path, b"a=h:1\n\xff").unwrap();
    assert!(changes(&mut source));
    assert_eq!(source.current().unwrap_err().kind, FailureKind::Unusable);
    fs::write(&path, "a=h:1\n").unwrap();
    assert!(changes(&mut source));
    let directory = FileSource::new(dir.path());
    assert_eq!(directory.current().unwrap_err().kind, FailureKind::Io);
}

#[test]
fn a_swapped_config_map_is_followed() {
    let dir = TempDir::new().unwrap();
    for (stamp, content) in [("..1", "a=h:1\n"), ("..2", "a=h:1\nb=h:2\n")] {
        fs::create_dir(dir.path().join(stamp)).unwrap();
        fs::write(dir.path().join(stamp).join("servers"), content).unwrap();
    }
    symlink("..1", dir.path().join("..data")).unwrap();
    let path = dir.path().join("servers");
    symlink("..data/servers", &path).unwrap();
    let mut source = FileSource::new(&path);
    assert_eq!(names(&source), ["a"]);
    symlink("..2", dir.path().join("..tmp")).unwrap();
    fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
    assert!(changes(&mut source));
    assert_eq!(names(&source), ["a", "b"]);
}

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "cache-0", "=", ":", "11211", " ", "\n", "#", "[", "]", "{", "}", "\"", ",",
        "servers", "addr", "name", "weight", "10.0.0.1", "fd00::1", "\\u0000", "1e9", "-",
        "\u{feff}", "ö", "\r", "null",
    ]);
    prop_oneof![
        "\\PC{0,60}",
        prop::collection::vec(any::<u8>(), 0..60)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat()),
    ]
}

proptest! {
    /// Whatever stands in a file has an outcome, and what is taken from it can go into a ring.
    #[test]
    fn any_content_is_answered(text in hostile()) {
        match parse(&text) {
            Ok(all) => {
                let mut names = std::collections::HashSet::new();
                for one in &all {
                    prop_assert!(is_usable(&one.name) && names.insert(one.name.clone()));
                    prop_assert!(one.weight.is_none_or(|weight| weight.is_finite() && weight >= 0.0));
                    prop_assert!(!matches!(one.addr, ServerAddr::Unix(_)));
                }
                prop_assert!(!all.is_empty());
            }
            Err(mistake) => {
                prop_assert!(!mistake.cause.is_empty() && !mistake.cause.contains(char::is_control), "{:?}", mistake);
                prop_assert!(mistake.line <= text.lines().count().max(1), "{:?}", mistake);
            }
        }
    }

    /// Bytes that are no text neither.
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("servers");
        fs::write(&path, &bytes).unwrap();
        let source = FileSource::new(&path);
        if let Err(failure) = source.current() {
            prop_assert!(failure.kind != FailureKind::Io, "{:?}", failure);
        }
    }

    /// A list that is written down reads as what it was.
    #[test]
    fn lists_read_as_written(
        all in prop::collection::btree_map("[a-z]{1,8}(-[0-9]{1,2})?", (1..=u16::MAX, prop::option::of(0..100_u32)), 1..20),
    ) {
        let mut lines = String::new();
        let mut json = Vec::new();
        for (name, (port, weight)) in &all {
            let tail = weight.map(|weight| format!(" {weight}")).unwrap_or_default();
            lines.push_str(&format!("{name}=10.0.0.1:{port}{tail}\n"));
            json.push(serde_json::json!({"name": name, "addr": format!("10.0.0.1:{port}"), "weight": weight}));
        }
        let parsed = parse(&lines).unwrap();
        prop_assert_eq!(&parsed, &parse(&serde_json::to_string_pretty(&json).unwrap()).unwrap());
        prop_assert_eq!(parsed.len(), all.len());
        for (one, (name, (port, weight))) in parsed.iter().zip(&all) {
            prop_assert_eq!((&one.name, one.weight), (name, weight.map(f64::from)));
            prop_assert_eq!(one.addr.to_string(), format!("10.0.0.1:{port}"));
        }
    }
}
