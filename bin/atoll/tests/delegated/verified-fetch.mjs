// Reads a site with @helia/verified-fetch: over HTTP, found by the router; and over libp2p, by Bitswap alone.
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";

const load = (name) => import(pathToFileURL(path.join(process.env.ATOLL_NODE_MODULES, name)).href);
const [way, router, root, name, large] = process.argv.slice(2);

const { createVerifiedFetchWithHelia } = await load("@helia/verified-fetch/dist/src/index.js");
const { createHeliaLight } = await load("helia/dist/src/index.js");

const overHttp = async () => {
  const { withHTTP } = await load("@helia/http/dist/src/index.js");
  return withHTTP(createHeliaLight(), { delegatedRouters: [router], recursiveGateways: [], allowLocal: true, allowInsecure: true });
};
const overLibp2p = async () => {
  const { withBitswap } = await load("@helia/bitswap/dist/src/index.js");
  const { withLibp2p } = await load("@helia/libp2p/dist/src/index.js");
  const { tcp } = await load("@libp2p/tcp/dist/src/index.js");
  const { noise } = await load("@libp2p/noise/dist/src/index.js");
  const { yamux } = await load("@libp2p/yamux/dist/src/index.js");
  const { identify } = await load("@libp2p/identify/dist/src/index.js");
  const delegated = await load("@helia/delegated-routing-v1-http-api-client/dist/src/index.js");
  const options = {
    addresses: { listen: [] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    peerDiscovery: [],
    services: {
      identify: identify(),
      content: delegated.delegatedRoutingV1HttpApiClientContentRouting({ url: router }),
      peers: delegated.delegatedRoutingV1HttpApiClientPeerRouting({ url: router }),
    },
  };
  return withBitswap(withLibp2p(createHeliaLight(), options));
};

const helia = await (way === "http" ? overHttp() : overLibp2p());
await helia.start();
const fetch = await createVerifiedFetchWithHelia(helia);
const get = async (url) => {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000) });
  assert.equal(response.status, 200, url);
  return Buffer.from(await response.arrayBuffer());
};
assert.match((await get(`ipfs://${root}/`)).toString(), /verified/);
assert.ok((await get(`ipfs://${root}/deep/large.bin`)).equals(await readFile(large)));
const missing = await fetch(`ipfs://${root}/none`, { signal: AbortSignal.timeout(60_000) });
assert.equal(missing.status, 404);
if (way === "http") assert.match((await get(`ipns://${name}/`)).toString(), /verified/);
console.log("read by", way);
process.exit(0);
