// Checks a node's answers with a library of RFC 9421 that others wrote, and compares what it would sign with what our page signs, byte
// for byte; then again through a server between that codes the content.
import assert from "node:assert/strict";
import { ECDH, createPublicKey, createVerify } from "node:crypto";
import http from "node:http";
import { createRequire } from "node:module";
import zlib from "node:zlib";
import { pathToFileURL } from "node:url";

const require = createRequire(process.env.ATOLL_NODE_MODULES + "/x.js");
const { httpbis } = require("http-message-signatures");
const { parseDictionary, serializeInnerList, serializeItem } = require("structured-headers");
const [gateway, host, compressed, page] = process.argv.slice(2);
const { check } = await import(pathToFileURL(page));
const [address, port] = gateway.split(":");
const point = ECDH.convertKey(compressed, "prime256v1", "hex", undefined, "uncompressed");
const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((number) => number.toString("base64url"));
const key = createPublicKey({ key: { kty: "EC", crv: "P-256", x, y }, format: "jwk" });

/** An answer as it came: no coding undone. */
function get(path, { headers = {}, to = port, method = "GET" } = {}) {
  return new Promise((done, fail) => {
    const request = http.request({ host: address, port: to, path, method, headers: { host, ...headers } }, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("end", () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
    });
    request.on("error", fail);
    request.end();
  });
}

/** What the library makes of an answer: what is signed, and whether it is right. */
async function judge({ status, headers }, path) {
  const request = { method: "GET", url: `http://${host}${path}`, headers: { host } };
  const input = parseDictionary(headers["signature-input"]).get("atoll");
  const fields = input[0].map((item) => serializeItem(item));
  const base = httpbis.createSignatureBase({ fields }, { status, headers }, request);
  base.push(['"@signature-params"', [serializeInnerList(input)]]);
  let signed = null;
  const right = await httpbis.verifyMessage({
    keyLookup: async ({ keyid }) => ({
      id: keyid,
      algs: ["ecdsa-p256-sha256"],
      verify: async (data, signature) => {
        signed = data.toString();
        return createVerify("sha256").update(data).verify({ key, dsaEncoding: "ieee-p1363" }, signature);
      },
    }),
  }, { status, headers }, request);
  return { base: httpbis.formatSignatureBase(base), signed, right };
}

let judged = 0;
const paths = ["/", "/a%20b.txt", "/dir/", "/dir", "/old", "/app/any/where", "/nowhere", "/big.txt"];
const nonce = "0x" + "ab".repeat(32);
for (const path of paths) for (const headers of [{}, { "atoll-nonce": nonce }]) for (const method of ["GET", "HEAD"]) {
  const answer = await get(path, { headers, method });
  const about = `${method} ${path} ${JSON.stringify(answer.headers)}`;
  const { base, signed, right } = await judge(answer, path);
  assert.equal(right, true, about);
  assert.equal(signed, base, about);
  if (method === "HEAD") continue;
  const ours = await check({ status: answer.status, authority: host, headers: new Headers(answer.headers), body: answer.body, nonce });
  assert.deepEqual([ours.verdict, ours.why], ["ok", null], about);
  assert.equal(ours.base, base, about);
  const s = Buffer.from(/:(.*):/.exec(answer.headers.signature)[1], "base64").subarray(32).toString("hex");
  assert.ok(s <= "7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8", "s is in the lower half");
  judged += 1;
}
assert.equal(judged, paths.length * 2);

// A content coding changes neither the digest nor the signature.
const codings = { br: zlib.brotliCompressSync, gzip: zlib.gzipSync, deflate: zlib.deflateSync, zstd: zlib.zstdCompressSync };
const undo = { br: zlib.brotliDecompressSync, gzip: zlib.gunzipSync, deflate: zlib.inflateSync, zstd: zlib.zstdDecompressSync };
for (const [coding, encode] of Object.entries(codings)) {
  assert.ok(encode, `this Node has no ${coding}`);
  const between = http.createServer(async (request, response) => {
    const answer = await get(request.url, {});
    const body = encode(answer.body);
    const { "content-length": _, ...headers } = answer.headers;
    response.writeHead(answer.status, { ...headers, "content-encoding": coding, "content-length": body.length });
    response.end(body);
  });
  await new Promise((done) => between.listen(0, address, done));
  const coded = await get("/app.html", { to: between.address().port });
  between.close();
  assert.equal(coded.headers["content-encoding"], coding);
  assert.equal((await judge(coded, "/app.html")).right, true, coding);
  const seen = { status: coded.status, authority: host, headers: new Headers(coded.headers) };
  assert.equal((await check({ ...seen, body: undo[coding](coded.body) })).verdict, "ok", coding);
  assert.equal((await check({ ...seen, body: coded.body })).verdict, "bad", `${coding}, not undone`);
}
