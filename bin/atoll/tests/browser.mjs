// Opens what the demo shows in real Chromium, at the width of a phone, and checks what a person would.
import { createRequire } from "node:module";
import assert from "node:assert/strict";

const require = createRequire(process.env.ATOLL_NODE_MODULES + "/x.js");
const { chromium } = require("playwright-core");
const { root, nodes } = JSON.parse(process.argv[2]).demo;

const browser = await chromium.launch({
  executablePath: process.env.ATOLL_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 } });
  const page = await context.newPage();
  const foreign = [];
  page.on("request", (r) => { if (!/^(data:|http:\/\/([a-z0-9.]*localhost|127\.0\.0\.1):)/.test(r.url())) foreign.push(r.url()); });
  const failed = [];
  page.on("response", (r) => { if (r.status() >= 400) failed.push(`${r.status()} ${r.url()}`); });

  for (const node of nodes) {
    for (const url of [node.site, node.path]) {
      await page.goto(url, { waitUntil: "load" });
      assert.equal(await page.title(), "Calm water", url);
      assert.equal(await page.evaluate(() => getComputedStyle(document.body).color), "rgb(16, 48, 58)", `CSS by ${url}`);
      assert.ok(await page.evaluate(() => document.querySelector("img").naturalWidth > 0), `image by ${url}`);
      await page.click("a");
      await page.waitForFunction(() => document.title === "Deep water");
    }
  }

  // The listing's style is the one that its policy names by hash.
  await page.goto(new URL(`/ipfs/${root}/listed/`, nodes[0].path).href, { waitUntil: "load" });
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).maxWidth), "960px", "a listing without style");

  // Seeking: the browser jumps to the end of a long sound without what lies before it.
  for (const node of nodes) {
    const parts = [];
    const note = (r) => { if (r.url().endsWith("/tone.wav")) parts.push([r.status(), r.headers()["content-range"] ?? ""]); };
    page.on("response", note);
    await page.goto(node.site);
    const sound = await page.evaluate(async () => {
      const audio = document.body.appendChild(document.createElement("audio"));
      const next = (name) => new Promise((done, fail) => {
        audio.addEventListener(name, done, { once: true });
        audio.addEventListener("error", () => fail(new Error(audio.error.message)), { once: true });
      });
      audio.src = new URL("tone.wav", location.href).href;
      await next("loadedmetadata");
      const seeked = next("seeked");
      audio.currentTime = 235;
      await seeked;
      return { at: audio.currentTime, length: audio.duration, ready: audio.readyState };
    });
    assert.deepEqual([sound.at, sound.length], [235, 240], node.site);
    assert.ok(sound.ready >= 2, `nothing to play at 235 s by ${node.site}`);
    const far = parts.some(([status, range]) => status === 206 && Number(/^bytes (\d+)-/.exec(range)?.[1]) > 10_000_000);
    assert.ok(far, `no range near the end was asked of ${node.site}: ${JSON.stringify(parts)}`);
    page.off("response", note);
  }

  const holder = nodes.find((node) => node.holds);
  await page.goto(holder.status);
  await page.waitForFunction(() => document.documentElement.dataset.live === "yes");
  const text = await page.evaluate(() => document.body.innerText);
  for (const word of ["requests", "hits", "p50", "p99", "sent", "sites below target", root, "3 of 3 copies", "this node"]) {
    assert.ok(text.includes(word), `the status page lacks “${word}”:\n${text}`);
  }
  assert.equal(new Set(text.match(/12D3KooW\w+/g)).size, 5, text);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.ok(!wide, "the status page is wider than a phone");
  const requests = () => page.evaluate(() => document.querySelector("#tiles b").textContent);
  const before = await requests();
  await fetch(holder.path);
  await page.waitForFunction((old) => document.querySelector("#tiles b").textContent !== old, before);
  assert.deepEqual(foreign, [], "no assets from elsewhere");
  assert.deepEqual(failed, []);
} finally {
  await browser.close();
}
