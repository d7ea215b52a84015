//! The notation of macros inside a text.
//!
//! A text is pieces and variables (`a%b%c`), or, if it starts with `@`, a call with arguments that are separated by
//! commas outside of inner parentheses. A backslash takes the meaning from the character behind it.

/// What a text is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape<'t> {
    /// Not a call.
    Plain(Vec<Piece>),
    /// A call. Name and arguments are as written; without parentheses there are no arguments.
    Call {
        name: &'t str,
        args: Option<Vec<&'t str>>,
    },
}

/// A part of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it is meant: without backslashes.
    Literal(String),
    /// Between two `%`.
    Variable(String),
}

/// Takes a text apart.
///
/// # Errors
/// What is wrong with it, in a sentence.
pub(super) fn shape(text: &str) -> Result<Shape<'_>, String> {
    match text.strip_prefix('@') {
        None => pieces(text).map(Shape::Plain),
        Some(call) => self::call(call),
    }
}

/// Takes a text apart that is no call.
///
/// # Errors
/// A `%` without another one.
pub(super) fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut current = String::new();
    let mut in_variable = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => current.push(chars.next().unwrap_or('\\')),
            '%' => {
                let part = std::mem::take(&mut current);
                if in_variable {
                    pieces.push(Piece::Variable(part));
                } else if !part.is_empty() {
                    pieces.push(Piece::Literal(part));
                }
                in_variable = !in_variable;
            }
            c => current.push(c),
        }
    }
    if in_variable {
        return Err("a variable starts with % and does not end with one".to_owned());
    }
    if !current.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(current));
    }
    Ok(pieces)
}

fn call(text: &str) -> Result<Shape<'_>, String> {
    let mut name = text;
    let mut args = Vec::new();
    let mut depth = 0_usize;
    // Where the current argument starts, and where the call has ended.
    let (mut start, mut end) = (0, None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        if end.is_some() {
            return Err("a macro call ends with its closing parenthesis".to_owned());
        }
        let part = |from: usize| text.get(from..at).unwrap_or("");
        match c {
            '\\' => {
                let _ = chars.next();
            }
            '(' => {
                if depth == 0 {
                    name = part(0);
                    start = at + 1;
                }
                depth += 1;
            }
            ')' => match depth {
                0 => return Err("there is a ) without a (".to_owned()),
                1 => {
                    args.push(trimmed(part(start)));
                    (depth, end) = (0, Some(at));
                }
                _ => depth -= 1,
            },
            ',' if depth == 1 => {
                args.push(trimmed(part(start)));
                start = at + 1;
            }
            _ => {}
        }
    }
    match (depth, end) {
        (0, None) => Ok(Shape::Call { name, args: None }),
        (0, Some(_)) => Ok(Shape::Call {
            name,
            args: Some(args),
        }),
        _ => Err("a ( has no )".to_owned()),
    }
}

/// Without the blanks around it, except one behind a backslash.
fn trimmed(text: &str) -> &str {
    let text = text.trim_start();
    let short = text.trim_end();
    let backslashes = short.bytes().rev().take_while(|b| *b == b'\\').count();
    let escaped = text
        .get(short.len()..)
        .and_then(|rest| rest.chars().next())
        .filter(|_| backslashes % 2 == 1);
    match escaped {
        Some(blank) => text.get(..short.len() + blank.len_utf8()).unwrap_or(short),
        None => short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.to_owned())
    }

    fn variable(text: &str) -> Piece {
        Piece::Variable(text.to_owned())
    }

    #[test]
    fn variables_and_escapes() {
        for (text, want) in [
            ("", vec![literal("")]),
            ("%a%", vec![variable("a")]),
            ("%%", vec![variable("")]),
            (
                "x%a%y%b%",
                vec![literal("x"), variable("a"), literal("y"), variable("b")],
            ),
            (r"\%a\%", vec![literal("%a%")]),
            (r"\@a", vec![literal("@a")]),
            (r"a\\b\c", vec![literal(r"a\bc")]),
            (r"%a\%b%", vec![variable("a%b")]),
            (r"end\", vec![literal(r"end\")]),
        ] {
            assert_eq!(shape(text), Ok(Shape::Plain(want)), "{text}");
        }
        assert!(shape("100%").is_err());
        assert!(shape("%a%b%").is_err());
    }

    #[test]
    fn calls() {
        let call = |name, args: Option<&[&'static str]>| {
            Ok(Shape::Call {
                name,
                args: args.map(<[&str]>::to_vec),
            })
        };
        for (text, want) in [
            ("@a", call("a", None)),
            ("@a()", call("a", Some(&[""]))),
            ("@a(b)", call("a", Some(&["b"]))),
            ("@a( b , c d )", call("a", Some(&["b", "c d"]))),
            ("@a(@b(c,d),%e%)", call("a", Some(&["@b(c,d)", "%e%"]))),
            (r"@a(b\,c,\),\()", call("a", Some(&[r"b\,c", r"\)", r"\("]))),
            (r"@a(b\ )", call("a", Some(&[r"b\ "]))),
            (r"@a(b\\ )", call("a", Some(&[r"b\\"]))),
            ("@a(,)", call("a", Some(&["", ""]))),
        ] {
            assert_eq!(shape(text), want, "{text}");
        }
        for wrong in ["@a(", "@a(b", "@a(b))", "@a(b)c", "@a)", "@a(b\\)"] {
            assert!(shape(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// Whatever is written gets an answer, also where it is not ASCII.
        #[test]
        fn any_text_is_answered(text in "@?[a(),%\\\\ \u{a0}é]{0,30}") {
            let _ = shape(&text);
        }
    }
}
