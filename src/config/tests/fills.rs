//! Rules that fill one cache from another, stand around one child or go by key or host: any of them, for the tests of what
//! is printed.

use super::super::*;
use proptest::collection::vec;
use proptest::prelude::*;

/// Any of them; it has at most as many children as it needs.
pub(super) fn fill() -> impl Strategy<Value = Rule> {
    let ttl = 0u32..=2_592_000;
    let scalar = prop_oneof![
        (Just(Field::Key), "[a-z\"é]{0,5}".prop_map(Scalar::Text)),
        (Just(Field::Exptime), any::<i64>().prop_map(Scalar::Number)),
    ];
    let condition = (scalar, any::<bool>()).prop_map(|((field, scalar), differs)| {
        let (equals, differs) = match differs {
            true => (Vec::new(), vec![scalar]),
            false => (vec![scalar.clone(), scalar], Vec::new()),
        };
        Condition {
            field,
            equals,
            differs,
        }
    });
    let share = |range: std::ops::Range<u32>| range.prop_map(Millionths);
    prop_oneof![
        (ttl.clone(), ttl.clone(), any::<u32>()).prop_map(
            |(exptime, miss_exptime, miss_period)| Rule::Levels(Levels {
                exptime,
                miss_exptime,
                miss_period,
            })
        ),
        (
            0usize..1 << 30,
            ttl.clone(),
            1u32..=2_592_000,
            any::<bool>(),
            1u32..=10
        )
            .prop_map(
                |(threshold, ttl_threshold, failure_ttl, both, retries)| Rule::Sizes(Sizes {
                    threshold,
                    ttl_threshold,
                    failure_ttl,
                    both,
                    retries,
                })
            ),
        (0u64..1 << 40, 1u32..=31_536_000)
            .prop_map(|(start, interval)| Rule::Migrate(Migrate { start, interval })),
        (
            share(0..500_000),
            share(500_000..1_000_001),
            share(1..1_000_000),
            share(1..100_000_000),
            any::<u32>()
        )
            .prop_map(
                |(enable, disable, start, step, min_requests)| Rule::SlowWarmUp(SlowWarmUp {
                    enable,
                    disable,
                    start,
                    step,
                    min_requests,
                })
            ),
        (
            [0u32..=3_600_000, 0u32..=3_600_000, 0u32..=3_600_000],
            proptest::collection::btree_map(0u32..=100_000_000, 0u32..=3_600_000, 0..3)
        )
            .prop_map(|([before, after, total], percentiles)| {
                let percentiles = percentiles.into_iter();
                Rule::Latency(Latency {
                    before,
                    after,
                    total,
                    percentiles: percentiles.map(|(at, ms)| (Millionths(at), ms)).collect(),
                })
            }),
        vec(condition, 0..3).prop_map(Rule::Blackhole),
        any::<u32>().prop_map(Rule::Client),
        (1u32..=1000, "[a-z\"é]{0,5}", vec(share(0..1_000_001), 0..3)).prop_map(
            |(count, salt, weights)| Rule::Latest(Latest {
                count,
                salt,
                weights,
                failover: Failover {
                    max_tries: count.checked_sub(1).filter(|tries| *tries > 0),
                    lease_pairing: count % 2 == 0,
                    ..Failover::DEFAULT
                },
            })
        ),
        (
            1u32..=1000,
            any::<bool>(),
            vec(share(0..1_000_001), 0..3),
            vec(any::<u32>(), 0..3)
        )
            .prop_map(
                |(tries, repeats_normal, weights, domains)| Rule::KeyedFailover(KeyedFailover {
                    failover: Failover {
                        exptime: 5,
                        lease_pairing: repeats_normal,
                        ..Failover::DEFAULT
                    },
                    order: KeyOrder::Draws(Draws {
                        max_tries: tries,
                        max_error_tries: 1001 - tries,
                        excluded: Verdicts::NONE.with(Verdict::Busy),
                        weights,
                        domains,
                        repeats_normal,
                    }),
                })
            ),
        ("[a-z\"é]{0,5}", 1u32..=1000).prop_map(|(salt, tries)| Rule::Balance { salt, tries }),
        (1u32..=1_000_000).prop_map(Rule::Outstanding),
    ]
}
