//! Anything a client may send, as the router's parser takes it apart.
//!
//! No input panics, every request consumes something and no more than there is, an announced length holds, and
//! the requests are the same however the stream is cut. One exception, which is memcached's too: a line of more
//! than [`MAX_UNFINISHED_LINE`] bytes closes the connection unless it arrives at once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::protocol::meta::{MAX_DECODED, words};
use ringroad::protocol::request::{
    CloseReason, Limits, MAX_UNFINISHED_LINE, Parsed, Request, parse,
};
use ringroad::protocol::write;
use ringroad_fuzz::cuttings;

/// Small, so that they are met.
const LIMITS: Limits = Limits {
    max_value: 300,
    max_get_line: 2500,
    leases: true,
};

/// What a client's stream came to.
struct Read {
    requests: Vec<String>,
    closed: Option<CloseReason>,
}

/// What every request must be.
fn check(request: &Request) {
    let mut scratch = [0; MAX_DECODED];
    match request {
        Request::Get(get) => {
            assert_eq!(get.keys().count(), get.count);
            assert!(get.count > 0);
            assert!(get.keys().all(|key| (1..=250).contains(&key.len())));
        }
        Request::Store(store) => {
            assert!((1..=250).contains(&store.key.len()));
            assert!(store.block.ends_with(b"\r\n"));
            assert!(store.block.len() <= LIMITS.max_value + 2);
            if !store.line.is_empty() {
                let mut written = Vec::new();
                write::store(store, &mut written);
                assert_eq!(store.line, written);
            }
        }
        Request::Lookup(lookup) => {
            assert_eq!(words(lookup.keys).count(), lookup.count);
            assert!(lookup.count > 0);
            assert!(words(lookup.keys).all(|key| (1..=250).contains(&key.len())));
        }
        Request::LeaseSet(set) => {
            assert!((1..=250).contains(&set.key.len()));
            assert!(set.block.ends_with(b"\r\n"));
            assert!(set.block.len() <= LIMITS.max_value + 2);
        }
        Request::Meta(meta) => {
            assert!((1..=250).contains(&meta.key.len()));
            assert!(!meta.item_key(&mut scratch).is_empty());
        }
        Request::Delete { key, .. } | Request::Arith { key, .. } | Request::Touch { key, .. } => {
            assert!((1..=250).contains(&key.len()));
        }
        Request::Refused(refused) => {
            if let Some(evicted) = &refused.evict {
                assert!(!evicted.item_key(&mut scratch).is_empty());
            }
        }
        _ => {}
    }
}

fn read(pieces: &[&[u8]]) -> Read {
    let mut requests = Vec::new();
    let mut buf: Vec<u8> = Vec::new();
    let (mut swallow, mut announced) = (0, 0);
    for piece in pieces {
        buf.extend_from_slice(piece);
        loop {
            let gone = swallow.min(buf.len());
            buf.drain(..gone);
            swallow -= gone;
            if buf.is_empty() {
                break;
            }
            let (len, skip) = match parse(&buf, &LIMITS) {
                Parsed::More { total } => {
                    assert!(total == 0 || total > buf.len());
                    assert!(total <= LIMITS.max_value + MAX_UNFINISHED_LINE + LIMITS.max_get_line);
                    assert!(announced == 0 || announced == total);
                    announced = total;
                    break;
                }
                Parsed::Close(reason) => {
                    if reason == CloseReason::EndlessLine {
                        assert!(buf.len() > MAX_UNFINISHED_LINE);
                    }
                    return Read {
                        requests,
                        closed: Some(reason),
                    };
                }
                Parsed::Request { len, request } => {
                    assert!(len > 0 && len <= buf.len());
                    check(&request);
                    requests.push(format!("{len} {request:?}"));
                    let skip = match &request {
                        Request::Refused(refused) => refused.swallow,
                        _ => 0,
                    };
                    (len, skip)
                }
            };
            announced = 0;
            buf.drain(..len);
            swallow = skip;
        }
    }
    Read {
        requests,
        closed: None,
    }
}

fuzz_target!(|data: &[u8]| {
    let mut cuttings = cuttings(data).into_iter();
    let whole = read(&cuttings.next().expect("the first is the whole"));
    for pieces in cuttings {
        let cut = read(&pieces);
        if cut.closed == Some(CloseReason::EndlessLine) {
            assert!(whole.requests.starts_with(&cut.requests));
        } else {
            assert_eq!(whole.requests, cut.requests);
            assert_eq!(whole.closed, cut.closed);
        }
    }
});
