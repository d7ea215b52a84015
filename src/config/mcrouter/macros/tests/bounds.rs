//! That expanding ends, with an answer, whatever it is given.

use proptest::prelude::*;

use super::run;

/// Small files that would take for ever, or all memory.
#[test]
fn everything_ends() {
    let doubling: String = (0..60)
        .map(|i| {
            let before = if i == 0 {
                "[1]".to_owned()
            } else {
                format!("\"%v{}%\"", i - 1)
            };
            let value = format!(r#"{{"type": "merge", "params": [{before}, {before}]}}"#);
            format!("\"v{i}\": {{\"type\": \"constDef\", \"result\": {value}}},")
        })
        .collect();
    let nested = |open: &str, close: &str, count: usize| {
        format!("{}1{}", open.repeat(count), close.repeat(count))
    };
    let texts: String = (0..60)
        .map(|i| {
            let before = if i == 0 {
                "x".repeat(100)
            } else {
                format!("%t{0}%%t{0}%", i - 1)
            };
            format!("\"t{i}\": {{\"type\": \"constDef\", \"result\": \"{before}\"}},")
        })
        .collect();
    for (text, why) in [
        (format!(r#"{{"macros": {{{doubling}}}, "r": "%v59%"}}"#), "too"),
        (format!(r#"{{"macros": {{{texts}}}, "r": "%t59%"}}"#), "too"),
        (
            r#"{"macros": {"f": {"type": "macroDef", "result": "@f"}}, "r": "@f"}"#.to_owned(),
            "nested more than",
        ),
        (
            r#"{"macros": {"f": {"type": "macroDef", "result": {"type": "f", "a": "@f"}}}, "r": "@f"}"#.to_owned(),
            "nested more than",
        ),
        (r#"{"r": "@range(@int(0),@int(9223372036854775807))"}"#.to_owned(), "too"),
        (
            r#"{"r": {"type": "process", "dictionary": "@range(@int(0),@int(9999))", "initialValue": [], "transform": ["%value%"]}}"#.to_owned(),
            "too deep",
        ),
        (format!(r#"{{"r": {}}}"#, nested("[", "]", 190)), ""),
        (format!(r#"{{"r": "{}"}}"#, nested("@str(", ")", 245)), ""),
        (format!(r#"{{"r": "{}"}}"#, nested("@str(", ")", 300)), "nested more than"),
        (
            format!(r#"{{"r": {}}}"#, nested(r#"{"type": "define", "result": "#, "}", 190)),
            "",
        ),
    ] {
        match run(&text) {
            Ok(_) => assert_eq!(why, "", "accepted: {:.200}", text),
            Err(error) => assert!(!why.is_empty() && error.contains(why), "{error}"),
        }
    }
}

proptest! {
    /// Whatever stands in a text gets an answer.
    #[test]
    fn any_macro_is_answered(text in "(@(hash|str|split|if|range|slice|merge|import|size|select|int|add|shuffle))?[a-z@(),%\\\\ 0-9]{0,40}") {
        let text = serde_json::Value::from(text);
        let _ = run(&format!("{{\"r\": {text}}}"));
    }

    /// Whatever object there is gets an answer.
    #[test]
    fn any_call_is_answered(
        name in prop::sample::select(vec![
            "transform", "process", "foreach", "merge", "slice", "select", "set", "sort", "weightedHash",
            "shuffle", "range", "if", "define", "import", "macroDef", "contains", "keys", "bitwiseLeftShift",
        ]),
        args in prop::collection::vec((
            prop::sample::select(vec![
                "dictionary", "key", "from", "to", "value", "params", "A", "B", "use", "where", "top", "seed",
                "itemTransform", "keyTransform", "initialValue", "transform", "condition", "is_true", "is_false",
                "result", "vars", "item", "path", "default",
            ]),
            prop::sample::select(vec![
                "1", "-1", "\"a\"", "[]", "{}", "[1, 2]", "{\"a\": 1}", "true", "null", "1.5", "\"%item%\"",
                "\"%key%\"", "\"@str(%item%)\"", "[\"%value%\"]", "9223372036854775807", "\"\"",
            ]),
        ), 0..6),
    ) {
        let args: Vec<String> = args.iter().map(|(key, value)| format!(", \"{key}\": {value}")).collect();
        let _ = run(&format!("{{\"r\": {{\"type\": \"{name}\"{}}}}}", args.concat()));
    }
}
