// Checks a signed answer of Atoll with nothing but what the browser has: the template of docs/signed-answers.md, SHA-256 and
// ECDSA P-256 by WebCrypto. Says `ok`, `bad` or `unsigned`.

const COMPONENTS =
  '("@status" "@authority";req "unencoded-digest" "atoll-bundle" "atoll-key" "atoll-head" "atoll-nonce")';
const SKEW_SECONDS = 300;
const NO_NONCE = "0x" + "0".repeat(64);
const HASH = /^0x[0-9a-f]{64}$/;
const KEY = /^\/[!-~]{0,511}$/;
const DIGEST = /^sha-256=:([A-Za-z0-9+/]{43}=):$/;

/** Fetches `url` and checks the answer; over a fresh nonce unless `reused`. */
export async function verify(url, { reused = false, signer = null, fetch = globalThis.fetch } = {}) {
  const nonce = "0x" + hex(crypto.getRandomValues(new Uint8Array(32)));
  const headers = reused ? {} : { "Atoll-Nonce": nonce };
  const response = await fetch(url, { headers, cache: "no-store", credentials: "omit" });
  const body = new Uint8Array(await response.arrayBuffer());
  const asked = new URL(response.url || url);
  return check({ status: response.status, authority: asked.host, headers: response.headers, body, nonce, signer });
}

/** Checks an answer. `authority` is host and port as URLs write them: without the scheme's own port. */
export async function check({ status, authority, headers, body, nonce = null, signer = null, now = Date.now() / 1000 }) {
  const input = headers.get("signature-input") ?? "";
  if (!/(^|,\s*)atoll=/.test(input)) return { verdict: "unsigned", why: "the answer carries no signature labelled atoll" };
  const bad = (why) => ({ verdict: "bad", why });
  const params = member(input, /^\(.*\)((;[a-z]+=(\d{1,15}|"[^"\\]*"))*)$/);
  const times = params?.startsWith(COMPONENTS)
    && /^;created=(\d{1,15});expires=(\d{1,15});keyid="(0x[0-9a-f]{64})";alg="ecdsa-p256-sha256";tag="atoll-1"$/
      .exec(params.slice(COMPONENTS.length));
  if (!times) return bad("the signature is not of the template: its components and parameters are others");
  const [created, expires, node] = [Number(times[1]), Number(times[2]), times[3]];
  if (!(expires - created >= 1 && expires - created <= SKEW_SECONDS)) return bad("the signature counts for too long");
  const field = (name, form) => { const value = headers.get(name); return value !== null && form.test(value) ? value : null; };
  const fields = {
    "unencoded-digest": field("unencoded-digest", DIGEST),
    "atoll-bundle": field("atoll-bundle", HASH),
    "atoll-key": field("atoll-key", KEY),
    "atoll-head": field("atoll-head", HASH),
    "atoll-nonce": field("atoll-nonce", HASH),
  };
  for (const [name, value] of Object.entries(fields)) if (value === null) return bad(`the field ${name} is missing or malformed`);
  const signature = unbase64(member(headers.get("signature") ?? "", /^:[A-Za-z0-9+/]{86}==:$/)?.slice(1, -1));
  if (signature === null) return bad("the field signature is missing or malformed");
  const base = [
    `"@status": ${status}`,
    `"@authority";req: ${authority}`,
    ...Object.entries(fields).map(([name, value]) => `"${name}": ${value}`),
    `"@signature-params": ${params}`,
  ].join("\n");
  if (!await signed(node, new TextEncoder().encode(base), signature)) return bad(`it is no signature of node ${node} over this answer`);
  if (created > now + SKEW_SECONDS) return { verdict: "unsigned", why: "the signature was made ahead of this clock" };
  if (expires <= now) return { verdict: "unsigned", why: "the signature counts no longer" };
  const about = {
    signer: node, bundle: fields["atoll-bundle"], key: fields["atoll-key"], created, expires,
    fresh: fields["atoll-nonce"] !== NO_NONCE, base,
  };
  const digest = base64(await sha256(body));
  if (DIGEST.exec(fields["unencoded-digest"])[1] !== digest) return { ...about, ...bad("the body is not the one that was signed") };
  if (about.fresh && fields["atoll-nonce"] !== nonce) return { ...about, ...bad("it was signed over another nonce than was sent") };
  if (signer !== null && signer !== node) return { ...about, ...bad(`it was signed by ${node}`) };
  return { verdict: "ok", why: null, ...about };
}

/** The member `atoll` of a dictionary of signatures, if it has that form. Commas stand in no member of ours. */
function member(dictionary, form) {
  const found = dictionary.split(/,\s*(?=[a-z*][a-z0-9_.*-]*=)/).filter((one) => one.startsWith("atoll="));
  const value = found.length === 1 ? found[0].slice("atoll=".length).trim() : null;
  return value !== null && form.test(value) ? value : null;
}

/** Whether that node made a signature: it fits a few keys, and the node's id is the hash of one (SEC 1, section 4.1.6). */
async function signed(node, base, signature) {
  for (const point of await keys(base, signature)) {
    if ("0x" + hex(await sha256(point)) !== node) continue;
    const key = await crypto.subtle.importKey("raw", point, { name: "ECDSA", namedCurve: "P-256" }, false, ["verify"]);
    return crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, signature, base);
  }
  return false;
}

// The curve P-256 (FIPS 186-5, section 3.2.1.3 of SP 800-186): y² = x³ − 3x + B over the field of P elements. Nothing here is secret.
const P = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn;
const N = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const B = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn;
const G = [
  0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296n,
  0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5n,
  1n,
];
const mod = (a, m) => ((a % m) + m) % m;

function power(base, exponent, m) {
  let result = 1n;
  for (base = mod(base, m); exponent > 0n; exponent >>= 1n, base = base * base % m) if (exponent & 1n) result = result * base % m;
  return result;
}

/** The sum of two points in Jacobian coordinates; `null` is the point at infinity. */
function add(p, q) {
  if (p === null) return q;
  if (q === null) return p;
  const [px, py, pz] = p, [qx, qy, qz] = q;
  const pzz = pz * pz % P, qzz = qz * qz % P;
  const u = px * qzz % P, h = mod(qx * pzz - u, P);
  const s = py * qzz % P * qz % P, r = mod(qy * pzz % P * pz - s, P);
  if (h === 0n) return r === 0n ? double(p) : null;
  const hh = h * h % P, hhh = hh * h % P, v = u * hh % P;
  const x = mod(r * r - hhh - 2n * v, P);
  return [x, mod(r * (v - x) - s * hhh, P), pz * qz % P * h % P];
}

function double([px, py, pz]) {
  if (py === 0n) return null;
  const zz = pz * pz % P, yy = py * py % P;
  const m = 3n * mod(px - zz, P) * (px + zz) % P, s = 4n * px * yy % P;
  const x = mod(m * m - 2n * s, P);
  return [x, mod(m * (s - x) - 8n * yy * yy, P), 2n * py * pz % P];
}

function times(scalar, point) {
  let sum = null;
  for (; scalar > 0n; scalar >>= 1n, point = point && double(point)) if (scalar & 1n) sum = add(sum, point);
  return sum;
}

/** The keys, as uncompressed points, that a signature over `base` fits. */
async function keys(base, signature) {
  const [r, s] = [number(signature.slice(0, 32)), number(signature.slice(32))];
  if (r === 0n || s === 0n || r >= N || s >= N) return [];
  const hash = number(await sha256(base)) % N, inverse = power(r, N - 2n, N);
  const found = [];
  for (const x of [r, r + N].filter((x) => x < P)) {
    const square = mod(x * x % P * x - 3n * x + B, P), y = power(square, (P + 1n) / 4n, P);
    if (y * y % P !== square) continue;
    for (const side of [y, P - y]) {
      const key = add(times(s * inverse % N, [x, side, 1n]), times(mod(-hash * inverse, N), G));
      if (key === null) continue;
      const z = power(key[2], P - 2n, P), zz = z * z % P;
      found.push(Uint8Array.of(4, ...bytes(key[0] * zz % P), ...bytes(key[1] * zz % P * z % P)));
    }
  }
  return found;
}

const sha256 = async (data) => new Uint8Array(await crypto.subtle.digest("SHA-256", data));
const hex = (data) => Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
const number = (data) => BigInt("0x" + hex(data));
const bytes = (value) => Uint8Array.from(value.toString(16).padStart(64, "0").match(/../g), (byte) => parseInt(byte, 16));
const base64 = (data) => btoa(String.fromCharCode(...data));
const unbase64 = (text) => (text === undefined ? null : Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
