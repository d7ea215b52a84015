//! The calls into ringroad whose instructions are counted.
//!
//! callgrind is told to count from the entry of a function whose name has `metered_` in it to its return.
//! So every call of a measured path goes through this module, each function of which is what the socket driver
//! asks of the core between two system calls. Nothing else may have the word in its name, closures in such a
//! function included, and they must not be inlined or call one another: each entry and return turns the
//! counting over. What warms up does the same and isn't to be counted: then the first argument is false, and
//! the function is called under another name.

use ringroad::hash::Selector;
use ringroad::protocol::request::{self, Limits, Parsed};
use ringroad::worker::core::Core;

macro_rules! metered {
    (
        $(#[$meta:meta])*
        fn $name:ident as $plain:ident and $metered:ident
            ($($arg:ident: $type:ty),*) $(-> $result:ty)? $body:block
    ) => {
        $(#[$meta])*
        #[inline]
        pub fn $name(counting: bool, $($arg: $type),*) $(-> $result)? {
            if counting {
                $metered($($arg),*)
            } else {
                $plain($($arg),*)
            }
        }

        #[inline(never)]
        fn $metered($($arg: $type),*) $(-> $result)? {
            $plain($($arg),*)
        }

        // One copy, so that the core's functions have one caller here, as they have in the driver, and the
        // compiler inlines them alike.
        #[inline(never)]
        fn $plain($($arg: $type),*) $(-> $result)? $body
    };
}

metered! {
    /// A turn begins.
    fn begin as plain_begin and metered_begin (core: &mut Core, now: u64) {
        core.set_now(now);
        if core.next_tick() <= now {
            core.tick();
        }
    }
}

metered! {
    /// A client is ready to be read, and these bytes are read. Returns whether to go on reading it.
    fn client_bytes as plain_client_bytes and metered_client_bytes (core: &mut Core, id: u32, data: &[u8]) -> bool {
        let waiting = core.replies.client(id).is_some_and(|client| !client.out.is_empty());
        if waiting {
            core.replies.mark(id);
        }
        if !core.wants_read(id) {
            return false;
        }
        core.client_bytes(id, data);
        core.wants_read(id)
    }
}

metered! {
    /// A server is ready to be read, and these bytes are read. Returns whether to go on reading it.
    fn conn_bytes as plain_conn_bytes and metered_conn_bytes (core: &mut Core, id: u32, data: &[u8]) -> bool {
        core.conn_bytes(id, data);
        true
    }
}

metered! {
    /// A connection's turn to be written has come: its bytes.
    fn conn_out as plain_conn_out and metered_conn_out (core: &mut Core, id: u32) -> &[u8] {
        core.conn_flushed(id);
        core.conn_out(id).0
    }
}

metered! {
    /// They were written. Returns whether that was all.
    fn conn_wrote as plain_conn_wrote and metered_conn_wrote (core: &mut Core, id: u32, n: usize) -> bool {
        core.conn_wrote(id, n);
        core.conn_out(id).0.is_empty()
    }
}

metered! {
    /// A client's turn to be written has come: its bytes.
    fn client_out as plain_client_out and metered_client_out (core: &mut Core, id: u32) -> &[u8] {
        core.replies.unmark(id);
        match core.replies.client(id) {
            Some(client) if !client.broken => client.out.pending(),
            _ => b"",
        }
    }
}

metered! {
    /// They were written. Returns whether the client is to be closed.
    fn client_wrote as plain_client_wrote and metered_client_wrote (core: &mut Core, id: u32, n: usize) -> bool {
        if n > 0 {
            core.client_wrote(id, n);
        }
        core.settle_draining(id);
        let finished = core.is_finished(id);
        if !finished {
            core.go_on(id);
        }
        finished
    }
}

/// Parses one request; always counted.
#[inline(never)]
pub fn metered_parse<'a>(buf: &'a [u8], limits: &Limits) -> Parsed<'a> {
    request::parse(buf, limits)
}

/// Finds a key's server; always counted.
#[inline(never)]
pub fn metered_select(selector: &Selector, key: &[u8]) -> usize {
    selector.select(key)
}
