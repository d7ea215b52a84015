//! Functions that choose by a hash or at random.
//!
//! The numbers are mcrouter's: which server a host prefers must not change when another router reads the same file.

use super::super::findings::Fault;
use super::super::value::{Kind, Value};
use super::{Builtin, Call, Engine, MAY, NEED, Outcome, Param, collections, wrong};
use crate::hash::spooky64;

pub(super) const LIST: &[Builtin] = &[
    Builtin {
        name: "hash",
        params: &[Param("value", NEED)],
        run: |engine, call| {
            let value = engine.arg(call, "value")?;
            let hashed = match &value.kind {
                Kind::Text(text) => spooky64(text.as_bytes(), 0),
                Kind::Int(number) => twang_mix(*number as u64),
                _ => return Err(wrong(call, "value", "a text or a whole number", &value)),
            };
            Ok(Value::int(call.at, hashed as i64))
        },
    },
    Builtin {
        name: "weightedHash",
        params: &[Param("dictionary", NEED), Param("key", NEED)],
        run: weighted_hash,
    },
    Builtin {
        name: "shuffle",
        params: &[Param("dictionary", NEED), Param("seed", MAY)],
        run: shuffle,
    },
];

/// Thomas Wang's mix of 64 bits.
fn twang_mix(key: u64) -> u64 {
    let mut key = (!key).wrapping_add(key << 21);
    key ^= key >> 24;
    key = key.wrapping_add(key << 3).wrapping_add(key << 8);
    key ^= key >> 14;
    key = key.wrapping_add(key << 2).wrapping_add(key << 4);
    key ^= key >> 28;
    key.wrapping_add(key << 31)
}

/// FNV-1 over bytes as signed numbers.
fn fnv64(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        hash.wrapping_mul(0x0000_0100_0000_01b3) ^ i64::from(byte as i8) as u64
    })
}

fn weighted_hash(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let members = collections::object(call, &value)?;
    engine.charge(call.at, u64::from(value.size()))?;
    let key = engine.arg(call, "key")?;
    let key = match &key.kind {
        Kind::Text(text) => spooky64(text.as_bytes(), 0),
        Kind::Int(number) => *number as u64,
        _ => return Err(wrong(call, "key", "a text or a whole number", &key)),
    };
    let mut weights = Vec::new();
    for (name, member) in members {
        let weight = member.value.as_number().filter(|weight| *weight >= 0.0);
        let Some(weight) = weight else {
            return Err(Fault::new(
                member.value.at,
                format!("@weightedHash: the weight of \"{name}\" must be a number from 0 up"),
            ));
        };
        weights.push((name, weight));
    }
    let total: f64 = weights.iter().map(|(_, weight)| weight).sum();
    let mut best: Option<(f64, &std::rc::Rc<str>)> = None;
    for (name, weight) in weights {
        let mixed = twang_mix(fnv64(name).wrapping_add(key));
        let share = weight / total;
        let score = match share > 0.0 {
            true => (mixed as f64 / 18_446_744_073_709_551_616.0).powf(1.0 / share),
            false => 0.0,
        };
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, name));
        }
    }
    match best {
        Some((_, name)) if total > 0.0 => Ok(Value::text(call.at, name.clone())),
        _ => Err(Fault::new(
            call.at,
            "@weightedHash: there is nothing to choose from",
        )),
    }
}

/// The generator minstd_rand of C++.
struct Generator(u64);

impl Generator {
    const MODULUS: u64 = 2_147_483_647;
    /// What a draw is below: the generator never gives 0.
    const RANGE: u64 = Self::MODULUS - 2;

    fn new(seed: u64) -> Generator {
        Generator(match seed % Self::MODULUS {
            0 => 1,
            seed => seed,
        })
    }

    /// A number up to `most`, which is below [`Self::RANGE`].
    fn up_to(&mut self, most: u64) -> u64 {
        let scale = Self::RANGE / (most + 1);
        loop {
            self.0 = self.0 * 48_271 % Self::MODULUS;
            let drawn = (self.0 - 1) / scale;
            if drawn <= most {
                return drawn;
            }
        }
    }
}

/// The order in which `std::shuffle` of GNU's C++ library leaves `count` items: two positions from each draw,
/// as long as the generator's range allows it.
fn shuffled(count: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut generator = Generator::new(seed);
    let many = count as u64;
    if many == 0 {
        return order;
    }
    if Generator::RANGE / many < many {
        for at in 1..count {
            let other = generator.up_to(at as u64) as usize;
            order.swap(at, other);
        }
        return order;
    }
    let mut at = 1;
    if count.is_multiple_of(2) {
        let other = generator.up_to(1) as usize;
        order.swap(at, other);
        at += 1;
    }
    while at + 1 < count {
        let range = at as u64 + 1;
        let drawn = generator.up_to(range * (range + 1) - 1);
        order.swap(at, (drawn / (range + 1)) as usize);
        order.swap(at + 1, (drawn % (range + 1)) as usize);
        at += 2;
    }
    order
}

fn shuffle(engine: &mut Engine<'_, '_>, call: &Call<'_>) -> Outcome {
    let value = engine.arg(call, "dictionary")?;
    let Kind::List(list) = &value.kind else {
        return Err(wrong(call, "dictionary", "a list", &value));
    };
    let seed = match engine.optional(call, "seed")? {
        None => std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |since| u64::from(since.subsec_nanos())),
        Some(seed) => match seed.kind {
            Kind::Int(seed @ 0..) => seed as u64,
            _ => return Err(wrong(call, "seed", "a whole number from 0 up", &seed)),
        },
    };
    let items = list.items();
    let order = shuffled(items.len(), seed).into_iter();
    let items = order.filter_map(|index| items.get(index).cloned());
    engine.list(call.at, items.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_keeps_everything_and_depends_on_the_seed_alone() {
        for count in [0, 1, 2, 3, 10, 11, 1000] {
            for seed in [0, 1, 7, u64::MAX] {
                let order = shuffled(count, seed);
                assert_eq!(order, shuffled(count, seed));
                let mut sorted = order;
                sorted.sort_unstable();
                assert!(sorted.into_iter().eq(0..count));
            }
        }
        assert_ne!(shuffled(50, 1), shuffled(50, 2));
    }
}
