//! Long values of a rendered configuration, over several lines.
//!
//! What fits stays on one line. A list or an inline table that does not is opened: each member has a line of its own, which ends
//! in a comma; members of a list that are no lists or tables themselves share lines. Inline tables over several lines are TOML 1.1.
//!
//! It works on the text of a single value as this crate renders it; strings are never touched. What it does not understand
//! it leaves as it is.

/// The longest line that need not be broken.
const WIDTH: usize = 100;

/// A value, taken apart as far as it has members.
enum Piece<'t> {
    /// Its text; also of a member `key = value` whose value has no members.
    Leaf(&'t str),
    /// What stands before the bracket, the brackets, the members, and all of its text.
    Group(&'t str, [char; 2], Vec<Piece<'t>>, &'t str),
}

/// The value of `key`, over several lines if it is too long for one.
pub(super) fn broken(key: &str, value: &str) -> String {
    let mut out = String::with_capacity(value.len() + value.len() / 4);
    match piece(value) {
        Some(piece) if key.len() + 3 + value.len() > WIDTH => write(&piece, 0, &mut out),
        _ => out.push_str(value),
    }
    out
}

fn write(piece: &Piece<'_>, indent: usize, out: &mut String) {
    let (before, [open, close], members) = match piece {
        Piece::Leaf(text) => return out.push_str(text),
        // The top has been found too long already.
        Piece::Group(.., text) if indent > 0 && indent + text.len() < WIDTH => {
            return out.push_str(text);
        }
        Piece::Group(before, brackets, members, _) => (before, brackets, members),
    };
    out.push_str(before);
    out.push(*open);
    let begin = |out: &mut String, indent: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n(' ', indent));
    };
    let mut used = WIDTH;
    for member in members {
        let leaf = match member {
            Piece::Leaf(text) if *open == '[' => text.len() + 2,
            _ => WIDTH,
        };
        if used + leaf > WIDTH {
            begin(out, indent + 2);
            used = indent + 2;
        } else {
            out.push(' ');
        }
        write(member, indent + 2, out);
        out.push(',');
        used += leaf;
    }
    begin(out, indent);
    out.push(*close);
}

/// `None` if it is not a list, an inline table or something without members.
fn piece(text: &str) -> Option<Piece<'_>> {
    let text = text.trim();
    let value = value_at(text)?;
    let (before, rest) = text.split_at_checked(value)?;
    let brackets = match rest.chars().next()? {
        '[' => ['[', ']'],
        '{' => ['{', '}'],
        _ => return Some(Piece::Leaf(text)),
    };
    let inside = rest.get(1..)?.strip_suffix(brackets[1])?;
    let members = members(inside)?.into_iter().map(piece);
    let members: Vec<Piece<'_>> = members.collect::<Option<_>>()?;
    Some(match members.is_empty() {
        true => Piece::Leaf(text),
        false => Piece::Group(before, brackets, members, text),
    })
}

/// Where the value of `key = value` begins; 0 without a key.
fn value_at(text: &str) -> Option<usize> {
    let mut end = 0;
    if text.starts_with('"') {
        end = string(text)?;
    } else {
        end += text
            .find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.'))
            .unwrap_or(text.len());
    }
    Some(match text.get(end..)?.strip_prefix(" = ") {
        Some(rest) => text.len() - rest.len(),
        None => 0,
    })
}

/// The length of the string that a text begins with.
fn string(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What stands between the commas.
fn members(text: &str) -> Option<Vec<&str>> {
    let mut found = Vec::new();
    let (mut start, mut at, mut depth) = (0, 0, 0usize);
    while let Some(c) = text.get(at..)?.chars().next() {
        match c {
            '"' => {
                at += string(text.get(at..)?)?;
                continue;
            }
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                found.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
        at += c.len_utf8();
    }
    let last = text.get(start..)?;
    if !last.trim().is_empty() {
        found.push(last);
    }
    (depth == 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_long_is_opened_and_the_rest_is_not() {
        let short = r#"{ type = "failover", children = ["a", "b"] }"#;
        assert_eq!(broken("route", short), short);
        let pools = (0..12).map(|n| format!("\"pool{n:02}\""));
        let pools = pools.collect::<Vec<_>>().join(", ");
        let long = format!(
            r#"{{ type = "prefix", prefixes = {{ "a, \"]" = {short}, b = {{ children = [{pools}], type = "random" }} }}, default = "x" }}"#
        );
        let want = r#"{
  type = "prefix",
  prefixes = {
    "a, \"]" = { type = "failover", children = ["a", "b"] },
    b = {
      children = [
        "pool00", "pool01", "pool02", "pool03", "pool04", "pool05", "pool06", "pool07", "pool08",
        "pool09", "pool10", "pool11",
      ],
      type = "random",
    },
  },
  default = "x",
}"#;
        assert_eq!(broken("route", &long), want);
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        for text in ["[", "{ a", "[}", "\"", "[\"]", "{ \"a }"] {
            let long = text.repeat(100);
            assert_eq!(broken("k", &long), long);
        }
    }

    proptest! {
        #[test]
        fn it_means_the_same(texts in proptest::collection::vec("[a-z\"\\\\,=\\[\\]{} é]{0,30}", 0..12)) {
            let strings: Vec<String> = texts.iter().map(|text| super::super::render::quoted(text)).collect();
            let list = format!("[{}]", strings.join(", "));
            let table = format!("{{ a = {list}, \"b.c\" = {{ d = {list} }}, e = [] }}");
            for value in [list, table] {
                let read = |value: &str| format!("k = {value}").parse::<::toml::Table>().unwrap();
                let lines = broken("k", &value);
                prop_assert_eq!(read(&lines), read(&value));
                let longest = 100 + strings.iter().map(String::len).max().unwrap_or(0);
                prop_assert!(lines.lines().all(|line| line.len() <= longest), "{}", lines);
            }
        }
    }
}
