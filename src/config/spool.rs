//! Where deletions are written down that could not be done: the settings, and their section of a file.
//!
//! Which routes write there is in the route tree ([`super::Route::Spool`]). What is promised is on the page
//! `src/docs/spool.md`; who writes and who reads the files is `crate::spool`, of which this module knows nothing.

use std::path::PathBuf;
use std::time::Duration;

use super::Pool;
use super::diagnostics::Report;
use super::read::Table;
use super::schema;

/// How and where deletions are written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spool {
    /// The directory of the files.
    pub dir: PathBuf,
    /// Whether it is made if it is not there.
    pub create_dir: bool,
    /// The form of a line.
    pub format: SpoolFormat,
    /// When a line counts as written.
    pub fsync: Fsync,
    /// The most that all files together may hold, in bytes; then the oldest go.
    pub max_bytes: u64,
    /// Whether this process delivers what is written down once the server is back.
    pub replay: bool,
    /// Deletions that it delivers in a second, at most; 0 is for no bound.
    pub replay_rate: u64,
    /// What becomes of deletions for servers that no pool has any more.
    pub unknown_servers: UnknownServers,
    /// For the names of files and the lines of version 2: which service this is.
    pub service_name: String,
    /// For the names of files: which router of that service.
    pub router_name: String,
    /// For the lines of version 2.
    pub region: String,
    /// For the lines of version 2.
    pub flavor: String,
}

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpoolFormat {
    /// mcrouter's `AS1.0`.
    V1,
    /// mcrouter's `AS2.0`.
    V2,
}

/// When a line counts as written, and its client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// When the system has it; the system writes it to the disk when it likes.
    Never,
    /// When it is on the disk.
    Each,
    /// When the system has it; it is on the disk after so long at most.
    Interval(Duration),
}

/// What becomes of deletions for servers that no pool has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownServers {
    /// They stay in their files.
    Keep,
    /// They count as delivered.
    Drop,
}

impl SpoolFormat {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::V1, Self::V2];

    /// The name used in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

impl UnknownServers {
    /// Every choice.
    pub const ALL: &'static [Self] = &[Self::Keep, Self::Drop];

    /// The name used in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Drop => "drop",
        }
    }
}

impl Fsync {
    /// Every choice, with the default interval.
    pub const ALL: &'static [Self] = &[Self::Never, Self::Each, Self::Interval(INTERVAL)];

    /// The name used in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Each => "each",
            Self::Interval(_) => "interval",
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(1);

impl Spool {
    /// In this directory, every other setting at its default.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            create_dir: true,
            format: SpoolFormat::V1,
            fsync: Fsync::Interval(INTERVAL),
            max_bytes: 1 << 30,
            replay: true,
            replay_rate: 10_000,
            unknown_servers: UnknownServers::Keep,
            service_name: "ringroad".to_owned(),
            router_name: "0".to_owned(),
            region: String::new(),
            flavor: "unknown".to_owned(),
        }
    }
}

/// Reads `[spool]`; `None` if it is not there, or after an error.
pub(super) fn read(report: &mut Report<'_>, root: &Table<'_, '_>) -> Option<Spool> {
    let table = root.get("spool")?.table(report, &schema::SPOOL)?;
    let mut spool = Spool::new("");
    if let Some(entry) = table.require(report, "dir", "dir = \"/var/spool/ringroad\"")
        && let Some(dir) = entry.string(report, "a path")
    {
        if dir.is_empty() {
            report
                .error(entry.place(), "`dir` is empty")
                .label("write the path of a directory");
        }
        spool.dir = dir.into();
    }
    table.bool(report, "create_dir", &mut spool.create_dir);
    if let Some(entry) = table.get("format")
        && let Some(format) = entry.choice(report, "a format", SpoolFormat::ALL, |one| {
            one.name().to_owned()
        })
    {
        spool.format = format;
    }
    if let Some(entry) = table.get("fsync")
        && let Some(fsync) = entry.choice(report, "a time", Fsync::ALL, |one| one.name().to_owned())
    {
        spool.fsync = fsync;
    }
    if let Some(entry) = table.get("fsync_interval") {
        let mut interval = INTERVAL;
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        table.duration(report, "fsync_interval", range, &mut interval);
        match spool.fsync {
            Fsync::Interval(_) => spool.fsync = Fsync::Interval(interval),
            Fsync::Never | Fsync::Each => {
                report
                    .error(
                        entry.place(),
                        "`fsync_interval` without `fsync = \"interval\"`",
                    )
                    .label("there is no interval");
            }
        }
    }
    let mut most = usize::try_from(spool.max_bytes).unwrap_or(usize::MAX);
    table.size(report, "max_bytes", (1 << 20)..=(1 << 46), &mut most);
    spool.max_bytes = most as u64;
    table.bool(report, "replay", &mut spool.replay);
    let mut rate = usize::try_from(spool.replay_rate).unwrap_or(usize::MAX);
    table.usize(report, "replay_rate", 0..=1_000_000_000, &mut rate);
    spool.replay_rate = rate as u64;
    if let Some(entry) = table.get("unknown_servers")
        && let Some(unknown) = entry.choice(report, "a choice", UnknownServers::ALL, |one| {
            one.name().to_owned()
        })
    {
        spool.unknown_servers = unknown;
    }
    for (name, target) in [
        ("service_name", &mut spool.service_name),
        ("router_name", &mut spool.router_name),
        ("region", &mut spool.region),
        ("flavor", &mut spool.flavor),
    ] {
        if let Some(entry) = table.get(name)
            && let Some(text) = entry.string(report, "text")
        {
            text.clone_into(target);
        }
    }
    Some(spool)
}

/// What a pool says of the spool: the name that it has there, if it has one.
pub(super) fn of_pool(
    report: &mut Report<'_>,
    root: &Table<'_, '_>,
    table: &Table<'_, '_>,
    pool: &str,
) -> Option<String> {
    let mut spools = false;
    table.bool(report, "spool", &mut spools);
    let name = match table.get("spool_name") {
        Some(entry) => {
            if !spools {
                report
                    .error(
                        entry.key_span.clone(),
                        "`spool_name` without `spool = true`",
                    )
                    .label("nothing is written that could have a name");
            }
            entry.string(report, "text")?.to_owned()
        }
        None => pool.to_owned(),
    };
    if spools
        && root.get("spool").is_none()
        && let Some(entry) = table.get("spool")
    {
        report
            .error(entry.place(), "`spool` needs to know where to write")
            .label("there is no [spool]")
            .with_help("add: [spool]\ndir = \"/var/spool/ringroad\"");
    }
    spools.then_some(name)
}

/// Warns of a spool that no pool writes to.
pub(super) fn warn_of_unused(report: &mut Report<'_>, root: &Table<'_, '_>, pools: &[Pool]) {
    if let Some(entry) = root.get("spool")
        && pools.iter().all(|pool| pool.spool.is_none())
    {
        report
            .warn(entry.key_span, "no pool writes to the spool")
            .label("never used")
            .with_help("write `spool = true` in the pools whose deletions must not be lost");
    }
}

/// The section as it is written; `line` appends a key with its value.
pub(super) fn render(
    spool: &Spool,
    quoted: impl Fn(&str) -> String,
    mut line: impl FnMut(&str, String),
) {
    line("dir", quoted(&spool.dir.to_string_lossy()));
    line("create_dir", spool.create_dir.to_string());
    line("format", quoted(spool.format.name()));
    line("fsync", quoted(spool.fsync.name()));
    if let Fsync::Interval(interval) = spool.fsync {
        line("fsync_interval", quoted(&super::show_duration(interval)));
    }
    line("max_bytes", quoted(&super::show_size(spool.max_bytes)));
    line("replay", spool.replay.to_string());
    line("replay_rate", spool.replay_rate.to_string());
    line("unknown_servers", quoted(spool.unknown_servers.name()));
    line("service_name", quoted(&spool.service_name));
    line("router_name", quoted(&spool.router_name));
    line("region", quoted(&spool.region));
    line("flavor", quoted(&spool.flavor));
}
