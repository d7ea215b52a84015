// `memjs` speaks the binary protocol only. memcached serves it; ringroad must close the connection at once, so that
// its user sees an error within moments and not after a timeout.
"use strict";

const assert = require("assert");
const net = require("net");
const memjs = require("memjs");
const { host, ports, servers, target, key } = require("./support");

const quiet = { log() {} };

describe("memjs", function () {
  this.timeout(60000);

  it("is served or refused at once", async () => {
    const client = memjs.Client.create(servers[0], { timeout: 50, conntimeout: 50, retries: 0, logger: quiet });
    const began = Date.now();
    if (target === "memcached") assert.strictEqual(await client.set(key(), "1", {}), true);
    else await assert.rejects(client.set(key(), "1", {}));
    assert.ok(Date.now() - began < 10000, `took ${Date.now() - began} ms`);
    client.close();
  });

  it("gets a NOOP answered, or the end of the connection", async () => {
    const noop = Buffer.alloc(24);
    noop[0] = 0x80;
    noop[1] = 0x0a;
    const received = await new Promise((resolve, reject) => {
      const socket = net.connect(ports[0], host, () => socket.write(noop));
      const chunks = [];
      socket.setTimeout(10000, () => socket.destroy(new Error("neither an answer nor the end within 10 s")));
      // A mere end would do here, but not for memjs itself.
      socket.on("error", (error) => (error.code === "ECONNRESET" ? resolve(Buffer.concat(chunks)) : reject(error)));
      socket.on("data", (chunk) => {
        chunks.push(chunk);
        if (target === "memcached") socket.end();
      });
      socket.on("close", () => resolve(Buffer.concat(chunks)));
    });
    assert.strictEqual(received.length, target === "memcached" ? 24 : 0);
  });
});
