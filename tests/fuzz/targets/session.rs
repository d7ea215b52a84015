//! Anything a client may send to an embedded server.
//!
//! Nothing panics; the replies are the same however the bytes are cut; what is held stays bounded; and a
//! connection that is still open and between two requests answers the next one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::embedded::{Fate, Now, Options, Session, Store};
use ringroad::protocol::request::MAX_UNFINISHED_LINE;
use ringroad_fuzz::{cuttings, expand};

/// Small, so that it is met.
fn options() -> Options {
    Options {
        memory: 1 << 20,
        max_item: 40_000,
        ..Options::default()
    }
}

struct End {
    replies: Vec<u8>,
    closed: bool,
}

fn converse(pieces: &[&[u8]]) -> End {
    let now = Now(1000);
    let store = Store::new(options(), now);
    let mut session = Session::new();
    let mut replies = Vec::new();
    for piece in pieces {
        let mut fate = session.feed(&store, now, piece, &mut replies);
        while fate == Fate::Full {
            let before = replies.len();
            fate = session.feed(&store, now, b"", &mut replies);
            assert!(
                replies.len() > before || fate != Fate::Full,
                "full for ever"
            );
        }
        assert!(session.held() < 8 << 20);
        if fate == Fate::Close {
            return End {
                replies,
                closed: true,
            };
        }
    }
    End {
        replies,
        closed: false,
    }
}

fuzz_target!(|data: &[u8]| {
    let stream = expand(data);
    let mut cuttings = cuttings(&stream).into_iter();
    let whole = converse(&cuttings.next().expect("the first is the whole"));
    // Figures of time and traffic are nobody's replies.
    let figures = data.windows(5).any(|word| word == b"stats");
    // As in memcached, such a line is too long unless it arrives at once.
    let long_line = stream
        .split(|byte| *byte == b'\n')
        .any(|line| line.len() > MAX_UNFINISHED_LINE);
    for pieces in cuttings {
        let cut = converse(&pieces);
        if figures {
            continue;
        }
        if cut.closed && long_line {
            assert!(whole.replies.starts_with(&cut.replies));
        } else {
            assert_eq!(whole.replies, cut.replies);
            assert_eq!(whole.closed, cut.closed);
        }
    }
});
