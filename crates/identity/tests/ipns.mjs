// npm's ipns as the judge: validates the record in a file for a name in hex, selects among records as it would among
// those that a network gives, and signs records of its own with new keys.
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

const load = (name) => import(pathToFileURL(path.join(process.env.ATOLL_NODE_MODULES, name)).href);
const ipns = await load("ipns/dist/src/index.js");
const { ipnsValidator } = await load("ipns/dist/src/validator.js");
const { ipnsSelector } = await load("ipns/dist/src/selector.js");
const { generateKeyPair } = await load("@libp2p/crypto/dist/src/keys/index.js");

const [name, ...files] = process.argv.slice(2);
const key = Buffer.concat([Buffer.from("/ipns/"), Buffer.from(name, "hex")]);
const records = files.map((file) => fs.readFileSync(file));
const read = [];
for (const bytes of records) {
  await ipnsValidator(key, bytes);
  const record = ipns.unmarshalIPNSRecord(bytes);
  read.push({ value: record.value, sequence: Number(record.sequence), ttl: Number(record.ttl), v1: "signatureV1" in record });
  const broken = Buffer.from(bytes);
  broken[broken.length - 20] ^= 1;
  await assert.rejects(ipnsValidator(key, broken));
}
const signed = [];
for (const type of ["Ed25519", "RSA", "secp256k1"]) {
  const secret = await generateKeyPair(type);
  for (const v1Compatible of [true, false]) {
    const record = await ipns.createIPNSRecord(secret, "/ipfs/bafkqaaa/npm", 7, 3_600_000, { v1Compatible, ttlNs: 60_000_000_000n });
    const bytes = Buffer.from(ipns.marshalIPNSRecord(record)).toString("hex");
    const own = Buffer.from(secret.publicKey.toMultihash().bytes).toString("hex");
    signed.push({ type, name: own, bytes, v1: v1Compatible });
  }
}
console.log(JSON.stringify({ read, selected: ipnsSelector(key, records), signed }));
