//! ModifyKeyRoute: which key a server gets for which key of a client, who sees none of it.

use super::Scene;

#[test]
fn keys_on_their_way() {
    for (fields, keys) in [
        (
            r#""ensure_key_prefix": "a:""#,
            &[
                ("k", "a:k"),
                ("a:k", "a:k"),
                ("b:k", "a:b:k"),
                ("k|#|x", "a:k|#|x"),
                ("/././k", "a:k"),
            ][..],
        ),
        (
            r#""ensure_key_prefix": "a:", "replace_key_prefix": "b:""#,
            &[
                ("b:k", "a:k"),
                ("k", "a:k"),
                ("a:k", "a:k"),
                ("b:a:k", "a:a:k"),
            ],
        ),
        (r#""replace_key_prefix": "b:""#, &[("b:k", "k"), ("k", "k")]),
        (
            r#""replace_key_prefix": "", "ensure_key_prefix": "a:""#,
            &[("k", "a:k"), ("a:k", "a:a:k")],
        ),
        (
            r#""set_key_suffix": ":z""#,
            &[
                ("k", "k:z"),
                ("k:z", "k:z:z"),
                ("k|#|x", "k|#|x:z"),
                ("/././k", "k:z"),
            ],
        ),
        (
            r#""ensure_key_prefix": "a:", "replace_key_prefix": "b:", "set_key_suffix": ":z""#,
            &[("k", "a:k:z"), ("a:k", "a:k:z"), ("b:k", "a:k:z")],
        ),
        (
            r#""ensure_key_prefix": "abc", "modify_inplace": true"#,
            &[
                ("xyzk", "abck"),
                ("abck", "abck"),
                ("xyz", "abc"),
                ("k", "abck"),
            ],
        ),
        (
            r#""set_routing_prefix": """#,
            &[("/././k", "k"), ("k", "k")],
        ),
        (
            r#""set_routing_prefix": "/x/y/""#,
            &[("/././k", "k"), ("k", "k")],
        ),
    ] {
        let route =
            format!("{{\"type\": \"ModifyKeyRoute\", \"target\": \"PoolRoute|p0\", {fields}}}");
        let scene = Scene::mcrouter(&route, &[None]);
        for (key, sent) in keys {
            for (line, answer) in [
                ("get #\r\n", "VALUE # 7 1\r\nx\r\nEND\r\n"),
                ("gets #\r\n", "VALUE # 7 1 9\r\nx\r\nEND\r\n"),
                ("gat 5 #\r\n", "END\r\n"),
                ("get #\r\n", "SERVER_ERROR x\r\n"),
                ("set # 7 5 1\r\nx\r\n", "STORED\r\n"),
                ("cas # 7 5 1 3\r\nx\r\n", "EXISTS\r\n"),
                ("append # 7 5 1\r\nx\r\n", "NOT_STORED\r\n"),
                ("delete #\r\n", "NOT_FOUND\r\n"),
                ("incr # 1\r\n", "5\r\n"),
                ("touch # 9\r\n", "CLIENT_ERROR x\r\n"),
            ] {
                let [asks, gets] = [key, sent].map(|key| line.replace('#', key));
                let [want, says] =
                    [key, sent].map(|key| answer.replace(" # ", &format!(" {key} ")));
                scene.check((&asks, &[(0, "", &says)], &want, &[(0, &gets)]));
            }
        }
    }
    super::all_passes(r#"{"type": "ModifyKeyRoute", "target": "PoolRoute|p0"}"#);
}

/// memcached shows a key as its item was stored, in base64 (with a `b`) or not; a client sees its own.
#[test]
fn a_key_that_was_stored_in_base64_or_not() {
    let scene = Scene::mcrouter(
        r#"{"type": "ModifyKeyRoute", "target": "PoolRoute|p0", "ensure_key_prefix": "a:"}"#,
        &[None],
    );
    for (asks, gets, want) in [
        (
            "mg k v k O1\r\n",
            "mg a:k v k O1\r\n",
            "VA 1 kk O1\r\nx\r\n",
        ),
        (
            "mg aw== b v k O1\r\n",
            "mg YTpr b v k O1\r\n",
            "VA 1 kaw== b O1\r\nx\r\n",
        ),
    ] {
        for says in ["VA 1 ka:k O1\r\nx\r\n", "VA 1 kYTpr b O1\r\nx\r\n"] {
            scene.check((asks, &[(0, "", says)], want, &[(0, gets)]));
        }
    }
}

#[test]
fn a_key_that_gets_too_long() {
    let scene = Scene::mcrouter(
        r#"{"type": "ModifyKeyRoute", "target": "PoolRoute|p0", "set_key_suffix": ":z"}"#,
        &[None],
    );
    let key = "k".repeat(249);
    let refused = "SERVER_ERROR ModifyKeyRoute: invalid key: too long\r\n";
    for line in [
        "get #\r\n",
        "set # 7 5 1\r\nx\r\n",
        "delete #\r\n",
        "incr # 1\r\n",
        "touch # 9\r\n",
    ] {
        scene.check((&line.replace('#', &key), &[], refused, &[]));
    }
}
