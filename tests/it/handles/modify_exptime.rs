//! ModifyExptimeRoute: times to live, byte for byte.

use super::place::Place;

#[test]
fn times_to_live_are_set_or_bounded() {
    for (fields, changes) in [
        (
            "\"exptime\": 60",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 60 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 60 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 60 1"),
                ("replace k 1 5 1\r\nx\r\n", "replace k 1 60 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 60 1 9"),
                ("touch k 5\r\n", "touch k 60"),
                ("gat 5 k\r\n", "gat 60 k"),
                ("gats 0 k\r\n", "gats 60 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O* T60"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T60 O*"),
                ("mg k v T5\r\n", "mg k v T60 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
        (
            "\"exptime\": 60, \"action\": \"min\"",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 60 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 60 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 5 1"),
                ("replace k 1 61 1\r\nx\r\n", "replace k 1 60 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 5 1 9"),
                ("touch k 500\r\n", "touch k 60"),
                ("gat 5 k\r\n", "gat 5 k"),
                ("gats 0 k\r\n", "gats 60 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O* T60"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T5 O*"),
                ("mg k v T500\r\n", "mg k v T60 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
        (
            "\"exptime\": 0",
            [
                ("set k 1 0 1\r\nx\r\n", "set k 1 0 1"),
                ("set k 1 99 1\r\nx\r\n", "set k 1 0 1"),
                ("add k 1 5 1\r\nx\r\n", "add k 1 0 1"),
                ("replace k 1 5 1\r\nx\r\n", "replace k 1 0 1"),
                ("cas k 1 5 1 9\r\nx\r\n", "cas k 1 0 1 9"),
                ("touch k 5\r\n", "touch k 0"),
                ("gat 5 k\r\n", "gat 0 k"),
                ("gats 0 k\r\n", "gats 0 k"),
                ("ms k 1\r\nx\r\n", "ms k 1 O*"),
                ("ms k 1 T5\r\nx\r\n", "ms k 1 T0 O*"),
                ("mg k v T5\r\n", "mg k v T0 O*"),
                ("mg k v\r\n", "mg k v O*"),
                ("get k\r\n", "get k"),
                ("incr k 1\r\n", "incr k 1"),
                ("delete k\r\n", "delete k"),
                ("md k\r\n", "md k O*"),
            ],
        ),
    ] {
        let route =
            format!("{{\"type\": \"ModifyExptimeRoute\", \"target\": \"PoolRoute|A\", {fields}}}");
        let place = Place::mcrouter(&route);
        let mut c = place.client();
        for (ask, _) in changes {
            c.send(format!("{ask}mn\r\n"));
            c.read_until(b"MN\r\n");
        }
        let got: Vec<String> = place
            .lines(0)
            .iter()
            .map(|line| without_opaque(line))
            .collect();
        let want: Vec<&str> = changes.iter().map(|(_, line)| *line).collect();
        assert_eq!(got, want, "{fields}");
    }
}

/// The number that the router gives a meta command is its own business.
fn without_opaque(line: &str) -> String {
    if !line.starts_with('m') {
        return line.to_owned();
    }
    let words = line.split(' ').map(|word| match word.strip_prefix('O') {
        Some(number) if !number.is_empty() => "O*",
        _ => word,
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn the_least_of_none_changes_nothing() {
    super::all_passes(
        r#"{"type": "ModifyExptimeRoute", "target": "PoolRoute|p0", "exptime": 0, "action": "min"}"#,
    );
}
