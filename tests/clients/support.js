// What the Node tests share: where the endpoint is, unused keys, and values worth sending. See support.py.
"use strict";

const ports = process.env.CLIENTS_PORTS.split(" ").map(Number);
let number = 0;

const key = (hint = "key") => `node-${hint}-${process.pid}-${number++}`;

module.exports = {
  host: "127.0.0.1",
  ports,
  servers: ports.map((port) => `127.0.0.1:${port}`),
  target: process.env.CLIENTS_TARGET,
  sizes: [0, 1, 100, 1023, 1024, 2048, 8191, 16384, 65536, 262144, 1000000],
  key,
  keys(count) {
    const base = key("many");
    return Array.from({ length: count }, (_, at) => `${base}-${at}`);
  },
  // Bytes of every kind, line ends and protocol words among them.
  value(size) {
    const bytes = Buffer.alloc(size);
    for (let at = 0, seed = size + 1; at < size; at++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      bytes[at] = seed >> 16;
    }
    bytes.write("\r\nEND\r\nVALUE x 0 1\r\n");
    return bytes;
  },
};
