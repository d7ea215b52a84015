"""meta-memcache: a client that speaks nothing but the meta commands."""

import pytest
from meta_memcache import CacheClient, Key, ServerAddress, connection_pool_factory_builder

from support import HOST, PORTS, SIZES, key, keys, until, value


@pytest.fixture(params=[1, 3])
def client(request):
    return CacheClient.cache_client_from_servers(
        servers=[ServerAddress(host=HOST, port=port) for port in PORTS[: request.param]],
        connection_pool_factory_fn=connection_pool_factory_builder(connection_timeout=10, recv_timeout=30),
    )


@pytest.mark.parametrize("size", SIZES)
def test_values_of_any_size_come_back(client, size):
    k = Key(key())
    assert client.set(k, value(size), ttl=100)
    assert client.get(k) == value(size)


def test_types_come_back(client):
    k = Key(key())
    for item in ("text", 42, b"bytes", {"a": [1, 2]}):
        assert client.set(k, item, ttl=100)
        assert client.get(k) == item


def test_keys_that_go_as_base64(client):
    for name in (key("ümläut"), key("with space"), "x" * 300 + key()):
        k = Key(name)
        assert client.set(k, name, ttl=100)
        assert client.get(k) == name
        assert client.delete(k)
        assert client.get(k) is None


def test_cas(client):
    k = Key(key())
    assert client.get_cas(k) == (None, None)
    assert client.set(k, "1", ttl=100)
    seen, cas = client.get_cas(k)
    assert seen == "1"
    assert client.set(k, "2", ttl=100, cas_token=cas)
    assert not client.set(k, "3", ttl=100, cas_token=cas)
    assert client.get(k) == "2"
    assert not client.delete(k, cas_token=cas)


def test_multi_get_of_1000_keys(client):
    present = [Key(name) for name in keys(1000)]
    for k in present:
        assert client.set(k, k.key, ttl=100)
    missing = [Key(name) for name in keys(100, "missing")]
    found = client.multi_get(present + missing)
    assert all(found[k] == k.key for k in present)
    assert all(found[k] is None for k in missing)


def test_delta(client):
    k = Key(key())
    assert client.delta_and_get(k, 1) is None
    assert client.delta_initialize_and_get(k, 5, initial_value=10, initial_ttl=100) == 10
    assert client.delta_and_get(k, 5) == 15
    assert client.delta_and_get(k, -5) == 10
    assert client.delta(k, 1)


def test_expiry_and_touch(client):
    k, kept = Key(key()), Key(key())
    assert client.set(k, "1", ttl=1)
    assert client.set(kept, "1", ttl=1)
    assert client.touch(kept, 1000)
    until(lambda: client.get(k) is None)
    assert client.get(kept) == "1"


def test_invalidate_leaves_a_stale_item_and_one_winner(client):
    k = Key(key())
    assert client.set(k, "1", ttl=100)
    assert client.invalidate(k)
    assert client.set(k, "2", ttl=100)
    assert client.get(k) == "2"


def test_no_reply_keeps_the_order(client):
    k = Key(key())
    for number in range(100):
        assert client.set(k, number, ttl=100, no_reply=True)
        assert client.get(k) == number
    client.delete(k, no_reply=True)
    assert client.get(k) is None
