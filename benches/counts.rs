//! Instructions per request, counted by valgrind's callgrind, and the gate on their growth.
//!
//! Time depends on the machine and on who else is using it; the number of instructions that a fixed program
//! executes does not. So this is what CI compares: `benches/baseline.toml` has the counts of the last
//! commit that changed them on purpose, and more than 2 % above one of them is a failure.
//!
//! ```text
//! cargo bench --bench counts                   count and compare
//! cargo bench --bench counts -- turn_get       only those whose name has "turn_get" in it
//! cargo bench --bench counts -- --update       make what is counted now the baseline
//! ```
//!
//! Each case is a run of this program under callgrind, which counts only inside the functions of
//! `support::metered`, after a warm-up: what servers and clients do around the router is not in the figures,
//! and neither are sockets. The profiles stay in `target/tmp/callgrind.out.*`, for `callgrind_annotate`.
//!
//! A compiler of another version makes other code, and a processor without AVX2 runs other code of the
//! libraries. The baseline says what it was made with; elsewhere the figures are printed and nothing fails.

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

use ringroad::config;
use ringroad::protocol::request::Limits;
use ringroad::route::compile::Snapshot;
use support::load::{Ask, Load, Rng, value};
use support::metered;
use support::router::{ALL_SYNC, Router, THREE_SERVERS, WITH_FAILOVER, WITH_SHADOW};
use toml::{Table, Value};

/// How much a count may grow, in percent.
const TOLERANCE: f64 = 2.0;
/// How many single operations a case without a router counts.
const OPERATIONS: u32 = 1000;
/// How many turns a case with a router counts.
const TURNS: usize = 32;
/// The argument that makes this program the one that is counted.
const CHILD: &str = "--counted";

const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/baseline.toml");

const NO_VALGRIND: &str = "\
valgrind is missing; it counts the instructions.
  Debian, Ubuntu:  apt-get install valgrind
  Fedora:          dnf install valgrind
  Alpine:          apk add valgrind
  Arch:            pacman -S valgrind
It runs on Linux. `cargo bench --bench turn` measures the same paths by time, anywhere.";

/// What is counted: does it, and returns how many operations it was.
type Case = fn() -> Result<u32, String>;

const CASES: [(&str, Case); 14] = [
    ("parse_get", parse_get),
    ("parse_set", parse_set),
    ("select_ring_100", select_ring_100),
    ("turn_get", || turns(THREE_SERVERS, 1, Ask::Get(1))),
    ("turn_get_set", || turns(THREE_SERVERS, 1, Ask::GetOrSet)),
    ("turn_get_16_deep", || turns(THREE_SERVERS, 16, Ask::Get(1))),
    ("turn_set_16_deep", || turns(THREE_SERVERS, 16, Ask::Set)),
    ("turn_mg_16_deep", || turns(THREE_SERVERS, 16, Ask::MetaGet)),
    ("turn_get_20_keys", || turns(THREE_SERVERS, 1, Ask::Get(20))),
    ("turn_mg", || turns(THREE_SERVERS, 1, Ask::MetaGet)),
    ("turn_mg_opaque", || {
        turns(THREE_SERVERS, 1, Ask::MetaGetOpaque)
    }),
    ("turn_failover", || turns(WITH_FAILOVER, 1, Ask::Get(1))),
    ("turn_shadow", || turns(WITH_SHADOW, 1, Ask::Get(1))),
    ("turn_all_sync", || turns(ALL_SYNC, 1, Ask::Get(1))),
];

fn parse_get() -> Result<u32, String> {
    let mut rng = Rng::new(1);
    parse(|| format!("get {}\r\n", rng.key()).into_bytes())
}

fn parse_set() -> Result<u32, String> {
    let mut rng = Rng::new(2);
    parse(|| {
        let key = rng.key();
        let mut request = format!("set {key} 0 0 100\r\n").into_bytes();
        value(key.as_bytes(), &mut request);
        request.extend_from_slice(b"\r\n");
        request
    })
}

fn parse(mut request: impl FnMut() -> Vec<u8>) -> Result<u32, String> {
    let limits = Limits::default();
    for _ in 0..OPERATIONS {
        let request = request();
        std::hint::black_box(metered::metered_parse(&request, &limits));
    }
    Ok(OPERATIONS)
}

fn select_ring_100() -> Result<u32, String> {
    let servers: Vec<String> = (0..100).map(|i| format!("\"10.0.0.{i}:11211\"")).collect();
    let text = format!("[pools.cache]\nservers = [{}]", servers.join(", "));
    let (config, _) = config::parse("bench", &text).map_err(|errors| errors.to_string())?;
    let snapshot = Snapshot::compile(&config).map_err(|error| error.to_string())?;
    let pool = snapshot.pools.first().ok_or("no pool")?;
    let selector = pool.selector.as_ref().ok_or("no servers")?;
    let mut rng = Rng::new(3);
    for _ in 0..OPERATIONS {
        let key = rng.key();
        std::hint::black_box(metered::metered_select(selector, key.as_bytes()));
    }
    Ok(OPERATIONS)
}

/// 50 clients that each send `depth` requests per turn.
fn turns(config: &str, depth: usize, ask: Ask) -> Result<u32, String> {
    let load = Load::new(50, depth, ask);
    let mut router = Router::new(config, &load)?;
    router.count();
    for turn in load.turns().take(TURNS) {
        router.turn(turn)?;
    }
    Ok((load.requests * TURNS) as u32)
}

fn main() -> ExitCode {
    let mut args: Vec<String> = env::args().skip(1).collect();
    let bench = take(&mut args, "--bench");
    let child = take(&mut args, CHILD);
    let update = take(&mut args, "--update");
    if let Some(unknown) = args.iter().find(|arg| arg.starts_with('-')) {
        eprintln!("unknown option {unknown}; there is --update, and names of cases");
        return ExitCode::from(2);
    }
    let wanted = |name: &str| {
        let asked = |arg: &String| {
            if child {
                name == arg
            } else {
                name.contains(arg.as_str())
            }
        };
        args.is_empty() || args.iter().any(asked)
    };
    let cases: Vec<(&str, Case)> = CASES.into_iter().filter(|(name, _)| wanted(name)).collect();
    let done = if cases.is_empty() {
        Err(format!("no case has {} in its name", args.join(" or ")))
    } else if child || !bench {
        // Counted, or a test run: whether every case works.
        cases.iter().try_for_each(|(name, case)| {
            let operations = case().map_err(|error| format!("{name}: {error}"))?;
            println!("{name} {operations}");
            Ok(())
        })
    } else {
        measure(&cases, update)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn take(args: &mut Vec<String>, flag: &str) -> bool {
    let before = args.len();
    args.retain(|arg| arg != flag);
    args.len() < before
}

fn measure(cases: &[(&str, Case)], update: bool) -> Result<(), String> {
    let valgrind = find("valgrind").ok_or(NO_VALGRIND)?;
    let baseline = match Baseline::read() {
        // What can't be read is replaced, be it the remains of a merge.
        Err(_) if update => Baseline::default(),
        read => read?,
    };
    let here = Origin::here()?;
    println!("instructions per request ({here})");
    println!("{:<18} {:>9} {:>9} {:>8}", "", "now", "baseline", "change");
    let mut counts = Vec::new();
    for (name, _) in cases {
        let count = count(&valgrind, name)?;
        match baseline.get(name) {
            Some(before) => println!(
                "{name:<18} {count:>9.1} {before:>9.1} {:>+7.1}%",
                change(before, count)
            ),
            None => println!("{name:<18} {count:>9.1} {:>9}", "none"),
        }
        counts.push((*name, count));
    }
    if update {
        return baseline.update(here, &counts);
    }
    baseline.judge(&here, &counts)
}

/// Growth in percent.
fn change(before: f64, now: f64) -> f64 {
    (now / before - 1.0) * 100.0
}

/// Runs a case under callgrind and returns its instructions per operation, rounded as the baseline is.
fn count(valgrind: &Path, name: &str) -> Result<f64, String> {
    let failed = |what: &str| format!("{name}: {what}");
    let program = env::current_exe().map_err(|error| failed(&error.to_string()))?;
    let (Some(folder), Some(file)) = (program.parent(), program.file_name()) else {
        return Err(failed("the program has no path"));
    };
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.out.{name}"));
    let mut out_file = std::ffi::OsString::from("--callgrind-out-file=");
    out_file.push(&profile);
    // Environment, arguments and program name lie at the bottom of the stack and move what is above them,
    // and code that copies and searches goes by addresses. So they are the same everywhere.
    let output = Command::new(valgrind)
        .arg("--tool=callgrind")
        .arg("--collect-atstart=no")
        .arg("--toggle-collect=*metered_*")
        .arg(out_file)
        .arg(Path::new(".").join(file))
        .args([CHILD, name])
        .env_clear()
        .current_dir(folder)
        .output()
        .map_err(|error| failed(&format!("valgrind can't be started: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let operations = said
        .lines()
        .find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok());
    let (true, Some(operations)) = (output.status.success(), operations) else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        return Err(failed(&format!(
            "the counted program failed ({})\n{said}{complaint}",
            output.status
        )));
    };
    let text = fs::read_to_string(&profile)
        .map_err(|error| failed(&format!("{}: {error}", profile.display())))?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok())
        .filter(|total| *total > 0)
        .ok_or_else(|| failed("callgrind counted nothing"))?;
    Ok((total as f64 / f64::from(operations) * 10.0).round() / 10.0)
}

/// A program of the search path.
fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// What counts depend on besides ringroad's source.
#[derive(PartialEq)]
struct Origin {
    rustc: String,
    processor: String,
}

impl Origin {
    fn here() -> Result<Origin, String> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(&rustc)
            .arg("--version")
            .output()
            .map_err(|error| format!("{}: {error}", rustc.display()))?;
        #[cfg(target_arch = "x86_64")]
        let avx2 = std::is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        let avx2 = false;
        Ok(Origin {
            rustc: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            processor: format!(
                "{}{}",
                env::consts::ARCH,
                if avx2 { " with AVX2" } else { "" }
            ),
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}", self.rustc, self.processor)
    }
}

/// The committed counts.
#[derive(Default)]
struct Baseline {
    made_with: Option<Origin>,
    counts: Vec<(String, f64)>,
}

impl Baseline {
    fn read() -> Result<Baseline, String> {
        let text = match fs::read_to_string(BASELINE) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Baseline::default()),
            Err(error) => return Err(format!("{BASELINE}: {error}")),
        };
        let table: Table = text
            .parse()
            .map_err(|error| format!("{BASELINE}: {error}"))?;
        let word = |key: &str| {
            let word = table.get(key).and_then(Value::as_str);
            word.map(str::to_owned)
                .ok_or(format!("{BASELINE}: {key:?} is missing"))
        };
        let counts = table.get("instructions").and_then(Value::as_table);
        let counts = counts.ok_or(format!("{BASELINE}: [instructions] is missing"))?;
        Ok(Baseline {
            made_with: Some(Origin {
                rustc: word("rustc")?,
                processor: word("processor")?,
            }),
            counts: counts
                .iter()
                .filter_map(|(name, count)| Some((name.clone(), count.as_float()?)))
                .collect(),
        })
    }

    fn get(&self, name: &str) -> Option<f64> {
        let found = self.counts.iter().find(|(known, _)| known == name);
        found.map(|(_, count)| *count)
    }

    /// The gate.
    fn judge(&self, here: &Origin, counts: &[(&str, f64)]) -> Result<(), String> {
        let Some(made_with) = &self.made_with else {
            return Err(format!(
                "There is no {BASELINE}; make one with `cargo bench --bench counts -- --update`."
            ));
        };
        if made_with != here {
            println!(
                "\nNOTE: nothing is compared. The baseline was made with {made_with}, this is {here}.\n\
                 If this is what CI has from now on, `cargo bench --bench counts -- --update`."
            );
            return Ok(());
        }
        let mut grown = String::new();
        for (name, count) in counts {
            match self.get(name) {
                None => _ = writeln!(grown, "  {name}: not in the baseline"),
                Some(before) if change(before, *count) > TOLERANCE => {
                    let by = change(before, *count);
                    _ = writeln!(grown, "  {name}: {before:.1} to {count:.1}, {by:+.1}%");
                }
                Some(before) if change(before, *count) < -TOLERANCE => println!(
                    "{name} has become cheaper: `cargo bench --bench counts -- --update` keeps it so."
                ),
                Some(_) => {}
            }
        }
        if grown.is_empty() {
            println!("\nAll within {TOLERANCE}% of {BASELINE}.");
            return Ok(());
        }
        Err(format!(
            "\nMore instructions per request than {BASELINE} allows ({TOLERANCE}% above it):\n{grown}\
             Where they went: callgrind_annotate {}/callgrind.out.NAME\n\
             If this is the price of something that is worth it, `cargo bench --bench counts -- --update`,\n\
             and commit the new baseline together with its reason.",
            env!("CARGO_TARGET_TMPDIR")
        ))
    }

    /// Writes `counts` over the baseline. Others stay, unless they were made with something else.
    fn update(self, here: Origin, counts: &[(&str, f64)]) -> Result<(), String> {
        let same = self.made_with.as_ref() == Some(&here);
        let mut text = format!(
            "# Instructions per request, counted by `cargo bench --bench counts`, which fails when one of them\n\
             # grows by more than {TOLERANCE}%. Written by `cargo bench --bench counts -- --update`; a commit that\n\
             # changes a figure says why.\n\
             rustc = \"{}\"\nprocessor = \"{}\"\n\n[instructions]\n",
            here.rustc, here.processor
        );
        for (name, _) in CASES {
            let counted = counts.iter().find(|(counted, _)| *counted == name);
            let kept = self.get(name).filter(|_| same);
            match counted.map(|(_, count)| *count).or(kept) {
                Some(count) => _ = writeln!(text, "{name} = {count:.1}"),
                None => {
                    return Err(format!(
                        "{name} is not counted and not in a baseline of this compiler: update all cases at once"
                    ));
                }
            }
        }
        fs::write(BASELINE, text).map_err(|error| format!("{BASELINE}: {error}"))?;
        println!("\nWritten to {BASELINE}.");
        Ok(())
    }
}
