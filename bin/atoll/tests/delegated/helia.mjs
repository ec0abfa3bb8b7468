// Asks a router with @helia/delegated-routing-v1-http-api-client for all that it has, and checks what comes.
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import path from "node:path";

const load = (name) => import(pathToFileURL(path.join(process.env.ATOLL_NODE_MODULES, name)).href);
const [router, me, gateway, held, other, elsewhere] = process.argv.slice(2);

const { delegatedRoutingV1HttpApiClient } = await load("@helia/delegated-routing-v1-http-api-client/dist/src/index.js");
const { defaultLogger } = await load("@libp2p/logger/dist/src/index.js");
const { generateKeyPair } = await load("@libp2p/crypto/dist/src/keys/index.js");
const { createIPNSRecord, marshalIPNSRecord, unmarshalIPNSRecord } = await load("ipns/dist/src/index.js");
const { CID } = await load("multiformats/dist/src/cid.js");
const { base58btc } = await load("multiformats/dist/src/bases/base58.js");

const client = delegatedRoutingV1HttpApiClient({ url: router })({ logger: defaultLogger() });
await client.start();

const all = async (found) => {
  const records = [];
  for await (const record of found) records.push(record);
  return records;
};
const id = (record) => base58btc.baseEncode(record.ID.multihash.bytes);
const peer = (text) => CID.parse("z" + base58btc.baseEncode(Uint8Array.from([1, 0x72, ...base58btc.baseDecode(text)])), base58btc);
const addresses = (record) => record.Addrs.map(String);
const seen = [];

let [own] = await all(client.getProviders(CID.parse(held)));
assert.equal(id(own), me);
assert.deepEqual(own.Protocols.sort(), ["transport-bitswap", "transport-ipfs-gateway-http"]);
assert.ok(addresses(own).includes(gateway), `${gateway} is not in ${addresses(own)}`);
assert.ok(addresses(own).some((address) => /^\/ip4\/127\.0\.0\.1\/tcp\/\d+$/.test(address)));
seen.push("providers");

const found = await all(client.getProviders(CID.parse(elsewhere)));
assert.deepEqual(found.map(id), [other]);
assert.ok(addresses(found[0]).length > 0);
seen.push("elsewhere");

assert.deepEqual(await all(client.getProviders(CID.parse("bafkreidcd7frenco2m6ch7mny63wztgztv3q6fctaffgowkro6kljre5ei"))), []);
seen.push("nobody");

[own] = await all(client.getProviders(CID.parse(held), { filterAddrs: ["http"], filterProtocols: ["transport-ipfs-gateway-http"] }));
assert.deepEqual(addresses(own), [gateway]);
assert.deepEqual(await all(client.getProviders(CID.parse(held), { filterAddrs: ["!tcp"] })), []);
assert.deepEqual(await all(client.getProviders(CID.parse(held), { filterProtocols: ["unknown"] })), []);
seen.push("filters");

for (const who of [me, other]) {
  const [known] = await all(client.getPeers(peer(who)));
  assert.equal(id(known), who);
  assert.ok(addresses(known).length > 0);
}
seen.push("peers");

const key = await generateKeyPair("Ed25519");
const name = key.publicKey.toCID();
await assert.rejects(client.getIPNS(name), { name: "NotFoundError" });
const record = await createIPNSRecord(key, CID.parse(held), 7n, 3600_000);
await client.putIPNS(name, marshalIPNSRecord(record));
const read = unmarshalIPNSRecord(await client.getIPNS(name));
assert.equal(read.sequence, 7n);
assert.equal(read.value, `/ipfs/${held}`);
const older = await createIPNSRecord(key, CID.parse(held), 3n, 3600_000);
await assert.rejects(client.putIPNS(name, marshalIPNSRecord(older)));
const stranger = (await generateKeyPair("Ed25519")).publicKey.toCID();
await assert.rejects(client.putIPNS(stranger, marshalIPNSRecord(record)));
seen.push("names");

const closest = await all(client.getClosestPeers(CID.parse(held)));
assert.deepEqual(closest.map(id), [other]);
seen.push("closest");

await client.stop();
console.log(seen.join(", "));
