//! The preprocessor as a whole: each function, scopes, imports, and that it ends whatever it is given.

mod bounds;

use super::*;
use crate::config::mcrouter::no_files;

const FILES: &[(&str, &str)] = &[
    (
        "/conf/a.json",
        "// imported\n{\"n\": \"%default-region%\",}",
    ),
    ("/conf/sub/b.json", "[\"@import(a.json)\"]"),
    ("/else/c.json", "\"c\""),
    ("/conf/self.json", "\"@import(self.json)\""),
    ("/conf/broken.json", "{\n\"a\": }"),
    ("/conf/fails.json", "[\"@fail(no way)\"]"),
    (
        "/conf/macros.json",
        "{\"twice\": {\"type\": \"macroDef\", \"params\": [\"x\"], \"result\": \"%x%%x%\"}}",
    ),
];

fn run(text: &str) -> Result<serde_json::Value, String> {
    let mut read = |path: &Path| {
        let found = FILES.iter().find(|(name, _)| Path::new(name) == path);
        found.map_or_else(|| no_files(path), |(_, text)| Ok(text.as_bytes().to_vec()))
    };
    let mut findings = Findings::new(&mut read);
    let source = findings.add("main.json", text);
    let globals = [
        ("default-region".to_owned(), Global::Text("west".to_owned())),
        ("one".to_owned(), Global::Int(1)),
    ];
    let outcome = json::parse(&mut findings, source).and_then(|value| {
        Engine::new(&mut findings, globals, Some(Path::new("/conf"))).run(&value)
    });
    match outcome {
        Ok(value) => Ok(json::plain(&value)),
        Err(fault) => {
            findings.fault(fault);
            Err(findings.finish(None::<()>).unwrap_err().brief())
        }
    }
}

/// What the member `r` becomes.
#[track_caller]
fn result(r: &str) -> serde_json::Value {
    result_with("{}", r)
}

#[track_caller]
fn result_with(macros: &str, r: &str) -> serde_json::Value {
    let text = format!("{{\"macros\": {macros}, \"r\": {r}}}");
    let value = run(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(value.as_object().unwrap().len(), 1, "macros are taken out");
    value["r"].clone()
}

#[track_caller]
fn refused(r: &str, why: &str) {
    let text = format!("{{\"r\": {r}}}");
    let error = run(&text).expect_err(&text);
    assert!(error.contains(why), "{text}: {error}");
}

#[track_caller]
fn is(r: &str, want: &str) {
    let want: serde_json::Value = serde_json::from_str(want).unwrap();
    assert_eq!(result(r), want, "{r}");
}

#[test]
fn casts_and_kinds() {
    for (r, want) in [
        (r#""@int(12)""#, "12"),
        (r#""@int(-3)""#, "-3"),
        (r#"{"type": "int", "value": 2.9}"#, "2"),
        (r#"{"type": "int", "value": true}"#, "1"),
        (r#""@double(1.5)""#, "1.5"),
        (r#""@str(@int(07))""#, "\"7\""),
        (r#"{"type": "str", "value": 2.0}"#, "\"2\""),
        (r#"{"type": "str", "value": false}"#, "\"0\""),
        (r#""@bool(Yes)""#, "true"),
        (r#""@bool(off)""#, "false"),
        (r#"{"type": "bool", "value": 3}"#, "true"),
        (r#""@isInt(@int(1))""#, "true"),
        (r#""@isInt(1)""#, "false"),
        (r#""@isString(1)""#, "true"),
        (r#"{"type": "isArray", "value": []}"#, "true"),
        (r#"{"type": "isObject", "value": {}}"#, "true"),
        (r#"{"type": "isDouble", "value": 1}"#, "false"),
        (r#"{"type": "isBool", "value": true}"#, "true"),
    ] {
        is(r, want);
    }
    refused(r#""@int(x)""#, "@int: this is not a whole number");
    refused(r#"{"type": "int", "value": 1e300}"#, "not a whole number");
    refused(
        r#"{"type": "str", "value": []}"#,
        "must be a number or a text",
    );
}

#[test]
fn logic_and_arithmetic() {
    for (r, want) in [
        (r#"{"type": "equals", "A": 1, "B": 1.0}"#, "true"),
        (
            r#"{"type": "equals", "A": {"x": [1]}, "B": {"x": [1]}}"#,
            "true",
        ),
        (r#""@equals(a,b)""#, "false"),
        (r#""@less(a,b)""#, "true"),
        (r#"{"type": "less", "A": 2, "B": 1.5}"#, "false"),
        (r#""@and(@bool(0),@fail(no))""#, "false"),
        (r#""@or(@bool(1),@fail(no))""#, "true"),
        (r#""@not(@bool(1))""#, "false"),
        (r#""@add(@int(2),@int(3))""#, "5"),
        (r#""@sub(@int(2),@int(3))""#, "-1"),
        (r#""@mul(@int(2),@int(3))""#, "6"),
        (r#""@div(@int(-7),@int(2))""#, "-3"),
        (r#""@mod(@int(-7),@int(2))""#, "-1"),
        (
            r#""@add(@int(9223372036854775807),@int(1))""#,
            "-9223372036854775808",
        ),
        (
            r#""@div(@int(-9223372036854775808),@int(-1))""#,
            "-9223372036854775808",
        ),
        (r#""@bitwiseAnd(@int(6),@int(3))""#, "2"),
        (r#""@bitwiseOr(@int(6),@int(3))""#, "7"),
        (r#""@bitwiseXor(@int(6),@int(3))""#, "5"),
        (r#""@bitwiseNot(@int(0))""#, "-1"),
        (
            r#""@bitwiseLeftShift(@int(1),@int(63))""#,
            "-9223372036854775808",
        ),
        (r#""@bitwiseRightShift(@int(-1),@int(60))""#, "15"),
    ] {
        is(r, want);
    }
    refused(r#""@div(@int(1),@int(0))""#, "division by zero");
    refused(r#""@mod(@int(1),@int(0))""#, "division by zero");
    refused(r#""@bitwiseLeftShift(@int(1),@int(64))""#, "0 to 63 bits");
    refused(r#""@add(1,2)""#, "`A` must be a whole number, not a text");
    refused(r#""@not(1)""#, "true or false");
    refused(r#""@less(@int(1),a)""#, "can't be compared");
}

#[test]
fn lists_objects_and_texts() {
    const D: &str = r#""dictionary": {"b": 2, "a": 1, "c": 3}"#;
    const L: &str = r#""dictionary": [5, 6, 7]"#;
    for (r, want) in [
        (format!(r#"{{"type": "keys", {D}}}"#), r#"["a", "b", "c"]"#),
        (format!(r#"{{"type": "values", {D}}}"#), "[1, 2, 3]"),
        (format!(r#"{{"type": "size", {D}}}"#), "3"),
        (format!(r#"{{"type": "empty", {L}}}"#), "false"),
        (format!(r#"{{"type": "select", {D}, "key": "b"}}"#), "2"),
        (
            format!(r#"{{"type": "select", {D}, "key": "z", "default": 9}}"#),
            "9",
        ),
        (format!(r#"{{"type": "select", {L}, "key": -1}}"#), "7"),
        (
            format!(r#"{{"type": "slice", {L}, "from": 1, "to": 99}}"#),
            "[6, 7]",
        ),
        (
            format!(r#"{{"type": "slice", {D}, "from": "b", "to": "c"}}"#),
            r#"{"b": 2, "c": 3}"#,
        ),
        (
            format!(r#"{{"type": "contains", {D}, "key": "a"}}"#),
            "true",
        ),
        (format!(r#"{{"type": "contains", {L}, "key": 8}}"#), "false"),
        (
            format!(r#"{{"type": "set", {L}, "key": 0, "value": 1}}"#),
            "[1, 6, 7]",
        ),
        (
            format!(r#"{{"type": "set", {D}, "key": "b", "value": 0}}"#),
            r#"{"a": 1, "b": 0, "c": 3}"#,
        ),
    ] {
        is(&r, want);
    }
    for (r, want) in [
        (r#"{"type": "merge", "params": [[1], [2, 3]]}"#, "[1, 2, 3]"),
        (
            r#"{"type": "merge", "params": [{"a": 1}, {"a": 2, "b": 3}]}"#,
            r#"{"a": 2, "b": 3}"#,
        ),
        (r#"{"type": "merge", "params": ["a", "b"]}"#, "\"ab\""),
        (
            r#"{"type": "slice", "dictionary": "hello", "from": 1, "to": 3}"#,
            "\"ell\"",
        ),
        (r#""@split(a:b:,:)""#, r#"["a", "b", ""]"#),
        (r#""@range(@int(2),@int(4))""#, "[2, 3, 4]"),
        (r#""@range(@int(2),@int(1))""#, "[]"),
        (r#""@contains(abc,bc)""#, "true"),
        (
            r#"{"type": "sort", "dictionary": [3, 1.5, 2]}"#,
            "[1.5, 2, 3]",
        ),
        (r#"{"type": "size", "dictionary": "ab"}"#, "2"),
        (
            r#"{"type": "shuffle", "dictionary": [1], "seed": 5}"#,
            "[1]",
        ),
    ] {
        is(r, want);
    }
    refused(r#""@split(a,)""#, "`delim` is empty");
    refused(r#"{"type": "merge", "params": [[], {}]}"#, "can't be mixed");
    refused(r#"{"type": "merge", "params": []}"#, "nothing to merge");
    refused(
        r#"{"type": "select", "dictionary": [], "key": 0}"#,
        "there is no 0",
    );
    refused(
        r#"{"type": "slice", "dictionary": "é", "from": 0, "to": 0}"#,
        "in two",
    );
    refused(
        r#"{"type": "sort", "dictionary": [1, "a"]}"#,
        "can't be compared",
    );
}

#[test]
fn hashes_are_those_of_mcrouter() {
    // SpookyHash V2 of "foo"; Thomas Wang's mix of 1 as its author publishes it.
    is(r#""@hash(foo)""#, &(0x7f84_3a73_314f_cf27_i64).to_string());
    is(
        r#""@hash(@int(1))""#,
        &(0x5bca_7c69_b794_f8ce_u64 as i64).to_string(),
    );
    let one = r#"{"type": "weightedHash", "dictionary": {"a": 1, "b": 0}, "key": "k"}"#;
    is(one, "\"a\"");
    refused(
        r#"{"type": "weightedHash", "dictionary": {"a": -1}, "key": "k"}"#,
        "from 0 up",
    );
    refused(
        r#"{"type": "weightedHash", "dictionary": {"a": 0}, "key": "k"}"#,
        "nothing to choose",
    );
}

#[test]
fn variables_are_found_in_their_scopes() {
    is(
        r#"{"vars": {"a": "x", "b": "%a%y"}, "r": "%b%", "%a%": 1}"#,
        r#"{"r": "xy", "x": 1}"#,
    );
    is(r#"{"vars": {"a": [1]}, "r": "%a%"}"#, r#"{"r": [1]}"#);
    is(
        r#"{"vars": {"a": "1"}, "in": {"vars": {"a": "2"}, "r": "%a%"}, "out": "%a%"}"#,
        r#"{"in": {"r": "2"}, "out": "1"}"#,
    );
    is(r#""%default-region%:%default-region%""#, "\"west:west\"");
    is(r#""\\%one\\% \\@ \\\\""#, r#""%one% @ \\""#);
    is(
        r#"["@isInt(%hostid%)", "@defined(hostid)", "@defined(one)", "@defined(two)"]"#,
        "[true, true, true, false]",
    );
    refused(r#""a%one%""#, "must be a text");
    refused(r#""%two%""#, "there is no variable %two%");
    refused(r#""%default_region%""#, "did you mean");
    refused(
        r#"{"vars": {"a": "%b%", "b": "%a%"}, "r": "%a%"}"#,
        "defined by itself",
    );
    refused(r#"{"vars": 1}"#, "`vars` must be an object");
    refused(r#""50%""#, "does not end");
}

#[test]
fn macros_see_their_own_parameters_and_constants() {
    let macros = r#"{
        "c": {"type": "constDef", "result": "%one%"},
        "p": {"type": "macroDef", "params": ["a", {"name": "b", "default": "%c%"}, {"name": "d", "optional": true}],
              "result": ["%a%", "%b%", "@defined(d)"]},
        "int": {"type": "macroDef", "result": "mine"}
    }"#;
    for (r, want) in [
        ("\"@p(x)\"", r#"["x", 1, false]"#),
        ("\"@p( x , y ,z)\"", r#"["x", "y", true]"#),
        (
            r#"{"type": "p", "a": {"k": 1}, "unknown": 1}"#,
            r#"[{"k": 1}, 1, false]"#,
        ),
        (
            r#"{"type": "p", "a": "%v%", "vars": {"v": "w"}}"#,
            r#"["w", 1, false]"#,
        ),
        ("\"@int\"", "\"mine\""),
        ("\"@p()\"", r#"["", 1, false]"#),
    ] {
        let want: serde_json::Value = serde_json::from_str(want).unwrap();
        assert_eq!(result_with(macros, r), want, "{r}");
    }
    for (r, why) in [
        ("\"@p\"", "@p: `a` is missing"),
        ("\"@p(1,2,3,4)\"", "at most 3 arguments"),
        ("\"@q(1)\"", "there is no macro @q"),
        ("\"@siez(a)\"", "did you mean"),
    ] {
        let error = run(&format!("{{\"macros\": {macros}, \"r\": {r}}}")).unwrap_err();
        assert!(error.contains(why), "{r}: {error}");
    }
    // The caller's variables are not the macro's.
    let macros = r#"{"m": {"type": "macroDef", "result": "%v%"}}"#;
    let text = format!(r#"{{"macros": {macros}, "r": {{"vars": {{"v": 1}}, "r": "@m"}}}}"#);
    let error = run(&text).unwrap_err();
    assert!(
        error.contains("no variable %v%") && error.contains("in @m, called at main.json:1"),
        "{error}"
    );
}

#[test]
fn loops_and_conditions() {
    for (r, want) in [
        (
            r#"{"type": "if", "condition": true, "is_true": 1, "is_false": "@fail(x)"}"#,
            "1",
        ),
        (r#""@if(@bool(0),@fail(x),b)""#, "\"b\""),
        (
            r#"{"type": "define", "vars": {"a": 1}, "result": "%a%"}"#,
            "1",
        ),
        (
            r#"{"type": "transform", "dictionary": {"a": 1, "b": 2}, "itemTransform": "%key%:@", "keyTransform": ["%key%1", "%key%2"]}"#,
            r#"{"a1": "a:@", "a2": "a:@", "b1": "b:@", "b2": "b:@"}"#,
        ),
        (
            r#"{"type": "transform", "dictionary": {"a": 1, "b": 2}, "keyTransform": {"type": "if", "condition": "@equals(%k%,a)", "is_true": [], "is_false": "x"}, "keyName": "k"}"#,
            r#"{"x": 2}"#,
        ),
        (
            r#"{"type": "transform", "dictionary": [1, 2], "itemTransform": "@add(%i%,%one%)", "itemName": "i"}"#,
            "[2, 3]",
        ),
        (
            r#"{"type": "process", "dictionary": [1, 2, 3], "initialValue": 0, "transform": "@add(%item%,%value%)"}"#,
            "6",
        ),
        (
            r#"{"type": "foreach", "from": [1, 2, 3], "where": "@less(%one%,%item%)"}"#,
            "[2, 3]",
        ),
        (
            r#"{"type": "foreach", "from": [1, 2, 3], "use": ["%item%", "%key%"], "top": 2}"#,
            "[1, 0, 2, 1]",
        ),
        (
            r#"{"type": "foreach", "from": {"a": 1, "b": 2}, "item": "x", "where": "@equals(%x%,%one%)"}"#,
            r#"{"a": 1}"#,
        ),
        (
            r#"{"type": "foreach", "from": [], "noMatchResult": "none"}"#,
            "\"none\"",
        ),
    ] {
        is(r, want);
    }
    refused(
        r#"{"type": "transform", "dictionary": [1]}"#,
        "`itemTransform` is missing",
    );
    refused(
        r#"{"type": "foreach", "from": [1], "where": 1}"#,
        "true or false",
    );
    refused(r#"{"type": "foreach", "from": [1], "use": {}}"#, "a list");
    refused(r#""@fail(that is wrong)""#, "that is wrong");
    is(
        r#"["@isLocalIp(127.0.0.1)", "@isLocalIp(192.0.2.9)", "@isLocalIp(x)"]"#,
        "[true, false, false]",
    );
}

#[test]
fn imports_are_found_beside_the_main_file_or_by_their_path() {
    is(r#""@import(a.json)""#, r#"{"n": "west"}"#);
    is(r#""@import(sub/b.json)""#, r#"[{"n": "west"}]"#);
    is(r#""@import(/a.json)""#, r#"{"n": "west"}"#);
    is(r#""@import(file:/else/c.json)""#, "\"c\"");
    is(
        r#""@import(none.json,@import(a.json))""#,
        r#"{"n": "west"}"#,
    );
    is(
        r#"{"type": "import", "path": "broken.json", "default": 1}"#,
        "1",
    );
    refused(
        r#""@import(none.json)""#,
        "can't import /conf/none.json: files are not read here",
    );
    refused(r#""@import(self.json)""#, "imports itself");
    refused(r#""@import(broken.json)""#, "/conf/broken.json:2:6");
    refused(r#""@import(fails.json)""#, "/conf/fails.json:1:2: no way");
    let want = serde_json::Value::from("aa");
    assert_eq!(
        result_with(r#"["@import(macros.json)"]"#, r#""@twice(a)""#),
        want
    );
    assert_eq!(
        result_with(r#""@import(macros.json)""#, r#""@twice(a)""#),
        want
    );
}

#[test]
fn definitions_that_make_no_sense_are_refused() {
    for (macros, why) in [
        ("1", "`macros` must be"),
        (r#"{"a": 1}"#, "must be an object"),
        (r#"{"a": {"result": 1}}"#, "\"macroDef\" or \"constDef\""),
        (r#"{"a": {"type": "macroDef"}}"#, "no `result`"),
        (
            r#"{"a": {"type": "macroDef", "params": 1, "result": 1}}"#,
            "`params` must be a list",
        ),
        (
            r#"{"a": {"type": "macroDef", "params": [{}], "result": 1}}"#,
            "needs a `name`",
        ),
        (
            r#"{"a": {"type": "macroDef", "params": [{"name": "x", "optional": true}, "y"], "result": 1}}"#,
            "can't follow",
        ),
    ] {
        let error = run(&format!("{{\"macros\": {macros}}}")).unwrap_err();
        assert!(error.contains(why), "{macros}: {error}");
    }
    assert!(
        run("[]")
            .unwrap_err()
            .contains("must be an object, not a list")
    );
}
