// Loaded before the suite: its random blocks become those that a peer has, and the schema that it downloads is the one beside
// this file. Nothing else of it is changed.
import { createServer } from "node:http";
import http from "node:http";
import https from "node:https";
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import process from "node:process";

const hrtime = process.hrtime;
let blocks = 0;
const counted = (since) => Object.assign(hrtime(since), { toString: () => `atoll-compliance-${blocks++}` });
process.hrtime = Object.assign(counted, { bigint: hrtime.bigint });

const schema = readFileSync(process.env.ATOLL_SCHEMA);
const server = createServer((_, answer) => answer.setHeader("content-type", "application/json").end(schema));
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
server.unref();
const get = https.get;
https.get = (options, ...rest) => {
  const host = options.hostname ?? options.host ?? new URL(options).hostname;
  if (!String(host).endsWith("githubusercontent.com")) return get(options, ...rest);
  const done = rest.find((argument) => typeof argument === "function");
  return http.get({ hostname: "127.0.0.1", port: server.address().port, path: "/" }, done);
};
syncBuiltinESMExports();
