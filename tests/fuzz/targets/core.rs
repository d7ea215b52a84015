//! A whole router without sockets, between arbitrary clients and arbitrary servers.
//!
//! The input is a script, one step a line; its first byte chooses the router's configuration. `0` to `3` and text
//! (written as for [`expand`]): that client sends it. `A` to `C` and text: that server says it, whatever it was
//! asked; `a` to `c`: it accepts connections and answers truthfully. The rest is below, in [`step`].
//! `src/world.rs` has what must hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ringroad_fuzz::expand;
use ringroad_fuzz::world::World;

/// Longer scripts find nothing more and take long.
const STEPS: usize = 60;

fn step(world: &mut World, line: &[u8]) {
    let Some((letter, text)) = line.split_first() else {
        return;
    };
    // A client or a server, or an amount.
    let number = text
        .first()
        .map_or(0, |digit| usize::from(digit.wrapping_sub(b'0')));
    match letter {
        b'0'..=b'3' => world.client_sends(usize::from(letter - b'0'), &expand(text)),
        b'A'..=b'C' => world.server_says(usize::from(letter - b'A'), &expand(text)),
        b'a'..=b'c' => {
            world.server_accepts(usize::from(letter - b'a'));
            world.server_answers(usize::from(letter - b'a'));
        }
        b'e' => world.client_ends(number % 4),
        b'v' => world.client_vanishes(number % 4),
        b's' => world.client_reads(number % 4, false),
        b'g' => world.client_reads(number % 4, true),
        b'd' => world.server_drops(number % 3),
        b'n' => world.server_refuses(number % 3, true),
        b'y' => world.server_refuses(number % 3, false),
        b'r' => world.reload(number),
        b't' => world.pass(number as u64 * 100),
        _ => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let (router, script) = data.split_first().unwrap_or((&b'0', b""));
    let mut world = World::new(usize::from(router.wrapping_sub(b'0')));
    for line in script.split(|byte| *byte == b'\n').take(STEPS) {
        step(&mut world, line);
    }
    world.check();
});
