"""python-memcached: one endpoint, and its own sharding over three."""

import memcache
import pytest

from support import HOST, PORT, PORTS, SIZES, key, keys, until, value


@pytest.fixture(params=["one", "three"])
def client(request):
    ports = [PORT] if request.param == "one" else PORTS
    made = memcache.Client([f"{HOST}:{port}" for port in ports], socket_timeout=30, cache_cas=True)
    yield made
    made.disconnect_all()


@pytest.mark.parametrize("size", SIZES)
def test_values_of_any_size_come_back(client, size):
    k = key()
    assert client.set(k, value(size))
    assert client.get(k) == value(size)


def test_types_come_back(client):
    k = key()
    for item in ("text", 42, 2**70, b"bytes", True, {"a": [1, 2]}, "ümläut"):
        assert client.set(k, item)
        assert client.get(k) == item


def test_add_replace_append_prepend_delete(client):
    k = key()
    assert not client.replace(k, "0")
    assert not client.append(k, "0")
    assert client.add(k, "1")
    assert not client.add(k, "2")
    assert client.replace(k, "3")
    assert client.append(k, "4")
    assert client.prepend(k, "2")
    assert client.get(k) == "234"
    assert client.delete(k)
    assert client.get(k) is None


def test_cas(client):
    k = key()
    client.set(k, "1")
    assert client.gets(k) == "1"
    assert client.cas(k, "2")
    assert client.get(k) == "2"
    client.gets(k)
    client.set(k, "other")
    assert not client.cas(k, "3")
    assert client.get(k) == "other"


def test_incr_and_decr(client):
    k = key()
    assert client.incr(k) is None
    client.set(k, "20")
    assert client.incr(k) == 21
    assert client.incr(k, 10) == 31
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


def test_noreply_keeps_the_order(client):
    k = key()
    for number in range(100):
        client.set(k, str(number), noreply=True)
        client.incr(k, 1000, noreply=True)
        assert client.get(k) == str(number + 1000)
    client.delete(k, noreply=True)
    assert client.get(k) is None


def test_flush_all(client):
    present = keys(100)
    client.set_multi({k: "1" for k in present})
    client.flush_all()
    assert client.get_multi(present) == {}


def test_stats(client):
    for _, stats in client.get_stats():
        assert int(stats["pid"]) > 0
        assert stats["version"].startswith("1.6.")
