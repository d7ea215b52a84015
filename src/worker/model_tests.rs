//! The worker's core against a model: clients, memcacheds and a network that are simulated.
//!
//! A run is drawn by proptest ([`plan`]): requests, turns of the event loop, faults, reloads, time. Bytes
//! travel in random pieces, in a random order ([`sim`]). Every client checks every byte it gets ([`client`]):
//! replies come in the order of the requests, one each, well-formed; a value is of the key that was asked
//! for; an error or a false miss only if a server of that key had a fault meanwhile; and of its own keys it
//! knows what they must hold ([`oracle`]), exactly if nothing went wrong. After the faults have ended,
//! everything must be answered, every server be in service again, and nothing be left in any table.
//!
//! `MODEL_CASES=50000 cargo test --release --lib model_tests` runs for longer.

mod big_values;
mod cases;
mod checks;
mod client;
mod env;
mod memcached;
mod moving;
mod oracle;
mod plan;
mod requests;
mod servers;
mod sim;

use std::cell::Cell;

use proptest::test_runner::{Config as Runs, TestRunner};

use plan::{Act, Rng, Setup, Step, What};
use sim::Sim;

/// Runs in `cargo test`.
const CASES: u32 = 200;

thread_local! {
    static SHRINKING: Cell<bool> = const { Cell::new(false) };
}

fn run(setup: Setup, steps: Vec<Step>) {
    let timeout = setup.timeout();
    let mut rng = Rng(setup.seed);
    let mut sim = Sim::new(setup);
    for step in steps {
        match step {
            Step::Request { client, what, seed } => sim.ask(client, what, &mut Rng(seed)),
            Step::Turns { count, seed } => {
                let mut rng = Rng(seed);
                for _ in 0..count {
                    sim.turn(&mut rng);
                }
            }
            Step::Fault {
                server,
                fault,
                seed,
            } => sim.fault(server, fault, &mut Rng(seed)),
            Step::Pass(thousandths) => {
                if sim.env.setup.faults {
                    sim.pass(timeout * thousandths / 1000, &mut rng);
                }
            }
            Step::Reload(variant) => sim.reload(variant),
            Step::Client { client, act, seed } => sim.act(client, act, &mut Rng(seed)),
        }
    }
    sim.heal();
    sim.settle(&mut rng);
    sim.be_strict();
    for index in 0..sim.clients.len() {
        sim.assume_nothing(index);
        for _ in 0..3 {
            let key = sim.clients[index].own_key(rng.below(9));
            for what in [What::Set, What::Get, What::MetaSet, What::MetaGet] {
                sim.converse(index, what, key.clone(), &mut rng);
            }
        }
    }
    // Several at once may meet a bound again.
    sim.env.strict = false;
    let drains = rng.one_in(3);
    for index in 0..sim.clients.len() {
        for _ in 0..5 {
            sim.ask(index, What::Get, &mut rng);
        }
        let leave = [
            Act::Quit,
            Act::HalfClose,
            Act::Vanish,
            Act::VanishMidRequest,
        ];
        let act = *rng.pick(&leave);
        if !drains {
            sim.act(index, act, &mut rng);
        }
    }
    sim.turn(&mut rng);
    if drains {
        sim.drain();
        sim.settle(&mut rng);
        assert!(sim.clients.is_empty(), "not all were taken leave of");
    }
    sim.check_empty(&mut rng);
}

#[test]
fn the_core_behaves_like_one_memcached_that_never_mixes_anything_up() {
    let cases = std::env::var("MODEL_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    let runs = Runs {
        cases: cases.unwrap_or(CASES),
        max_shrink_iters: 4000,
        max_shrink_time: 120_000,
        failure_persistence: None,
        ..Runs::default()
    };
    // While a failure shrinks, each panic would be printed, thousands of times.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !SHRINKING.get() {
            print(info);
        }
    }));
    let outcome = TestRunner::new(runs).run(&(plan::setup(), plan::steps()), |(setup, steps)| {
        SHRINKING.set(true);
        run(setup, steps);
        Ok(())
    });
    SHRINKING.set(false);
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
