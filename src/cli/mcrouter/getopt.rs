//! A command line as GNU's `getopt_long` takes it apart.
//!
//! Long options by their names or any beginning that is unambiguous, values after `=` or as the next argument; short
//! options in clusters, their value in the same argument (blanks in front are up to who reads the value) or the next.
//! What is no option may stand anywhere. Complaints are worded as getopt's; whether they matter is for the caller.

/// Whether an option has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Never.
    None,
    /// Only after `=`.
    Optional,
    /// Always.
    Value,
}

/// An option as getopt knows it.
pub(super) trait Describe {
    /// Without the dashes.
    fn long(&self) -> &'static str;
    /// Its letter.
    fn short(&self) -> Option<char>;
    /// Whether it has a value.
    fn takes(&self) -> Takes;
}

/// A part of a command line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The option of this number and its value.
    Given(usize, Option<String>),
    /// No option.
    Plain(String),
    /// Something getopt does not like.
    Complaint(String),
}

/// Takes arguments apart.
pub(super) fn parse<O: Describe>(options: &[O], args: &[String]) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--" {
            parts.extend(args.map(|arg| Part::Plain(arg.clone())));
            break;
        }
        if let Some(long) = arg.strip_prefix("--") {
            parts.push(self::long(options, long, &mut args));
        } else if let Some(cluster) = arg.strip_prefix('-').filter(|rest| !rest.is_empty()) {
            short(options, cluster, &mut args, &mut parts);
        } else {
            parts.push(Part::Plain(arg.clone()));
        }
    }
    parts
}

fn long<'a, O: Describe>(
    options: &[O],
    text: &str,
    args: &mut impl Iterator<Item = &'a String>,
) -> Part {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    let exact = options.iter().position(|option| option.long() == name);
    let index = match exact {
        Some(index) => index,
        None => {
            let fits = |(_, option): &(usize, &O)| option.long().starts_with(name);
            let candidates: Vec<(usize, &O)> = options.iter().enumerate().filter(fits).collect();
            match candidates.as_slice() {
                [(index, _)] if !name.is_empty() => *index,
                [] => return Part::Complaint(format!("unrecognized option '--{name}'")),
                several => {
                    let names = several
                        .iter()
                        .map(|(_, option)| format!(" '--{}'", option.long()));
                    return Part::Complaint(format!(
                        "option '--{name}' is ambiguous; possibilities:{}",
                        names.collect::<String>()
                    ));
                }
            }
        }
    };
    let Some(option) = options.get(index) else {
        return Part::Complaint(format!("unrecognized option '--{name}'"));
    };
    let name = option.long();
    match (option.takes(), value) {
        (Takes::None, Some(_)) => {
            Part::Complaint(format!("option '--{name}' doesn't allow an argument"))
        }
        (Takes::Value, None) => match args.next() {
            Some(value) => Part::Given(index, Some(value.clone())),
            None => Part::Complaint(format!("option '--{name}' requires an argument")),
        },
        (_, value) => Part::Given(index, value),
    }
}

fn short<'a, O: Describe>(
    options: &[O],
    cluster: &str,
    args: &mut impl Iterator<Item = &'a String>,
    parts: &mut Vec<Part>,
) {
    let mut letters = cluster.chars();
    while let Some(letter) = letters.next() {
        let found = options
            .iter()
            .enumerate()
            .find(|(_, option)| option.short() == Some(letter));
        let Some((index, option)) = found else {
            parts.push(Part::Complaint(format!("invalid option -- '{letter}'")));
            continue;
        };
        if option.takes() != Takes::Value {
            parts.push(Part::Given(index, None));
            continue;
        }
        let rest = letters.as_str();
        let value = match rest {
            "" => args.next().cloned(),
            rest => Some(rest.to_owned()),
        };
        parts.push(match value {
            Some(value) => Part::Given(index, Some(value)),
            None => Part::Complaint(format!("option requires an argument -- '{letter}'")),
        });
        return;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Known(&'static str, Option<char>, Takes);

    impl Describe for Known {
        fn long(&self) -> &'static str {
            self.0
        }
        fn short(&self) -> Option<char> {
            self.1
        }
        fn takes(&self) -> Takes {
            self.2
        }
    }

    const OPTIONS: &[Known] = &[
        Known("port", Some('p'), Takes::Value),
        Known("config", None, Takes::Value),
        Known("config-file", Some('f'), Takes::Value),
        Known("config-str", None, Takes::Value),
        Known("version", Some('V'), Takes::None),
        Known("enable-flush-cmd", None, Takes::Optional),
        Known("help", Some('h'), Takes::None),
    ];

    fn parts(args: &[&str]) -> Vec<Part> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        parse(OPTIONS, &args)
    }

    fn given(index: usize, value: &str) -> Part {
        Part::Given(index, Some(value.to_owned()))
    }

    #[test]
    fn every_spelling_of_a_value() {
        for args in [
            &["-p", "5000"][..],
            &["-p5000"],
            &["--port", "5000"],
            &["--port=5000"],
            &["--po=5000"],
            &["--p", "5000"],
        ] {
            assert_eq!(parts(args), [given(0, "5000")], "{args:?}");
        }
        assert_eq!(parts(&["-p 5000"]), [given(0, " 5000")]);
        assert_eq!(parts(&["-p", "-1"]), [given(0, "-1")]);
        assert_eq!(parts(&["--config=file:/a=b"]), [given(1, "file:/a=b")]);
        assert_eq!(parts(&["--port="]), [given(0, "")]);
    }

    #[test]
    fn clusters_toggles_and_what_is_no_option() {
        assert_eq!(
            parts(&[
                "a",
                "-Vhp1",
                "--enable-flush-cmd",
                "--enable-flush-cmd=0",
                "-",
                "--",
                "-V"
            ]),
            [
                Part::Plain("a".to_owned()),
                Part::Given(4, None),
                Part::Given(6, None),
                given(0, "1"),
                Part::Given(5, None),
                given(5, "0"),
                Part::Plain("-".to_owned()),
                Part::Plain("-V".to_owned()),
            ]
        );
        // A toggle's value is never the next argument.
        assert_eq!(
            parts(&["--enable-flush-cmd", "1"]),
            [Part::Given(5, None), Part::Plain("1".to_owned())]
        );
    }

    #[test]
    fn an_exact_name_is_not_ambiguous_but_a_beginning_may_be() {
        assert_eq!(parts(&["--config", "x"]), [given(1, "x")]);
        for (args, complaint) in [
            (
                &["--conf=x"][..],
                "option '--conf' is ambiguous; possibilities: '--config' '--config-file' '--config-str'",
            ),
            (&["--rss-limit-mb"], "unrecognized option '--rss-limit-mb'"),
            (&["--port"], "option '--port' requires an argument"),
            (
                &["--version=1"],
                "option '--version' doesn't allow an argument",
            ),
            (&["-p"], "option requires an argument -- 'p'"),
            (&["-x"], "invalid option -- 'x'"),
        ] {
            assert_eq!(parts(args), [Part::Complaint(complaint.to_owned())]);
        }
    }

    proptest! {
        /// Whatever is typed gets an answer.
        #[test]
        fn any_arguments_are_answered(args in prop::collection::vec("-{0,3}[a-zé=-]{0,8}", 0..6)) {
            let _ = parse(OPTIONS, &args);
        }
    }
}
