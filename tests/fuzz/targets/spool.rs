//! Anything a file of a spool may hold.
//!
//! A line is refused or is the deletion of one key that a text command can carry, at one server; what is read is
//! written in both formats and read as the same. So whoever can write to the directory can have keys deleted and
//! nothing else.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::config::{Spool, SpoolFormat};
use ringroad::spool::line::{MAX_KEY, read, write};
use ringroad::spool::names;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for name in text.lines() {
        if let Some(named) = names::parse_file(name) {
            assert!(!name.contains('/') && name.contains(&named.begun.to_string()));
        }
        let _ = names::parse_dir(name);
    }
    for line in data.split(|b| *b == b'\n') {
        let Ok(one) = read(line) else {
            continue;
        };
        assert!((1..=MAX_KEY).contains(&one.key.len()));
        assert!(
            !one.key
                .iter()
                .any(|b| matches!(b, 0 | b' ' | b'\r' | b'\n'))
        );
        assert!(!one.place.host.is_empty());
        for format in SpoolFormat::ALL {
            let mut spool = Spool::new("/");
            spool.format = *format;
            let mut out = Vec::new();
            write(&one, 1_795_151_056_270, &spool, &mut out);
            assert_eq!(out.pop(), Some(b'\n'));
            assert!(!out.contains(&b'\n'));
            let again = read(&out).expect("what is written is read");
            assert_eq!((&again.place, &again.key), (&one.place, &one.key));
        }
    }
});
