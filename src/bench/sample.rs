//! The random choices of the load generator: which key, which command, which value size.
//!
//! Everything here is seeded, so that the same arguments give the same stream of requests on every
//! connection. Nothing allocates after construction, and nothing costs more than a few nanoseconds
//! except the Zipf sampler (two logarithms and an exponential).
//!
//! This module knows nothing of keys' text, of the protocol or of connections.

/// A small, fast, seeded generator (SplitMix64): good enough to spread load, not for secrets.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// A generator; close seeds give unrelated streams.
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, evenly spread; 0 when `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in (0, 1].
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// How often each key is asked for.
#[derive(Debug, Clone)]
pub(super) enum Popularity {
    /// Every key equally often.
    Uniform(u64),
    /// Key `i` in proportion to `1 / (i + 1)^theta`.
    Zipf(Zipf),
}

impl Popularity {
    /// A key number.
    pub(super) fn sample(&self, rng: &mut Rng) -> u64 {
        match self {
            Self::Uniform(count) => rng.below(*count),
            Self::Zipf(zipf) => zipf.sample(rng),
        }
    }
}

/// Zipf-distributed ranks by rejection-inversion (W. Hörmann, G. Derflinger, "Rejection-inversion to
/// generate variates from monotone discrete distributions", 1996): constant memory for any number of
/// keys, any exponent above 0, and more than one draw only rarely.
#[derive(Debug, Clone)]
pub(super) struct Zipf {
    count: f64,
    theta: f64,
    high: f64,
    low: f64,
    accept: f64,
}

impl Zipf {
    /// Ranks below `count` with exponent `theta` (> 0).
    pub(super) fn new(count: u64, theta: f64) -> Self {
        let mut zipf = Self {
            count: count.max(1) as f64,
            theta,
            high: 0.0,
            low: 0.0,
            accept: 0.0,
        };
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.accept = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.density(2.0));
        zipf
    }

    fn sample(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.high + rng.unit() * (self.low - self.high);
            let x = self.inverse(u);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.accept || u >= self.integral(rank + 0.5) - self.density(rank) {
                return rank as u64 - 1;
            }
        }
    }

    /// `x^-theta`.
    fn density(&self, x: f64) -> f64 {
        (-self.theta * x.ln()).exp()
    }

    /// Antiderivative of the density, in a form that stays exact around `theta` = 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.theta) * log;
        if t.abs() < 1e-8 {
            log * (1.0 + t / 2.0)
        } else {
            log * t.exp_m1() / t
        }
    }

    /// The inverse of [`integral`](Self::integral).
    fn inverse(&self, y: f64) -> f64 {
        let t = (y * (1.0 - self.theta)).max(-1.0);
        if t.abs() < 1e-8 {
            (y * (1.0 - t / 2.0)).exp()
        } else {
            (y * t.ln_1p() / t).exp()
        }
    }
}

/// A choice among a few things with weights.
#[derive(Debug, Clone)]
pub(super) struct Weighted<T> {
    // The sums of the weights up to and including each item.
    items: Vec<(u64, T)>,
    total: u64,
    only: Option<T>,
}

impl<T: Copy> Weighted<T> {
    /// A choice among `items`; `None` when no weight is above 0.
    pub(super) fn new(items: &[(T, u32)]) -> Option<Self> {
        let mut total = 0_u64;
        let items: Vec<_> = items
            .iter()
            .filter(|(_, weight)| *weight > 0)
            .map(|&(item, weight)| {
                total += u64::from(weight);
                (total, item)
            })
            .collect();
        let only = match items.as_slice() {
            [] => return None,
            [(_, item)] => Some(*item),
            _ => None,
        };
        Some(Self { items, total, only })
    }

    /// One of the items.
    pub(super) fn sample(&self, rng: &mut Rng) -> Option<T> {
        if self.only.is_some() {
            return self.only;
        }
        let at = rng.below(self.total);
        self.items
            .iter()
            .find(|(sum, _)| at < *sum)
            .map(|&(_, item)| item)
    }

    /// The items that can come up.
    pub(super) fn items(&self) -> impl Iterator<Item = T> + '_ {
        self.items.iter().map(|&(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_covers_every_key_about_equally() {
        let popularity = Popularity::Uniform(10);
        let mut rng = Rng::new(1);
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            seen[popularity.sample(&mut rng) as usize] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }

    #[test]
    fn zipf_matches_its_definition() {
        for theta in [0.5, 0.99, 1.0, 1.3] {
            let count = 1000_u64;
            let zipf = Popularity::Zipf(Zipf::new(count, theta));
            let mut rng = Rng::new(7);
            let draws = 400_000;
            let mut seen = vec![0_u32; count as usize];
            for _ in 0..draws {
                seen[zipf.sample(&mut rng) as usize] += 1;
            }
            let sum: f64 = (1..=count).map(|i| (i as f64).powf(-theta)).sum();
            for rank in [0, 1, 2, 9, 99] {
                let expected = f64::from(draws) * ((rank + 1) as f64).powf(-theta) / sum;
                let got = f64::from(seen[rank]);
                // Six standard deviations of a binomial count: a wrong formula is off by far more.
                let margin = 6.0 * expected.sqrt();
                assert!(
                    (got - expected).abs() < margin,
                    "theta {theta} rank {rank}: {got} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn zipf_with_one_key_always_gives_it() {
        let zipf = Popularity::Zipf(Zipf::new(1, 0.99));
        let mut rng = Rng::new(3);
        assert!((0..1000).all(|_| zipf.sample(&mut rng) == 0));
    }

    #[test]
    fn weights_are_kept_and_zero_means_never() {
        let choice = Weighted::new(&[('a', 90), ('b', 0), ('c', 10)]).unwrap();
        let mut rng = Rng::new(5);
        let mut counts = (0, 0);
        for _ in 0..100_000 {
            match choice.sample(&mut rng) {
                Some('a') => counts.0 += 1,
                Some('c') => counts.1 += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!((89_000..91_000).contains(&counts.0), "{counts:?}");
        assert!(Weighted::<char>::new(&[('a', 0)]).is_none());
        assert_eq!(choice.items().collect::<String>(), "ac");
    }
}
