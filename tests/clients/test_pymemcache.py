"""pymemcache: Client, PooledClient and HashClient, the latter on one endpoint and on three."""

import threading
from contextlib import closing

import pytest
from pymemcache.client.base import Client, PooledClient
from pymemcache.client.hash import HashClient
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

from support import HOST, PORT, PORTS, SIZES, key, keys, until, value

OPTIONS = {"timeout": 30, "connect_timeout": 10, "no_delay": True}
MAKERS = {
    "Client": lambda: Client((HOST, PORT), **OPTIONS),
    "PooledClient": lambda: PooledClient((HOST, PORT), max_pool_size=4, **OPTIONS),
    "HashClient1": lambda: HashClient([(HOST, PORT)], **OPTIONS),
    "HashClient3": lambda: HashClient([(HOST, port) for port in PORTS], **OPTIONS),
    "HashClientPooling": lambda: HashClient([(HOST, PORT)], use_pooling=True, **OPTIONS),
}


@pytest.fixture(params=list(MAKERS))
def client(request):
    made = MAKERS[request.param]()
    yield made
    made.close()


@pytest.mark.parametrize("size", SIZES)
def test_values_of_any_size_come_back(client, size):
    k = key()
    assert client.set(k, value(size), noreply=False)
    assert client.get(k) == value(size)


def test_a_too_large_value_is_refused_and_the_connection_lives(client):
    k = key()
    assert client.set(k, b"old", noreply=False)
    with pytest.raises(MemcacheServerError, match="too large"):
        client.set(k, value(1024 * 1024 + 10), noreply=False)
    assert client.get(k) is None
    assert client.set(k, b"new", noreply=False)
    assert client.get(k) == b"new"


def test_flags_come_back():
    with closing(Client((HOST, PORT), **OPTIONS)) as client:
        for flags in (0, 1, 65535, 2**31, 2**32 - 1):
            k = key()
            assert client.set(k, b"x", noreply=False, flags=flags)
            assert client.raw_command(f"get {k}", b"END\r\n") == f"VALUE {k} {flags} 1\r\nx\r\n".encode()


def test_add_and_replace(client):
    k = key()
    assert not client.replace(k, b"0", noreply=False)
    assert client.add(k, b"1", noreply=False)
    assert not client.add(k, b"2", noreply=False)
    assert client.replace(k, b"3", noreply=False)
    assert client.get(k) == b"3"


def test_append_and_prepend(client):
    k = key()
    assert not client.append(k, b"x", noreply=False)
    assert not client.prepend(k, b"x", noreply=False)
    client.set(k, b"middle", noreply=False)
    assert client.append(k, b"-end", noreply=False)
    assert client.prepend(k, b"start-", noreply=False)
    assert client.get(k) == b"start-middle-end"


def test_gets_and_cas(client):
    k = key()
    assert client.cas(k, b"x", b"1", noreply=False) is None
    client.set(k, b"1", noreply=False)
    seen, cas = client.gets(k)
    assert seen == b"1"
    assert client.cas(k, b"2", cas, noreply=False) is True
    assert client.cas(k, b"3", cas, noreply=False) is False
    assert client.get(k) == b"2"


def test_incr_and_decr(client):
    k = key()
    assert client.incr(k, 1, noreply=False) is None
    client.set(k, b"10", noreply=False)
    assert client.incr(k, 5, noreply=False) == 15
    assert client.decr(k, 20, noreply=False) == 0
    client.set(k, str(2**64 - 1).encode(), noreply=False)
    assert client.incr(k, 2, noreply=False) == 1
    client.set(k, b"text", noreply=False)
    with pytest.raises(MemcacheClientError, match="non-numeric"):
        client.incr(k, 1, noreply=False)
    assert client.get(k) == b"text"


def test_delete(client):
    k = key()
    assert client.delete(k, noreply=False) is False
    client.set(k, b"1", noreply=False)
    assert client.delete(k, noreply=False) is True
    assert client.get(k) is None


def test_expiry_and_touch(client):
    short, long = key(), key()
    client.set(short, b"1", expire=1, noreply=False)
    client.set(long, b"1", expire=1, noreply=False)
    assert client.touch(long, 1000, noreply=False) is True
    assert client.touch(key(), 1000, noreply=False) is False
    until(lambda: client.get(short) is None)
    assert client.get(long) == b"1"
    client.set(short, b"1", expire=-1, noreply=False)
    assert client.get(short) is None


def test_multi_get_of_1000_keys(client):
    present = keys(1000)
    expected = {k: k.encode() * 3 for k in present}
    assert client.set_many(expected, noreply=False) == []
    assert client.get_many(present) == expected
    missing = keys(500, "missing")
    mixed = [k for pair in zip(present, missing) for k in pair]
    assert client.get_many(mixed) == {k: expected[k] for k in present[:500]}
    assert client.get_many(missing) == {}
    found = client.gets_many(present)
    assert {k: v for k, (v, _) in found.items()} == expected
    assert client.delete_many(present, noreply=False)
    assert client.get_many(present) == {}


def test_multi_get_of_large_values(client):
    present = keys(20)
    expected = {k: k.encode() + value(200000, seed) for seed, k in enumerate(present)}
    client.set_many(expected, noreply=False)
    assert client.get_many(present) == expected


def test_noreply_keeps_the_order(client):
    k = key()
    for number in range(200):
        client.set(k, str(number), noreply=True)
        client.incr(k, 1000, noreply=True)
        assert client.get(k) == str(number + 1000).encode()
    client.append(k, b"z", noreply=True)
    client.incr(k, 1, noreply=True)
    client.cas(k, b"no", b"1", noreply=True)
    client.add(k, b"no", noreply=True)
    assert client.get(k) == b"1199z"
    client.delete(k, noreply=True)
    client.touch(k, 10, noreply=True)
    assert client.get(k) is None


def test_flush_all_empties_every_server(client):
    present = keys(100)
    client.set_many({k: b"1" for k in present}, noreply=False)
    client.flush_all(noreply=False)
    assert client.get_many(present) == {}


@pytest.mark.parametrize("name", ["Client", "PooledClient"])
def test_version_and_stats(name):
    client = MAKERS[name]()
    major, minor, patch = client.version().split(b"-")[0].split(b".")
    assert (int(major), int(minor)) == (1, 6) and int(patch) >= 18
    stats = client.stats()
    for figure in (b"pid", b"uptime", b"curr_connections", b"cmd_get", b"get_hits", b"get_misses"):
        assert int(stats[figure]) >= 0
    assert stats[b"version"] == client.version()
    assert client.stats("settings")
    client.quit()


def test_many_clients_at_once():
    errors = []

    def work(number):
        try:
            with closing(Client((HOST, PORT), **OPTIONS)) as client:
                for turn in range(100):
                    k = f"{base}-{number}-{turn % 10}"
                    expected = f"{k}={turn}".encode() * (1 + turn % 40)
                    assert client.set(k, expected, noreply=turn % 2 == 0)
                    assert client.get(k) == expected
                    shared = client.get(f"{base}-shared")
                    assert shared is None or shared.startswith(b"shared")
                    client.set(f"{base}-shared", b"shared%d" % number)
        except Exception as error:  # pylint: disable=broad-except
            errors.append((number, repr(error)))

    base = key("threads")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
