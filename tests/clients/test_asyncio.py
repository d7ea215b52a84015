"""The asyncio clients: aiomcache and emcache, with many requests in flight."""

import asyncio

import aiomcache
import emcache
import pytest

from support import HOST, PORT, PORTS, SIZES, key, keys, value


def test_aiomcache():
    async def run():
        client = aiomcache.Client(HOST, PORT, pool_size=4)
        for size in SIZES:
            k = key().encode()
            assert await client.set(k, value(size))
            assert await client.get(k) == value(size)
        k = key().encode()
        assert await client.add(k, b"1")
        assert not await client.add(k, b"2")
        assert await client.append(k, b"5")
        assert await client.prepend(k, b"3")
        assert await client.incr(k, 5) == 320
        assert await client.decr(k, 21) == 299
        assert await client.touch(k, 100)
        seen, cas = await client.gets(k)
        assert seen == b"299"
        assert await client.cas(k, b"1", cas)
        assert not await client.cas(k, b"2", cas)
        assert await client.delete(k)
        assert await client.get(k) is None
        assert (await client.version()).startswith(b"1.6.")
        assert int((await client.stats())[b"pid"]) > 0
        many = [name.encode() for name in keys(1000)]
        await asyncio.gather(*(client.set(name, name) for name in many))
        assert await client.multi_get(*many) == tuple(many)
        await client.flush_all()
        assert set(await client.multi_get(*many)) == {None}
        await client.close()

    asyncio.run(run())


@pytest.mark.parametrize("count,batching", [(1, False), (1, True), (3, False), (3, True)])
def test_emcache(count, batching):
    async def run():
        hosts = [emcache.MemcachedHostAddress(HOST, port) for port in PORTS[:count]]
        client = await emcache.create_client(hosts, timeout=30, max_connections=4, autobatching=batching)
        for size in SIZES:
            k = key().encode()
            await client.set(k, value(size))
            assert (await client.get(k)).value == value(size)
        k = key().encode()
        await client.add(k, b"1")
        with pytest.raises(emcache.NotStoredStorageCommandError):
            await client.add(k, b"2")
        await client.append(k, b"5")
        await client.prepend(k, b"3")
        assert await client.increment(k, 5) == 320
        assert await client.decrement(k, 21) == 299
        await client.touch(k, 100)
        assert (await client.gat(100, k)).value == b"299"
        item = await client.gets(k)
        await client.cas(k, b"1", item.cas)
        with pytest.raises(emcache.StorageCommandError):
            await client.cas(k, b"2", item.cas)
        await client.delete(k)
        assert await client.get(k) is None
        many = [name.encode() for name in keys(1000)]
        await asyncio.gather(*(client.set(name, name, noreply=True) for name in many[:500]))
        await asyncio.gather(*(client.set(name, name) for name in many[500:]))
        singles = await asyncio.gather(*(client.get(name) for name in many[500:]))
        assert [item.value for item in singles] == many[500:]
        found = await client.get_many(many[500:] + [k])
        assert {name: item.value for name, item in found.items()} == {name: name for name in many[500:]}
        for host in hosts:
            assert (await client.version(host)).startswith("1.6.")
            assert int((await client.stats(host))["pid"]) > 0
            await client.flush_all(host)
        assert await client.get_many(many[500:]) == {}
        await client.close()

    asyncio.run(run())
