// Reads a CAR with npm's @ipld/car and ipfs-unixfs-exporter, and checks that it holds the files of a folder, all and only.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(process.env.ATOLL_NODE_MODULES + "/x.js");
const load = (name) => import(pathToFileURL(path.join(process.env.ATOLL_NODE_MODULES, name)).href);
const [car, folder] = process.argv.slice(2);

const { CarReader } = await load("@ipld/car/src/index.js");
const { exporter, recursive } = await load("ipfs-unixfs-exporter/dist/src/index.js");
const reader = await CarReader.fromIterable(fs.createReadStream(car));
const [root] = await reader.getRoots();
const blocks = {
  async *get(cid) { yield (await reader.get(cid)).bytes; },
};

const found = new Map();
for await (const entry of recursive(root, blocks)) {
  const node = await exporter(entry.cid, blocks);
  if (node.type !== "file" && node.type !== "raw") continue;
  const chunks = [];
  for await (const chunk of node.content()) chunks.push(chunk);
  found.set(entry.path.split("/").slice(1).join("/"), Buffer.concat(chunks));
}
const wanted = fs.readdirSync(folder, { recursive: true, withFileTypes: true }).filter((e) => e.isFile());
for (const entry of wanted) {
  const file = path.join(entry.parentPath ?? entry.path, entry.name);
  const name = path.relative(folder, file);
  assert.ok(found.has(name), `${name} is not in the CAR`);
  assert.ok(found.get(name).equals(fs.readFileSync(file)), `${name} differs`);
}
assert.equal(found.size, wanted.length);
console.log(`${found.size} files`);
