//! JSON as mcrouter reads it: with comments and trailing commas.
//!
//! The parser is `jsonc-parser` with everything else that it could be lenient about turned off. Places are those of
//! the text as it stands, comments included. Whole numbers have 64 bits; one that is larger is an error, as in
//! mcrouter, rather than a rounded number.

use jsonc_parser::ast;
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::super::diagnostics::{nearest, quoted};
use super::findings::{Fault, Findings};
use super::value::{Kind, Member, Members, Place, TooLarge, Value};

const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses one of the sources.
///
/// # Errors
/// The first thing that is not JSON.
pub(super) fn parse(findings: &mut Findings<'_>, source: usize) -> Result<Value, Fault> {
    let text = findings.text(source);
    let parsed = parse_to_ast(&text, &CollectOptions::default(), &OPTIONS);
    let parsed = match parsed {
        Ok(parsed) => parsed.value,
        Err(error) => {
            let at = place(source, error.range());
            let why = error.kind().to_string();
            let mut chars = why.chars();
            let first = chars.next().map(|c| c.to_lowercase().to_string());
            let why = format!("{}{}", first.unwrap_or_default(), chars.as_str());
            return Err(Fault::new(at, format!("this is not JSON: {why}")));
        }
    };
    let Some(value) = parsed else {
        let at = Place {
            source,
            ..Place::default()
        };
        return Err(Fault::new(at, "there is nothing in it"));
    };
    take(findings, source, &value)
}

fn place(source: usize, range: Range) -> Place {
    Place {
        source,
        start: range.start,
        end: range.end,
    }
}

fn take(
    findings: &mut Findings<'_>,
    source: usize,
    value: &ast::Value<'_>,
) -> Result<Value, Fault> {
    let at = place(source, value.range());
    let too_large = |TooLarge(why)| Fault::new(at, why);
    Ok(match value {
        ast::Value::NullKeyword(_) => Value::null(at),
        ast::Value::BooleanLit(lit) => Value::bool(at, lit.value),
        ast::Value::StringLit(lit) => Value::text(at, &*lit.value),
        ast::Value::NumberLit(lit) => number(at, lit.value)?,
        ast::Value::Array(array) => {
            let mut items = Vec::with_capacity(array.elements.len());
            for element in &array.elements {
                items.push(take(findings, source, element)?);
            }
            Value::list(at, items).map_err(too_large)?
        }
        ast::Value::Object(object) => {
            let mut members = Members::new();
            for property in &object.properties {
                let key = property.name.as_str();
                let key_at = place(source, property.name.range());
                let value = take(findings, source, &property.value)?;
                if let Some(earlier) = members.insert(key.into(), Member { key_at, value }) {
                    let line = findings.whereabouts(earlier.key_at);
                    findings
                        .warn(key_at, format!("the key {} is given twice", quoted(key)))
                        .label("this one counts")
                        .with_help(format!("the one at {line} is ignored"));
                }
            }
            Value::map(at, members).map_err(too_large)?
        }
    })
}

fn number(at: Place, text: &str) -> Result<Value, Fault> {
    let is_whole = !text.contains(['.', 'e', 'E']);
    let kind = if is_whole {
        text.parse().ok().map(Kind::Int)
    } else {
        text.parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(Kind::Double)
    };
    kind.map(|kind| Value::new(at, kind))
        .ok_or_else(|| Fault::new(at, format!("the number {} is too large", quoted(text))))
}

/// Parses a text for a reader that wants no places and no imports.
///
/// # Errors
/// The first thing that is not JSON.
pub(crate) fn parse_plain(name: &str, text: &str) -> Result<serde_json::Value, String> {
    let mut read = super::no_files;
    let mut findings = Findings::new(&mut read);
    let source = findings.add(name, text);
    match parse(&mut findings, source) {
        Ok(value) => Ok(plain(&value)),
        Err(fault) => {
            findings.fault(fault);
            Err(findings
                .finish(None::<()>)
                .map_or_else(|errors| errors.brief(), |_| String::new()))
        }
    }
}

pub(super) fn plain(value: &Value) -> serde_json::Value {
    match &value.kind {
        Kind::Null => serde_json::Value::Null,
        Kind::Bool(value) => (*value).into(),
        Kind::Int(number) => (*number).into(),
        Kind::Double(number) => (*number).into(),
        Kind::Text(text) => (&**text).into(),
        Kind::List(list) => list.items().iter().map(plain).collect(),
        Kind::Map(map) => map
            .members()
            .iter()
            .map(|(key, member)| (key.to_string(), plain(&member.value)))
            .collect(),
    }
}

/// What was probably meant by a name, as the end of a sentence; empty if nobody can say.
pub(super) fn did_you_mean<'c>(name: &str, known: impl IntoIterator<Item = &'c str>) -> String {
    nearest(name, known).map_or(String::new(), |near| format!("did you mean \"{near}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::mcrouter::no_files;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<(Value, usize), String> {
        let mut read = no_files;
        let mut findings = Findings::new(&mut read);
        let source = findings.add("f.json", text);
        let value = parse(&mut findings, source).map_err(|fault| findings.fault(fault));
        let finished = findings.finish(value.ok());
        finished
            .map(|(value, warnings)| (value, warnings.len()))
            .map_err(|errors| errors.brief())
    }

    #[test]
    fn comments_and_trailing_commas_are_fine() {
        let text =
            "// one\n{ /* two */ \"a\": [1, 2.5, /* \" */ \"//no\",], \"b\": {\"c\": null,}, }";
        let (value, warnings) = parsed(text).unwrap();
        assert_eq!(warnings, 0);
        let map = value.as_map().unwrap();
        let list = map.get("a").unwrap().as_list().unwrap().items();
        assert!(matches!(list[0].kind, Kind::Int(1)) && matches!(list[1].kind, Kind::Double(_)));
        assert_eq!(&**list[2].as_text().unwrap(), "//no");
        assert_eq!(&text[list[2].at.start..list[2].at.end], "\"//no\"");
    }

    #[test]
    fn what_mcrouter_would_not_read_is_an_error_with_its_place() {
        for (text, place) in [
            ("{\"a\": 1 \"b\": 2}", "f.json:1:"),
            ("{a: 1}", "f.json:1:2:"),
            ("{'a': 1}", "f.json:1:2:"),
            ("{\"a\": 0x10}", "f.json:1:"),
            ("{\n \"a\": +1}", "f.json:2:7:"),
            ("{\n\n  \"a\": 9223372036854775808}", "f.json:3:8:"),
            ("{\"a\": 1e999}", "f.json:1:7:"),
            ("{\"a\": [1,,2]}", "f.json:1:"),
            ("{\"a\": [1, 2}", "f.json:1:"),
            ("{\"a\": \"b", "f.json:1:7:"),
            ("{} {}", "f.json:1:4:"),
            ("", "f.json:1:1:"),
            ("/* open", "f.json:1:"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(place), "{text}: {error}");
        }
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        assert!(parsed(&deep).unwrap_err().contains("nested too deep"));
        let deeper = "[".repeat(100_000);
        assert!(parsed(&deeper).is_err());
    }

    #[test]
    fn of_two_equal_keys_the_later_counts_and_that_is_said() {
        let (value, warnings) = parsed("{\"a\": 1,\n\"a\": 2}").unwrap();
        assert!(matches!(
            value.as_map().unwrap().get("a").unwrap().kind,
            Kind::Int(2)
        ));
        assert_eq!(warnings, 1);
    }

    proptest! {
        /// Whatever stands in a file gets an answer.
        #[test]
        fn any_text_is_answered(text in "[\\PC\n]{0,60}|[\\[\\]{}\",:/*0-9a-z. \\\\-]{0,80}") {
            let _ = parsed(&text);
        }
    }
}
