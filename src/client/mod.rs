//! Clients: their requests in order, and the replies put together in that order. No sockets, no routes.

pub mod replies;
