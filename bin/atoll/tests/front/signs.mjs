// A server that answers only what a node of a known key has signed, with a library of RFC 9421 that others wrote.
import { createPublicKey, createVerify } from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";

const require = createRequire(process.env.ATOLL_NODE_MODULES + "/x.js");
const { httpbis } = require("http-message-signatures");
const [pem, keyid, port] = process.argv.slice(2);
const key = createPublicKey(pem);
const seen = new Set();

const verify = async (data, signature) => createVerify("sha256").update(data).verify({ key, dsaEncoding: "ieee-p1363" }, signature);
const keyLookup = async (params) => {
  if (params.keyid !== keyid || params.tag !== "atoll-origin-1" || seen.has(params.nonce)) return null;
  seen.add(params.nonce);
  return { id: keyid, algs: ["ecdsa-p256-sha256"], verify };
};
const wanted = { requiredFields: ["@method", "@authority", "@path", "@query"], requiredParams: ["created", "expires", "nonce", "keyid", "tag"] };

const server = http.createServer(async ({ method, url, headers }, response) => {
  const request = { method, url: `http://${headers.host}${url}`, headers };
  const right = await httpbis.verifyMessage({ keyLookup, ...wanted }, request).catch(() => false);
  response.writeHead(right ? 200 : 403, { "cache-control": "no-store" });
  response.end(right ? `signed ${method} ${url}` : "refused");
});
server.listen(Number(port ?? 0), "127.0.0.1", () => console.log(server.address().port));
