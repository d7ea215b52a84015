// The `memcache-client` package, noreply and commands of one's own included.
"use strict";

const assert = require("assert");
const { MemcacheClient } = require("memcache-client");
const { servers, sizes, key, keys, value } = require("./support");

describe("memcache-client", function () {
  this.timeout(60000);
  const client = new MemcacheClient({ server: { server: servers[0], maxConnections: 3 }, cmdTimeout: 30000 });
  after(() => client.shutdown());

  it("returns values of any size", async () => {
    for (const size of sizes) {
      const k = key();
      await client.set(k, value(size));
      assert.ok(value(size).equals((await client.get(k)).value), `${size} bytes`);
    }
  });

  it("adds, replaces, appends, prepends, deletes", async () => {
    const k = key();
    await assert.rejects(client.replace(k, "0"), /NOT_STORED/);
    await client.add(k, "1");
    await assert.rejects(client.add(k, "2"), /NOT_STORED/);
    await client.replace(k, "3");
    await client.append(k, "4");
    await client.prepend(k, "2");
    assert.strictEqual((await client.get(k)).value, "234");
    assert.deepStrictEqual(await client.delete(k), ["DELETED"]);
    await assert.rejects(client.delete(k), /NOT_FOUND/);
    assert.strictEqual(await client.get(k), undefined);
  });

  it("compares and swaps", async () => {
    const k = key();
    await client.set(k, "1");
    const { casUniq } = await client.gets(k);
    await client.cas(k, "2", { casUniq });
    await assert.rejects(client.cas(k, "3", { casUniq }), /EXISTS/);
    assert.strictEqual((await client.get(k)).value, "2");
  });

  it("counts and touches", async () => {
    const k = key();
    await client.set(k, "10");
    assert.strictEqual(await client.incr(k, 5), "15");
    assert.strictEqual(await client.decr(k, 100), "0");
    assert.deepStrictEqual(await client.touch(k, 100), ["TOUCHED"]);
    await assert.rejects(client.touch(key(), 100), /NOT_FOUND/);
  });

  it("gets 1000 keys at once", async () => {
    const present = keys(1000);
    await Promise.all(present.map((k) => client.set(k, `${k}!`)));
    const found = await client.get(present.concat(keys(100)));
    assert.strictEqual(Object.keys(found).length, 1000);
    for (const k of present) assert.strictEqual(found[k].value, `${k}!`);
  });

  it("keeps the order with noreply", async () => {
    const one = new MemcacheClient({ server: { server: servers[0], maxConnections: 1 }, cmdTimeout: 30000 });
    const k = key();
    for (let turn = 0; turn < 100; turn++) {
      await one.set(k, `${turn}`, { noreply: true });
      await one.incr(k, 1000, { noreply: true });
      assert.strictEqual((await one.get(k)).value, `${turn + 1000}`);
    }
    one.shutdown();
  });

  it("reads version and stats, flushes", async () => {
    assert.match((await client.version()).join(" "), /1\.6\.\d+/);
    const { STAT } = await client.cmd("stats");
    const stats = Object.fromEntries(STAT);
    assert.ok(Number(stats.pid) > 0 && Number(stats.uptime) >= 0 && Number(stats.cmd_get) > 0);
    const k = key();
    await client.set(k, "1");
    assert.deepStrictEqual(await client.cmd("flush_all"), ["OK"]);
    assert.strictEqual(await client.get(k), undefined);
  });
});
