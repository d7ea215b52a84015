//! Anything a configuration of mcrouter may hold, macros included.
//!
//! No file panics, and none takes for ever. A refused one says why, at places that it has. A good one can be printed
//! as TOML, which is read as the same configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad::config::mcrouter::{Settings, parse_alone};
use ringroad::config::{Diagnostic, MAX_SHOWN, parse};

fn check(found: &Diagnostic, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    assert!((1..=lines.len()).contains(&found.line()), "{found}");
    let columns = lines[found.line() - 1].chars().count() + 1;
    assert!((1..=columns).contains(&found.column()), "{found}");
    assert!(!found.message().is_empty());
    for text in [found.to_string(), found.brief()] {
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
    assert!(!found.brief().contains('\n'));
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match parse_alone(&Settings::default(), "fuzz.json", &text) {
        Err(errors) => {
            assert!(!errors.errors().is_empty() && errors.errors().len() <= MAX_SHOWN);
            assert!(errors.count() >= errors.errors().len());
            for found in errors.errors().iter().chain(errors.warnings()) {
                check(found, &text);
            }
        }
        Ok((config, warnings)) => {
            for found in &warnings {
                check(found, &text);
            }
            let written = config.to_toml();
            match parse("written.toml", &written) {
                Ok((again, _)) => assert_eq!(config, again, "{written}"),
                Err(errors) => panic!("{errors}\n{written}"),
            }
        }
    }
});
