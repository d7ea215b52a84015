//! Dialogues in meta commands. The replies were recorded from memcached 1.6.18, at one point in time, so that
//! these hold without a memcached at hand; cas values are not compared where they depend on what went before.

use super::super::item::Now;
use super::super::server::Options;
use super::super::session::{Fate, Session};
use super::super::store::Store;

const NOW: u32 = 1_800_000_000;

fn ask(store: &Store, now: u32, request: &str) -> String {
    let mut out = Vec::new();
    let fate = Session::new().feed(store, Now(now), request.as_bytes(), &mut out);
    assert_eq!(fate, Fate::Open);
    out.escape_ascii().to_string().replace("\\r\\n", "\r\n")
}

fn dialogue(turns: &[(&str, &str)]) {
    let store = Store::new(Options::default(), Now(NOW));
    for (request, reply) in turns {
        assert_eq!(ask(&store, NOW, request), *reply, "{request}");
    }
}

#[test]
fn flags_come_back_in_the_order_asked() {
    dialogue(&[
        ("set K 7 0 3\r\nold\r\n", "STORED\r\n"),
        (
            "mg K t s f l h c v k q O12 u\r\n",
            "VA 3 t-1 s3 f7 l0 h0 c1 kK O12\r\nold\r\n",
        ),
        ("mg K h l\r\n", "HD h0 l0\r\n"),
        ("mg K h\r\n", "HD h1\r\n"),
        ("mg K T30 t\r\n", "HD t30\r\n"),
        ("mg K t T50 t\r\n", "CLIENT_ERROR duplicate flag\r\n"),
        ("mg K t T50\r\nmg K t\r\n", "HD t30\r\nHD t50\r\n"),
        ("mg K T-1 t\r\nmg K\r\n", "HD t2494967297\r\nEN\r\n"),
        ("mg K v q\r\nmg K k O5 v\r\n", "EN kK O5\r\n"),
    ]);
}

#[test]
fn one_client_wins_the_right_to_fetch_anew() {
    dialogue(&[
        ("set K 0 30 3\r\nold\r\n", "STORED\r\n"),
        ("mg K R20 v\r\n", "VA 3\r\nold\r\n"),
        ("mg K R100 t\r\n", "HD t30 W\r\n"),
        ("mg K R100 t\r\n", "HD t30 Z\r\n"),
        ("md K I T20\r\n", "HD\r\n"),
        ("mg K v t\r\n", "VA 3 t20 X W\r\nold\r\n"),
        ("mg K v t\r\n", "VA 3 t20 Z X\r\nold\r\n"),
        ("md K I\r\nmg K s\r\n", "HD\r\nHD s3 X W\r\n"),
        // Too late a value is kept, as a stale one, with the time it had.
        (
            "ms K 3 C1 I T90\r\nnew\r\nmg K v t\r\n",
            "HD\r\nVA 3 t20 Z X\r\nnew\r\n",
        ),
        ("ms K 3 C1\r\nxyz\r\n", "EX\r\n"),
        (
            "append K 0 0 1\r\n!\r\nmg K v t\r\n",
            "STORED\r\nVA 4 t20\r\nnew!\r\n",
        ),
    ]);
    dialogue(&[
        ("mg K N30 v t\r\n", "VA 0 t30 W\r\n\r\n"),
        ("mg K N30 v t\r\n", "VA 0 t30 Z\r\n\r\n"),
        (
            "ms K 2\r\nhi\r\nmg K N30 v t\r\n",
            "HD\r\nVA 2 t-1\r\nhi\r\n",
        ),
    ]);
}

#[test]
fn a_base64_key_is_remembered_as_one_until_the_item_changes() {
    dialogue(&[
        ("ms YWJj 2 b k\r\nhi\r\n", "HD kYWJj b\r\n"),
        (
            "mg YWJj b k\r\nmg abc k\r\n",
            "HD kYWJj b\r\nHD kYWJj b\r\n",
        ),
        (
            "me YWJj b\r\n",
            "ME YWJj exp=-1 la=0 cas=1 fetch=yes cls=1 size=64\r\n",
        ),
        ("ms YWJj 1 b MA k\r\nx\r\n", "HD kYWJj b\r\n"),
        ("mg YWJj b k v\r\n", "VA 3 kabc\r\nhix\r\n"),
        (
            "mg ZGVm b N30 k v\r\nmg ZGVm b k v\r\n",
            "VA 0 kdef W\r\n\r\nVA 0 kdef Z\r\n\r\n",
        ),
        (
            "ma Z2hp b N0 k v\r\nmg Z2hp b k v\r\n",
            "VA 1 kZ2hp b\r\n0\r\nVA 1 kghi\r\n0\r\n",
        ),
        ("mg eHh4 b k v\r\nmg eHh4 b v\r\n", "EN keHh4 b\r\nEN\r\n"),
        (
            "md eHh4 b k O1\r\nma eHh4 k b\r\n",
            "NF keHh4 b O1\r\nNF keHh4 b\r\n",
        ),
        // A key comes back as it decoded, not as it was written.
        (
            "mg QUJ= b k\r\nmg =AAA b k\r\n",
            "EN kQUI= b\r\nEN kAAA= b\r\n",
        ),
        ("mg !!! b v\r\n", "CLIENT_ERROR error decoding key\r\n"),
        ("ma !!! b\r\n", "CLIENT_ERROR invalid or duplicate flag\r\n"),
        ("me !!! b\r\n", "CLIENT_ERROR bad command line format\r\n"),
        (
            "ms !!! 1 b\r\nx\r\nmn\r\n",
            "CLIENT_ERROR error decoding key\r\nMN\r\n",
        ),
        (
            "mg !!! v v b\r\nmg !!! b z\r\n",
            "CLIENT_ERROR duplicate flag\r\nCLIENT_ERROR invalid flag\r\n",
        ),
    ]);
}

#[test]
fn arithmetic_creates_counts_and_compares() {
    dialogue(&[
        ("set n 0 0 1\r\n5\r\nma n\r\n", "STORED\r\nHD\r\n"),
        ("ma n v t c k O1 q\r\n", ""),
        ("ma n v t k s f h l O1\r\n", "VA 1 t-1 kn O1\r\n8\r\n"),
        ("ma n C1\r\nma n C0 v\r\n", "EX\r\nVA 1\r\n9\r\n"),
        (
            "ma n T30 t v\r\nma n t MD v\r\n",
            "VA 2 t30\r\n10\r\nVA 1 t30\r\n9\r\n",
        ),
        ("mg n v\r\n", "VA 2\r\n9 \r\n"),
        ("ma new N30 J7 v t\r\n", "VA 1 t30\r\n7\r\n"),
        ("ma new v t N30 J9 D3\r\n", "VA 2 t30\r\n10\r\n"),
        ("ma new3 N30 T60 t\r\nmg new3 t\r\n", "HD t60\r\nHD t60\r\n"),
        ("ma nope k O1\r\nma nope MD q\r\n", "NF knope O1\r\nNF\r\n"),
        (
            "ma n MX\r\nma n Dx\r\n",
            "CLIENT_ERROR invalid mode for ma M token\r\nCLIENT_ERROR invalid or duplicate flag\r\n",
        ),
    ]);
}

#[test]
fn an_opaque_token_has_32_characters_at_most() {
    for (len, fits) in [(31, true), (32, false)] {
        let token = format!("O{}", "o".repeat(len));
        let store = Store::new(Options::default(), Now(NOW));
        for (request, reply) in [
            (format!("mg nope {token}\r\n"), "EN"),
            (format!("md nope {token}\r\n"), "NF"),
            (format!("ma nope {token}\r\n"), "NF"),
            (format!("ms K 1 {token}\r\nx\r\n"), "HD"),
            (format!("mg K {token}\r\n"), if fits { "HD" } else { "EN" }),
        ] {
            let want = match fits {
                true => format!("{reply} {token}\r\n"),
                false => "CLIENT_ERROR opaque token too long\r\n".to_owned(),
            };
            assert_eq!(ask(&store, NOW, &request), want, "{request}");
        }
        assert_eq!(store.is_empty(), !fits, "what is refused is not stored");
    }
}

#[test]
fn quiet_hides_what_is_expected_and_nothing_else() {
    dialogue(&[
        ("ms K 2 q k O9\r\nhi\r\nmn\r\n", "MN\r\n"),
        ("ms K 2 q ME\r\nhi\r\n", "NS\r\n"),
        ("ms K 2 q C99\r\nhi\r\n", "EX\r\n"),
        ("ms nope 2 q C99\r\nhi\r\n", "NF\r\n"),
        ("mg K q\r\nmg nope q\r\n", "HD\r\n"),
        ("md K q\r\nmd K q k\r\n", "NF kK\r\n"),
        (
            "ms K 2 q MX\r\nhi\r\n",
            "CLIENT_ERROR invalid mode for ms M token\r\n",
        ),
        (
            "ms K 2 q\r\nhi!!\r\n",
            "CLIENT_ERROR bad data chunk\r\nCLIENT_ERROR bad command line format\r\n",
        ),
    ]);
}

#[test]
fn time_passes() {
    let store = Store::new(Options::default(), Now(NOW));
    ask(&store, NOW, "ms K 2 T100\r\nhi\r\n");
    assert_eq!(ask(&store, NOW + 10, "mg K t l h\r\n"), "HD t90 l10 h0\r\n");
    // The second fetch makes the item active; that is when its last access is noted.
    assert_eq!(ask(&store, NOW + 20, "mg K t l h\r\n"), "HD t80 l20 h1\r\n");
    assert_eq!(
        ask(&store, NOW + 30, "mg K t l h u\r\n"),
        "HD t70 l10 h1\r\n"
    );
    assert_eq!(
        ask(&store, NOW + 99, "me K\r\n"),
        "ME K exp=1 la=79 cas=1 fetch=yes cls=1 size=62\r\n"
    );
    assert_eq!(ask(&store, NOW + 100, "mg K\r\n"), "EN\r\n");
}
