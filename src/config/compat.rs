//! Which mcrouter to be like, where its versions differ and ringroad follows either.
//!
//! The versions that are told apart are the one of the old Helm chart (0.36) and today's. What differs is a table in
//! `docs/mcrouter.md`; whoever needs to know asks a [`Compat`]. The file with runtime variables is read here, too: the
//! other setting of the top that is mcrouter's alone.

use std::path::PathBuf;

use super::diagnostics::Report;
use super::read::Table;

/// A version of mcrouter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Compat {
    /// Today's, with ringroad's own words for errors.
    #[default]
    Latest,
    /// 0.36.
    V0_36,
}

impl Compat {
    /// Every version.
    pub const ALL: &'static [Compat] = &[Compat::Latest, Compat::V0_36];

    /// The name in configurations and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Compat::Latest => "latest",
            Compat::V0_36 => "0.36",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Compat> {
        Compat::ALL.iter().copied().find(|one| one.name() == name)
    }

    /// What it says that its version is.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Compat::Latest => concat!("ringroad-", env!("CARGO_PKG_VERSION"), " mcrouter"),
            Compat::V0_36 => "36.0.0 mcrouter",
        }
    }
}

/// `mcrouter_compat`.
pub(super) fn read(report: &mut Report<'_>, root: &Table<'_, '_>) -> Compat {
    let chosen = root.get("mcrouter_compat").and_then(|entry| {
        entry.choice(report, "a version of mcrouter", Compat::ALL, |one| {
            one.name().to_owned()
        })
    });
    chosen.unwrap_or_default()
}

/// `runtime_vars_file`.
pub(super) fn runtime_vars(report: &mut Report<'_>, root: &Table<'_, '_>) -> Option<PathBuf> {
    let entry = root.get("runtime_vars_file")?;
    let path = entry.string(report, "a path")?;
    if path.is_empty() {
        report
            .error(entry.place(), "`runtime_vars_file` is empty")
            .label("leave it out for none");
        return None;
    }
    Some(PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn what_is_no_version_and_no_path_is_refused() {
        let pool = "[pools.a]\nservers = [\"h:1\"]";
        for (line, part) in [
            ("mcrouter_compat = \"0.37\"", "0.36"),
            ("mcrouter_compat = 0.36", "mcrouter_compat"),
            ("runtime_vars_file = \"\"", "empty"),
            ("runtime_vars_file = 1", "runtime_vars_file"),
            ("introspection = 1", "introspection"),
        ] {
            let error = parse("f", &format!("{line}\n{pool}")).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
        let good = "introspection = true\nmcrouter_compat = \"0.36\"\nruntime_vars_file = \"/v\"";
        let (config, _) = parse("f", &format!("{good}\n{pool}")).unwrap();
        assert!(config.introspection);
        assert_eq!(
            (config.compat, config.runtime_vars),
            (Compat::V0_36, Some("/v".into()))
        );
    }
}
