// The `memcached` package, on one endpoint and sharding over three.
"use strict";

const assert = require("assert");
const { promisify } = require("util");
const Memcached = require("memcached");
const { servers, sizes, key, keys, value } = require("./support");

for (const count of [1, 3]) {
  describe(`memcached over ${count}`, function () {
    this.timeout(60000);
    const client = new Memcached(servers.slice(0, count), { timeout: 30000, retries: 0 });
    const call = (name, ...args) => promisify(client[name]).apply(client, args);
    after(() => client.end());

    it("returns values of any size", async () => {
      // It takes no more than 1 MiB after an encoding that doubles bytes of its own accord.
      for (const size of sizes.filter((size) => size < 500000)) {
        const k = key();
        assert.strictEqual(await call("set", k, value(size), 100), true);
        assert.ok(value(size).equals(await call("get", k)), `${size} bytes`);
      }
    });

    it("returns types", async () => {
      for (const item of ["text", "", 42, true, { a: [1, 2] }]) {
        const k = key();
        await call("set", k, item, 100);
        assert.deepStrictEqual(await call("get", k), item);
      }
    });

    it("adds, replaces, appends, prepends, deletes", async () => {
      const k = key();
      await assert.rejects(call("replace", k, "0", 100), /not stored/);
      assert.ok(await call("add", k, "1", 100));
      await assert.rejects(call("add", k, "2", 100), /not stored/);
      assert.ok(await call("replace", k, "3", 100));
      assert.ok(await call("append", k, "4"));
      assert.ok(await call("prepend", k, "2"));
      assert.strictEqual(await call("get", k), "234");
      assert.strictEqual(await call("del", k), true);
      assert.strictEqual(await call("del", k), false);
      assert.strictEqual(await call("get", k), undefined);
    });

    it("compares and swaps", async () => {
      const k = key();
      await call("set", k, "1", 100);
      const { cas } = await call("gets", k);
      assert.strictEqual(await call("cas", k, "2", cas, 100), true);
      assert.strictEqual(await call("cas", k, "3", cas, 100), false);
      assert.strictEqual(await call("get", k), "2");
    });

    it("counts", async () => {
      const k = key();
      assert.strictEqual(await call("incr", k, 1), false);
      await call("set", k, 10, 100);
      assert.strictEqual(await call("incr", k, 5), 15);
      assert.strictEqual(await call("decr", k, 100), 0);
    });

    it("touches", async () => {
      const k = key();
      assert.strictEqual(await call("touch", k, 100), false);
      await call("set", k, "1", 100);
      assert.strictEqual(await call("touch", k, 200), true);
    });

    it("gets 1000 keys at once", async () => {
      const present = keys(1000);
      await Promise.all(present.map((k) => call("set", k, `${k}!`, 100)));
      const found = await call("getMulti", present.concat(keys(100)));
      assert.strictEqual(Object.keys(found).length, 1000);
      for (const k of present) assert.strictEqual(found[k], `${k}!`);
    });

    it("flushes", async () => {
      const present = keys(100);
      await Promise.all(present.map((k) => call("set", k, "1", 100)));
      await call("flush");
      assert.strictEqual(Object.keys((await call("getMulti", present)) || {}).length, 0);
    });

    it("reads version and stats of every endpoint", async () => {
      const versions = await call("version");
      assert.strictEqual(versions.length, count);
      for (const version of versions) assert.match(version.version, /^1\.6\.\d+/);
      const all = await call("stats");
      for (const stats of all) assert.ok(stats.pid > 0 && stats.curr_connections > 0);
      assert.ok(await call("settings"));
    });
  });
}
