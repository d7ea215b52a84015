//! One worker: a thread with its own connections, request tables and routes, sharing nothing.
//!
//! [`core`] decides, without sockets or clocks; [`driver`] moves bytes between it and the sockets. [`buf`]
//! has the buffers that both work on, [`accept`] hands new connections to the least loaded worker, [`socket`] has the sockets themselves.

pub mod accept;
mod big_value;
mod budget;
pub mod buf;
pub mod core;
mod destinations;
mod dialogue;
mod dialogues;
mod dispatch;
pub mod driver;
mod frame;
mod framed;
mod health;
mod hub;
mod idle;
mod introspect;
#[cfg(test)]
mod large_tests;
mod leases;
mod many;
mod metered;
#[cfg(test)]
mod model_tests;
mod moving;
#[cfg(test)]
mod moving_core_tests;
mod own;
mod permits;
#[cfg(test)]
mod played;
mod ready;
mod rekey;
mod returns;
mod servers;
pub mod socket;
mod ticks;
mod turns;
mod undone;
