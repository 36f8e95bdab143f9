// Answers each line of standard input: "addresses NAME" by libc, "services NAME" and "records NAME" by c-ares, as Node has them.
const dns = require('node:dns').promises;
const readline = require('node:readline');

const absent = new Set(['ENOTFOUND', 'ENODATA']);
const orNone = (found) => found.catch((error) => (error.code === 'ENODATA' ? [] : Promise.reject(error)));
const ask = {
  addresses: async (name) => (await dns.lookup(name, { all: true })).map((one) => one.address),
  services: async (name) => (await dns.resolveSrv(name)).map((one) => `${one.port}/${one.name}`),
  records: async (name) => (await Promise.all([dns.resolve4(name), dns.resolve6(name)].map(orNone))).flat(),
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [kind, name] = line.split(' ');
    const found = await ask[kind](name).catch((error) => [absent.has(error.code) ? 'not-found' : `error: ${error}`]);
    console.log(`${kind} ${name}:`, ...found);
  }
})();
