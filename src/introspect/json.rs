//! JSON for people, as mcrouter's library writes it: members in the order of their names, two blanks a level, and
//! around the colon a blank on both sides.
//!
//! What is written here is short; nesting is bounded by whoever has read or made the value.

use serde_json::Value;

/// The text of a value, without an end of line.
#[must_use]
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let pad = |depth: usize, out: &mut String| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            out.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                pad(depth + 1, out);
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push_str(" : ");
                write(value, depth + 1, out);
            }
            pad(depth, out);
            out.push('}');
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('[');
            for (index, value) in list.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                pad(depth + 1, out);
                write(value, depth + 1, out);
            }
            pad(depth, out);
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_like_what_mcrouter_printed() {
        // Recorded from mcrouter 0.36.
        let want = "{\n  \"pools\" : {\n    \"A\" : {\n      \"servers\" : [\n        \"127.0.0.1:21201\",\n        \"127.0.0.1:21202\"\n      ]\n    }\n  },\n  \"route\" : \"PoolRoute|A\"\n}";
        let value: Value = serde_json::from_str(want).unwrap();
        assert_eq!(pretty(&value), want);
        let empty = serde_json::json!({"b": {}, "a": [], "c": null, "d\"": [1.5, true]});
        let text = "{\n  \"a\" : [],\n  \"b\" : {},\n  \"c\" : null,\n  \"d\\\"\" : [\n    1.5,\n    true\n  ]\n}";
        assert_eq!(pretty(&empty), text);
    }
}
