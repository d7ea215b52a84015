//! Values in parts, in single situations: the layout on the servers, what is lost, who is in between.

use super::cases::quiet_setup;
use super::client::Ask;
use super::env::number_of;
use super::oracle::record;
use super::plan::{Rng, Setup, Shape, Tight};
use super::sim::Sim;
use crate::route::big_value::{FLAG, Metadata};

/// The size of parts in these runs.
const SIZE: usize = 500;

fn setup(route: Shape) -> Setup {
    Setup {
        route,
        servers: 4,
        ..quiet_setup()
    }
}

fn sim() -> Sim {
    Sim::new(setup(Shape::BigValue { hide: false }))
}

/// Asks for exactly this exchange.
fn exchange(sim: &mut Sim, request: &[u8], reply: &[u8]) {
    let ask = Ask::Exactly(reply.to_vec());
    sim.clients[0].send(&sim.env, request, ask, &[]);
}

/// A value of some parts, and the `set` that stores it.
fn value(sim: &mut Sim, key: &[u8], len: usize) -> (Vec<u8>, Vec<u8>) {
    let number = sim.env.number();
    sim.env.writes(1, number, key);
    let value = record(key, 1, number, len);
    let head = format!(" 7 0 {}\r\n", value.len());
    let set = [b"set ", key, head.as_bytes(), &value, b"\r\n"].concat();
    (value, set)
}

fn hit(key: &[u8], value: &[u8]) -> Vec<u8> {
    let head = format!(" {} {}\r\n", 7 | FLAG, value.len());
    [b"VALUE ", key, head.as_bytes(), value, b"\r\nEND\r\n"].concat()
}

/// Where an item is; fails unless there is just one.
fn holder(sim: &Sim, key: &[u8]) -> usize {
    let holders: Vec<usize> = (0..sim.servers.len())
        .filter(|n| sim.servers[*n].store.items.contains_key(key))
        .collect();
    assert_eq!(holders.len(), 1, "{}", key.escape_ascii());
    holders[0]
}

fn item<'s>(sim: &'s mut Sim, key: &[u8]) -> &'s mut Vec<u8> {
    let server = holder(sim, key);
    let item = sim.servers[server].store.items.get_mut(key);
    &mut item.unwrap().value
}

/// Stores a value under `a:1:0` and gives it back.
fn stored(sim: &mut Sim, rng: &mut Rng) -> (Vec<u8>, Vec<u8>, Metadata) {
    let key = b"a:1:0".to_vec();
    let (value, set) = value(sim, &key, 2000);
    exchange(sim, &set, b"STORED\r\n");
    sim.settle(rng);
    let metadata = Metadata::of(&value, SIZE);
    (key, value, metadata)
}

#[test]
fn parts_lie_where_their_keys_belong_and_metadata_under_the_key() {
    let (mut sim, mut rng) = (sim(), Rng(1));
    let (key, value, metadata) = stored(&mut sim, &mut rng);
    assert_eq!(metadata.chunks, 5);
    assert_eq!(*item(&mut sim, &key), metadata.text().as_bytes());
    let mut servers = Vec::new();
    for (n, chunk) in (0..).zip(value.chunks(SIZE)) {
        let chunk_key = metadata.chunk_key(&key, n);
        assert_eq!(*item(&mut sim, &chunk_key), chunk);
        let server = holder(&sim, &chunk_key);
        assert_eq!(sim.env.servers(&chunk_key), [server]);
        assert_eq!(sim.servers[server].store.items[&chunk_key].flags, 7);
        servers.push(server);
    }
    servers.sort_unstable();
    servers.dedup();
    assert!(servers.len() > 1, "all on server {servers:?}");
    exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
    sim.settle(&mut rng);
}

#[test]
fn what_has_lost_a_part_is_a_miss_and_so_is_what_was_put_together_from_two() {
    for damage in 0..7 {
        let (mut sim, mut rng) = (sim(), Rng(1));
        let (key, value, metadata) = stored(&mut sim, &mut rng);
        let chunk = metadata.chunk_key(&key, 3);
        match damage {
            0 => {
                let server = holder(&sim, &chunk);
                sim.servers[server].store.items.remove(&chunk);
            }
            1 => item(&mut sim, &chunk).truncate(SIZE - 1),
            2 => item(&mut sim, &chunk).clear(),
            3 => item(&mut sim, &chunk)[0] ^= 1,
            4 => *item(&mut sim, &key) = b"1-5".to_vec(),
            5 => *item(&mut sim, &key) = format!("1-4294967295-{}", metadata.suffix).into(),
            // An application's own item with that flag.
            _ => *item(&mut sim, &key) = vec![b'x'; 100_000],
        }
        exchange(&mut sim, b"get a:1:0\r\n", b"END\r\n");
        exchange(&mut sim, b"mg a:1:0 v\r\n", b"EN\r\n");
        exchange(&mut sim, b"mg a:1:0 k v Ox\r\n", b"EN ka:1:0 Ox\r\n");
        sim.smooth = true;
        for _ in 0..100 {
            sim.turn(&mut rng);
        }
        assert_eq!(sim.core.replies.outstanding(), 0, "damage {damage}");
        assert!(sim.core.frames.is_empty() && sim.core.dialogues.is_empty());
        drop(value);
    }
}

#[test]
fn a_pipeline_is_executed_in_its_order() {
    let (mut sim, mut rng) = (sim(), Rng(1));
    let key = b"a:1:0".to_vec();
    for route in 0..20 {
        let (one, set_one) = value(&mut sim, &key, 3000);
        let (two, set_two) = value(&mut sim, &key, 1500 + route);
        let noreply = |set: &[u8]| {
            let line = set.iter().position(|b| *b == b'\r').unwrap();
            [&set[..line], b" noreply", &set[line..]].concat()
        };
        let silent = noreply(&set_two);
        exchange(&mut sim, &set_one, b"STORED\r\n");
        exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &one));
        let mut then = silent;
        then.extend_from_slice(b"get a:1:0\r\n");
        exchange(&mut sim, &then, &hit(&key, &two));
        exchange(&mut sim, b"delete a:1:0\r\n", b"DELETED\r\n");
        exchange(&mut sim, b"get a:1:0\r\n", b"END\r\n");
        for _ in 0..30 {
            sim.turn(&mut rng);
        }
        sim.settle(&mut rng);
    }
}

#[test]
fn meta_commands_store_and_read_the_whole_value() {
    let (mut sim, mut rng) = (sim(), Rng(1));
    let key = b"a:1:0".to_vec();
    let (value, _) = value(&mut sim, &key, 2000);
    let len = value.len();
    let set = |head: String| [head.as_bytes(), &value, b"\r\n"].concat();
    exchange(
        &mut sim,
        &set(format!("ms a:1:0 {len} F7 T0 k Oab\r\n")),
        b"HD ka:1:0 Oab\r\n",
    );
    exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
    for (ask, head) in [
        ("v", format!("VA {len}")),
        ("k v s Oab", format!("VA {len} ka:1:0 s{len} Oab")),
        ("v f t", format!("VA {len} f{} t-1", 7 | FLAG)),
        ("v q", format!("VA {len}")),
    ] {
        let reply = [head.as_bytes(), b"\r\n", &value, b"\r\n"].concat();
        exchange(&mut sim, format!("mg a:1:0 {ask}\r\n").as_bytes(), &reply);
    }
    // Base64 of the same key.
    let encoded = super::memcached::to_base64(&key);
    let ask = [b"mg ", &encoded[..], b" b v\r\n"].concat();
    let reply = [format!("VA {len}\r\n").as_bytes(), &value, b"\r\n"].concat();
    exchange(&mut sim, &ask, &reply);
    let again = [b"ms ", &encoded[..], format!(" {len} b ME\r\n").as_bytes()].concat();
    exchange(&mut sim, &[&again[..], &value, b"\r\n"].concat(), b"NS\r\n");
    // Without the value, what is there is shown.
    let size = Metadata::of(&value, SIZE).text().len();
    let reply = format!("HD s{size}\r\n");
    exchange(&mut sim, b"mg a:1:0 s\r\n", reply.as_bytes());
    sim.settle(&mut rng);
}

#[test]
fn a_client_that_leaves_half_way_leaves_nothing_behind() {
    for turns in 0..12 {
        for get in [false, true] {
            let (mut sim, mut rng) = (sim(), Rng(turns));
            let (key, _, _) = stored(&mut sim, &mut rng);
            if get {
                sim.get(0, &vec![key; 5]);
            } else {
                let (_, set) = value(&mut sim, &key, 4000);
                exchange(&mut sim, &set, b"STORED\r\n");
            }
            for _ in 0..turns {
                sim.turn(&mut rng);
            }
            sim.replace(0);
            assert!(sim.core.dialogues.is_empty(), "dropped at once");
            sim.settle(&mut rng);
            sim.check_empty(&mut rng);
        }
    }
}

#[test]
fn a_reload_half_way_lets_it_end_as_it_began() {
    for turns in 0..10 {
        let (mut sim, mut rng) = (sim(), Rng(turns));
        let (_, value, _) = stored(&mut sim, &mut rng);
        let key = b"a:1:0".to_vec();
        exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
        for _ in 0..turns {
            sim.turn(&mut rng);
        }
        // The same servers in another order.
        sim.reload(2);
        sim.settle(&mut rng);
    }
}

/// The queue of a server is shorter than a batch, in bytes and in requests.
#[test]
fn a_value_fills_no_queue_however_long_it_is() {
    for limits in [Tight::Queue(1), Tight::QueueBytes(100)] {
        let mut setup = setup(Shape::BigValue { hide: false });
        setup.limits = limits;
        setup.coalesce = false;
        setup.seed = 4;
        let (mut sim, mut rng) = (Sim::new(setup), Rng(1));
        let key = b"a:1:0".to_vec();
        let (value, set) = value(&mut sim, &key, 19_000);
        exchange(&mut sim, &set, b"STORED\r\n");
        sim.settle(&mut rng);
        exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
        sim.settle(&mut rng);
        assert_eq!(sim.env.total(|f| &f.failures), 0);
    }
}

/// The second cluster takes over a value whose parts the first one can't give.
#[test]
fn a_failover_takes_over_a_value_in_parts() {
    let mut setup = setup(Shape::FailoverOfBigValue);
    setup.faults = true;
    let (mut sim, mut rng) = (Sim::new(setup), Rng(1));
    // Servers 0 and 1 are the first cluster.
    sim.servers[0].refuses = true;
    sim.servers[1].refuses = true;
    let key = b"a:1:0".to_vec();
    let (value, set) = value(&mut sim, &key, 3000);
    exchange(&mut sim, &set, b"STORED\r\n");
    exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
    sim.smooth = true;
    for _ in 0..50 {
        sim.turn(&mut rng);
    }
    assert_eq!(sim.core.replies.outstanding(), 0);
    assert!(holder(&sim, &key) > 1);
}

/// Puts a value in parts on the servers of a pool, as another router would.
fn put(sim: &mut Sim, pool: usize, key: &[u8], value: &[u8], size: usize) -> Metadata {
    let metadata = Metadata::of(value, size);
    let mut items = vec![(key.to_vec(), 7 | FLAG, metadata.text().into_bytes())];
    for (n, chunk) in (0..).zip(value.chunks(size)) {
        items.push((metadata.chunk_key(key, n), 7, chunk.to_vec()));
    }
    for (key, flags, value) in items {
        let pool = &sim.env.snapshot.pools[pool];
        let spec = &pool.servers[pool.selector.as_ref().unwrap().select(&key)];
        let server = number_of(&spec.addr.to_string());
        sim.servers[server].store.put(&key, flags, value);
    }
    metadata
}

#[test]
fn what_is_too_long_is_not_put_together() {
    for faults_shown in [false, true] {
        let mut setup = setup(Shape::BigValue { hide: false });
        setup.miss_on_errors = !faults_shown;
        let (mut sim, mut rng) = (Sim::new(setup), Rng(1));
        // In many parts, and in one that is streamed.
        let long = vec![b'x'; sim.env.setup.max_value() + 1];
        for size in [SIZE, 200_000] {
            let long = if size == SIZE {
                long.clone()
            } else {
                long.repeat(3)
            };
            put(&mut sim, 0, b"k", &long, size);
            let reply = match faults_shown {
                true => &b"SERVER_ERROR object too large for cache\r\n"[..],
                false => b"END\r\n",
            };
            exchange(&mut sim, b"get k\r\n", reply);
            while sim.core.replies.outstanding() > 0 || sim.unread(0) > 0 {
                sim.smooth_turn(&mut rng);
            }
        }
        assert!(sim.core.dialogues.is_empty());
        let errors = sim.core.stats.errors.values();
        let counted: u64 = errors.map(|(_, count)| count).sum();
        assert_eq!(counted, 2);
    }
}

/// Metadata and parts are copied like any other item.
#[test]
fn a_cold_cache_fills_itself_with_values_in_parts() {
    for big in [false, true] {
        let mut setup = setup(Shape::BigValueOfWarmUp);
        setup.big = big;
        let (mut sim, mut rng) = (Sim::new(setup), Rng(1));
        let size = sim.env.setup.threshold().unwrap();
        let key = b"a:1:0".to_vec();
        let (value, _) = value(&mut sim, &key, size * 3);
        put(&mut sim, 2, &key, &value, size);
        exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
        sim.settle(&mut rng);
        // Servers 0 and 1 are cold, the others were warm.
        for server in &mut sim.servers[2..] {
            assert!(!server.store.items.is_empty());
            server.store.items.clear();
        }
        exchange(&mut sim, b"get a:1:0\r\n", &hit(&key, &value));
        let meta = [
            format!("VA {}\r\n", value.len()).as_bytes(),
            &value,
            b"\r\n",
        ]
        .concat();
        exchange(&mut sim, b"mg a:1:0 v\r\n", &meta);
        sim.settle(&mut rng);
    }
}
