//! The arguments, checked against each other and made ready for the threads.
//!
//! A [`Plan`] is what every thread shares, read-only. Anything that could turn out wrong with it turns
//! out here, before the first connection.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::Error;
use super::args::{Args, Distribution, SizeRange};
use super::keys::{KeySpace, Values};
use super::request::{Kind, Writer};
use super::sample::{Popularity, Rng, Weighted, Zipf};
use super::tally::blank_histogram;

/// Requests outstanding per connection while keys are stored, at least, as long as values are small.
const FILL_DEPTH: usize = 32;
/// Bytes of values outstanding while keys are stored: more than that would overrun what a router holds for a
/// server, and be refused.
const FILL_BYTES: usize = 4 << 20;

/// What a run does.
#[derive(Debug)]
pub(super) struct Plan {
    /// Writes the requests; owns the keys and values.
    pub(super) writer: Writer,
    /// Which key is asked for.
    pub(super) popularity: Popularity,
    /// Which kind of request is sent.
    pub(super) mix: Weighted<Kind>,
    /// Which size a stored value has.
    sizes: Weighted<SizeRange>,
    /// Client connections of all threads.
    pub(super) connections: usize,
    /// Requests outstanding per connection.
    pub(super) depth: usize,
    /// The same while keys are stored.
    pub(super) fill_depth: usize,
    /// Threads.
    pub(super) threads: usize,
    /// Keys per get.
    pub(super) multi: usize,
    /// Whether values are verified.
    pub(super) check: bool,
    /// Seed of all random choices.
    pub(super) seed: u64,
    /// How long a connection may be silent with requests outstanding.
    pub(super) timeout: Duration,
    /// Requests per second of all threads together.
    pub(super) rate: Option<u64>,
    /// An empty histogram to copy.
    pub(super) blank: Histogram<u64>,
}

impl Plan {
    /// Checks `args`.
    ///
    /// # Errors
    /// [`Error::Usage`] when they contradict each other.
    pub(super) fn new(args: &Args) -> Result<Self, Error> {
        let usage = |text: String| Err(Error::Usage(text));
        let keys = KeySpace::new(&args.key_prefix, args.key_size, args.keys)?;
        let least = Values::least_checkable(args.key_size);
        if args.check && args.value_size.least() < least {
            return usage(format!(
                "--check needs values of at least {least} bytes, which hold the key and a checksum; raise --value-size"
            ));
        }
        if args.threads > args.connections {
            return usage(format!(
                "--threads {} with --connections {}: every thread needs a connection",
                args.threads, args.connections
            ));
        }
        if args.timeout.is_zero() {
            return usage("--timeout must be above 0".into());
        }
        if args.duration.is_zero() && args.requests.is_none() {
            return usage("--duration must be above 0".into());
        }
        let mix = Weighted::new(&args.mix.0);
        let sizes = Weighted::new(&args.value_size.0);
        let (Some(mix), Some(sizes)) = (mix, sizes) else {
            return usage("--mix and --value-size need a weight above 0".into());
        };
        if args.multi > 1 && !mix.items().any(|k| matches!(k, Kind::Get | Kind::Gets)) {
            return usage("--multi counts the keys of get and gets, which --mix leaves out".into());
        }
        let values = Values::new(args.value_size.most(), keys.key_len());
        let popularity = match args.distribution {
            Distribution::Uniform => Popularity::Uniform(keys.count()),
            Distribution::Zipf(theta) => Popularity::Zipf(Zipf::new(keys.count(), theta)),
        };
        Ok(Self {
            writer: Writer { keys, values },
            popularity,
            mix,
            sizes,
            connections: args.connections,
            depth: args.depth,
            fill_depth: fill_depth(args),
            threads: args.threads,
            multi: args.multi,
            check: args.check,
            seed: args.seed,
            timeout: args.timeout,
            rate: args.rate,
            blank: blank_histogram()?,
        })
    }

    /// The size of the next value to store, in bytes.
    pub(super) fn value_size(&self, rng: &mut Rng) -> usize {
        match self.sizes.sample(rng) {
            Some(range) if range.least < range.most => {
                let span = (range.most - range.least) as u64 + 1;
                range.least + rng.below(span) as usize
            }
            Some(range) => range.least,
            None => 0,
        }
    }

    /// Whether the run touches ordinary values.
    pub(super) fn uses_data(&self) -> bool {
        self.mix.items().any(|kind| kind != Kind::Incr)
    }

    /// Whether the run touches counters.
    pub(super) fn uses_counters(&self) -> bool {
        self.mix.items().any(|kind| kind == Kind::Incr)
    }
}

/// How many requests are outstanding per connection while keys are stored.
fn fill_depth(args: &Args) -> usize {
    let each = args.connections.max(1) * args.value_size.most().max(1);
    args.depth.max((FILL_BYTES / each).min(FILL_DEPTH)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn large_values_are_stored_a_few_at_a_time() {
        use clap::Parser as _;
        let depth = |line: &str| {
            let words = std::iter::once("bench").chain(line.split_whitespace());
            fill_depth(&Cli::try_parse_from(words).unwrap().args)
        };
        assert_eq!(depth(""), FILL_DEPTH);
        assert_eq!(depth("--depth 100"), 100);
        assert_eq!(depth("-c 4 --value-size 64k"), 16);
        assert_eq!(depth("-c 4 --value-size 900k"), 1);
        assert_eq!(depth("-c 50 --value-size 100=9,1m=1"), 1);
        assert_eq!(depth("--value-size 0"), FILL_DEPTH);
    }
}
