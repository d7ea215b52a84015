"""pylibmc, that is libmemcached: with the behaviours people switch on, and with its own ketama over three endpoints.

The binary protocol is not spoken by ringroad; such a client must get an error at once, not hang.
"""

import threading
import time

import pylibmc
import pytest

from support import HOST, PORT, PORTS, SIZES, TARGET, key, keys, until, value

BEHAVIOURS = {
    "plain": (1, {}),
    "cas": (1, {"cas": True}),
    "no_delay": (1, {"tcp_nodelay": True, "tcp_keepalive": True}),
    "no_block": (1, {"no_block": True}),
    "ketama": (3, {"ketama": True, "cas": True}),
}


@pytest.fixture(params=list(BEHAVIOURS))
def client(request):
    count, behaviours = BEHAVIOURS[request.param]
    made = pylibmc.Client(
        [f"{HOST}:{port}" for port in PORTS[:count]],
        behaviors={"connect_timeout": 10000, "receive_timeout": 30000000, "send_timeout": 30000000, **behaviours},
    )
    yield made
    made.disconnect_all()


@pytest.mark.parametrize("size", SIZES)
def test_values_of_any_size_come_back(client, size):
    k = key()
    assert client.set(k, value(size))
    assert client.get(k) == value(size)


def test_a_too_large_value_is_refused_and_the_connection_lives(client):
    k = key()
    with pytest.raises(pylibmc.Error):
        client.set(k, value(1024 * 1024 + 10))
    assert client.set(k, "new")
    assert client.get(k) == "new"


def test_compression(client):
    k = key()
    assert client.set(k, "compress me " * 10000, min_compress_len=100)
    assert client.get(k) == "compress me " * 10000


def test_add_replace_append_prepend_delete(client):
    k = key()
    assert not client.replace(k, "0")
    assert client.add(k, "1")
    assert not client.add(k, "2")
    assert client.replace(k, "3")
    assert client.append(k, "4")
    assert client.prepend(k, "2")
    assert client.get(k) == "234"
    assert client.delete(k)
    assert not client.delete(k)
    assert client.get(k) is None


@pytest.mark.parametrize("count", [1, 3])
def test_cas(count):
    client = pylibmc.Client([f"{HOST}:{port}" for port in PORTS[:count]], behaviors={"cas": True})
    k = key()
    client.set(k, 1)
    seen, cas = client.gets(k)
    assert seen == 1
    assert client.cas(k, 2, cas)
    assert not client.cas(k, 3, cas)
    assert client.get(k) == 2


def test_incr_and_decr(client):
    k = key()
    with pytest.raises(pylibmc.NotFound):
        client.incr(k)
    client.set(k, 20)
    assert client.incr(k) == 21
    assert client.decr(k, 100) == 0


def test_multi_of_1000_keys(client):
    present = keys(1000)
    expected = {k: k * 3 for k in present}
    assert client.set_multi(expected) == []
    assert client.get_multi(present + keys(100, "missing")) == expected
    assert client.delete_multi(present)
    assert client.get_multi(present) == {}


def test_expiry_and_touch(client):
    k, kept = key(), key()
    client.set(k, "1", time=1)
    client.set(kept, "1", time=1)
    assert client.touch(kept, 1000)
    until(lambda: client.get(k) is None)
    assert client.get(kept) == "1"


def test_flush_all(client):
    present = keys(100)
    client.set_multi({k: "1" for k in present})
    assert client.flush_all()
    assert client.get_multi(present) == {}


def test_stats(client):
    for _, stats in client.get_stats():
        assert int(stats["pid"]) > 0
        assert stats["version"].startswith(b"1.6.")


def test_a_pool_of_clients():
    pool = pylibmc.ClientPool(pylibmc.Client([f"{HOST}:{PORT}"]), 4)
    errors = []

    def work(number):
        try:
            for turn in range(100):
                k = f"{base}-{number}-{turn % 10}"
                with pool.reserve(block=True) as client:
                    assert client.set(k, f"{k}={turn}")
                    assert client.get(k) == f"{k}={turn}"
        except Exception as error:  # pylint: disable=broad-except
            errors.append(repr(error))

    base = key("pool")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_binary_client_is_served_or_refused_at_once():
    client = pylibmc.Client([f"{HOST}:{PORT}"], binary=True, behaviors={"receive_timeout": 30000000})
    began = time.monotonic()
    if TARGET == "memcached":
        assert client.set(key(), "1")
    else:
        with pytest.raises(pylibmc.Error):
            client.set(key(), "1")
    assert time.monotonic() - began < 10
