// The page that verifies, in real Chromium: right answers, unsigned ones, and answers that somebody changes on their way.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

const require = createRequire(process.env.ATOLL_NODE_MODULES + "/x.js");
const { chromium } = require("playwright-core");
const [page, site, node] = process.argv.slice(2);

const browser = await chromium.launch({
  executablePath: process.env.ATOLL_CHROMIUM,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  const tab = await (await browser.newContext({ viewport: { width: 390, height: 844 } })).newPage();
  await tab.goto(page);
  const ask = async (url) => {
    await tab.evaluate(() => { document.getElementById("verdict").textContent = ""; });
    await tab.fill("input", url);
    await tab.click("button");
    await tab.waitForFunction(() => document.getElementById("verdict").textContent !== "");
    return tab.evaluate(() => [document.getElementById("verdict").textContent, document.getElementById("about").innerText]);
  };
  for (const [url, key] of [
    [page, "/"], [page + "verify.js", "/verify.js"], [site + "/a%20b.txt", "/a%20b.txt"], [site + "/app/any/where", "/app.html"],
    [site + "/nowhere", "/nowhere"], [site + "/big.txt", "/big.txt"],
  ]) {
    const [verdict, about] = await ask(url);
    assert.equal(verdict, "ok", `${url}: ${about}`);
    assert.ok(about.includes(node) && about.includes(`\n${key}\n`) && about.includes("of this request"), about);
  }
  // A redirect is followed, and what it leads to is checked.
  assert.equal((await ask(site + "/old"))[0], "ok");
  assert.match((await ask(site + "/bare/"))[0], /^unsigned/);
  const wide = await tab.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.ok(!wide, "the page is wider than a phone");

  const change = async (how, expected) => {
    await tab.route("**/app.html", async (route) => {
      // Names under localhost are this machine for browsers, and nothing for Node.
      const url = new URL(route.request().url()), host = url.host;
      url.hostname = "127.0.0.1";
      const response = await route.fetch({ url: url.href, headers: { ...route.request().headers(), host } });
      await route.fulfill({ response, ...how(await response.text(), response.headers()) });
    });
    assert.match((await ask(site + "/app.html"))[0], expected);
    await tab.unroute("**/app.html");
  };
  await change(() => ({}), /^ok$/);
  await change((body) => ({ body: body + " " }), /^bad: the body/);
  await change((_, headers) => ({ headers: { ...headers, "atoll-key": "/index.html" } }), /^bad: it is no signature/);
  await change((_, headers) => ({ headers: { ...headers, signature: headers.signature.replace("atoll", "other") } }), /^bad/);
  await change((_, { "signature-input": _input, ...headers }) => ({ headers }), /^unsigned/);
  await change(() => ({ status: 404 }), /^bad: it is no signature/);
} finally {
  await browser.close();
}
