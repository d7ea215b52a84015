//! Clients: their requests in order, and the replies put together in that order. No sockets, no routes.

mod answers;
pub mod replies;
mod request;
