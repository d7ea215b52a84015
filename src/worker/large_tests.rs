//! Large values pass through a worker without being copied.

use std::sync::Arc;

use super::buf::Lent;
use super::core::Core;
use super::played::{self, Shared, connects, sent as server_reads};
use crate::client::replies::Shape;
use crate::config::{Config, Pool, Server, ServerAddr};
use crate::route::compile::Snapshot;

/// A core with one server that is connected, and a client.
fn connected() -> (Core, u32, u32) {
    let server = Server::new(ServerAddr::Tcp(([127, 0, 0, 1], 1).into()));
    let config = Config::single_pool(Vec::new(), Pool::new("pool", vec![server]));
    let snapshot = Arc::new(Snapshot::compile(&config).unwrap());
    let mut core = played::core(snapshot, &Shared::default());
    let client = core.client_opened();
    core.client_bytes(client, b"get warm\r\n");
    let conn = core.todo.connect.pop().unwrap();
    connects(&mut core, conn);
    assert_eq!(server_reads(&mut core, conn), b"get warm\r\n");
    core.conn_bytes(conn, b"END\r\n");
    assert_eq!(client_reads(&mut core, client), b"END\r\n");
    (core, client, conn)
}

fn client_reads(core: &mut Core, client: u32) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(piece) = core.replies.client(client).map(|c| c.out.pending())
        && !piece.is_empty()
    {
        read.extend_from_slice(piece);
        let n = piece.len();
        core.client_wrote(client, n);
    }
    read
}

fn users(lent: &Lent) -> usize {
    Arc::strong_count(lent) - 1
}

/// The answer to `get big`, as it is read: in buffers of 64 KiB.
fn reads(len: usize) -> (Vec<u8>, Vec<Lent>) {
    let mut wire = format!("VALUE big 0 {len}\r\n").into_bytes();
    wire.extend((0..len).map(|i| i as u8));
    wire.extend_from_slice(b"\r\nEND\r\n");
    let reads = wire
        .chunks(65_536)
        .map(|c| Arc::new(c.to_vec().into()))
        .collect();
    (wire, reads)
}

#[test]
fn a_large_value_goes_from_the_buffer_it_was_read_into_to_the_client() {
    for len in [32 * 1024, 60_000, 200_000] {
        let (mut core, client, conn) = connected();
        core.client_bytes(client, b"get big\r\n");
        server_reads(&mut core, conn);
        let (wire, reads) = reads(len);
        for read in &reads {
            core.lend(read);
            core.conn_bytes(conn, read);
            assert_eq!(
                users(read),
                usize::from(read.len() > 40_000 || len == 32 * 1024)
            );
        }
        assert_eq!(client_reads(&mut core, client), wire);
        assert!(reads.iter().all(|read| users(read) == 0), "given back");
    }
}

#[test]
fn a_large_value_that_waits_for_its_turn_is_not_copied_either() {
    let (mut core, client, _) = connected();
    let first = core.replies.begin(client, Shape::Get, 1);
    let second = core.replies.begin(client, Shape::Get, 1);
    let part: Lent = Arc::new(vec![b'x'; 50_000].into());
    core.replies.start(second, part.len() + 2);
    core.replies.chunk(second, &part, Some(&part));
    core.replies.chunk(second, b"\r\n", Some(&part));
    core.replies.end(second);
    assert_eq!(users(&part), 1);
    core.replies.miss(first);
    assert_eq!(users(&part), 1);
    let read = client_reads(&mut core, client);
    assert!(read.starts_with(b"END\r\nxxx") && read.ends_with(b"xx\r\nEND\r\n"));
    assert_eq!(users(&part), 0);
}

#[test]
fn a_large_set_goes_from_the_buffer_it_was_read_into_to_the_server() {
    let (mut core, client, conn) = connected();
    let mut set = b"set big 0 0 50000\r\n".to_vec();
    set.resize(set.len() + 50_000, b'x');
    set.extend_from_slice(b"\r\nget warm\r\n");
    let read: Lent = Arc::new(set.into());
    core.lend(&read);
    core.client_bytes(client, &read);
    assert_eq!(users(&read), 1);
    assert_eq!(server_reads(&mut core, conn), **read);
    assert_eq!(users(&read), 0);
}

#[test]
fn a_set_of_several_reads_is_read_into_its_place() {
    let (mut core, client, conn) = connected();
    let mut set = b"set big 0 0 300000\r\n".to_vec();
    set.resize(set.len() + 300_000, b'x');
    set.extend_from_slice(b"\r\n");
    let (first, rest) = set.split_at(65_536);
    core.client_bytes(client, first);
    let (block, missing) = core.client_block(client).unwrap();
    assert_eq!(missing, rest.len());
    assert!(block.capacity() >= set.len(), "all of it has room");
    let place = block.as_ptr();
    block.extend_from_slice(&rest[..100_000]);
    core.client_block_bytes(client, 100_000);
    let (block, missing) = core.client_block(client).unwrap();
    assert_eq!((block.as_ptr(), missing), (place, rest.len() - 100_000));
    block.extend_from_slice(&rest[100_000..]);
    core.client_block_bytes(client, missing);
    assert_eq!(core.conn_out(conn).1.unwrap().len(), set.len());
    assert_eq!(server_reads(&mut core, conn), set);
    core.client_bytes(client, b"get warm\r\n");
    assert_eq!(server_reads(&mut core, conn), b"get warm\r\n");
}

#[test]
fn small_blocks_and_clients_that_are_held_up_are_read_as_usual() {
    let (mut core, client, _) = connected();
    assert!(core.client_block(client).is_none());
    core.client_bytes(client, b"set small 0 0 20000\r\nxxx");
    assert!(core.client_block(client).is_none());
}
