import { importJWK } from 'jose';

import { readText } from './body.js';
import { KeysUnavailableError, TokenError } from './errors.js';
import { checkedURL } from './url.js';

const uncacheable = 30_000; // the age of a set whose issuer forbids caching: a fetch per token would help nobody
const maxStale = 3_600_000; // bounds stale-if-error (RFC 5861 section 4)
const patience = 500; // how long callers wait for a fetch while a stale set may be used
const maxRevoked = 10_000;
const curves = { ES256: 'P-256', ES384: 'P-384', ES512: 'P-521' };

/**
 * KeySet is a JWK Set of one issuer and its cache. A fetched set replaces the one
 * before it whole, so removed keys go; a revoked kid stays refused whatever set is
 * fetched later, as caches on the way may have older ones and a revocation is final.
 */
export class KeySet {
  #have; // { byKid, etag, modified, control, notBefore, fetched, refreshAfter, expiresAfter, staleUntil }
  #flight;
  #next;
  #revoked = new Set();
  #failedAt;
  #failures = 0;
  #failure;
  #unknown = []; // times of fetches for unknown kids

  constructor(o) {
    this.options = {
      fetch: globalThis.fetch,
      timeout: 5000,
      maxAge: 600_000,
      minAge: 1000,
      staleIfError: maxStale,
      cooldown: 5000,
      unknownKidsPerMinute: 6,
      maxBytes: 1 << 20,
      maxKeys: 200,
      headers: {},
      now: () => ({ mono: performance.now(), wall: Date.now() }),
      ...o,
    };
    this.url = checkedURL(o.url, o.allowHttp, 'the URL of the JWK Set').href;
    this.stats = { fetches: 0, failures: 0, unknownKids: 0 };
  }

  /** notBefore is the issuer's not_before as of the last fetched set, in seconds; undefined if it has none. */
  get notBefore() {
    return this.#have?.notBefore;
  }

  /** refuse makes a kid verify nothing from now on. */
  refuse(kid) {
    if (typeof kid !== 'string' || kid === '' || kid.length > 256) return;
    if (this.#revoked.size >= maxRevoked) this.#revoked.delete(this.#revoked.values().next().value);
    this.#revoked.add(kid);
  }

  isRevoked(kid) {
    return this.#revoked.has(kid);
  }

  /** refresh fetches a set now, past caches on the way. The fetch begins after the call. */
  refresh() {
    return (this.#next ??= this.#fetchAfterFlight());
  }

  async #fetchAfterFlight() {
    await null; // callers of this moment share the fetch
    while (this.#flight) await this.#flight.catch(() => {});
    this.#next = undefined;
    return this.#fetchOnce(true);
  }

  /** key returns the key that a JOSE header names, or throws a TokenError or KeysUnavailableError. */
  async key(header) {
    const { kid, alg } = header;
    if (kid !== undefined && typeof kid !== 'string') throw new TokenError('malformed', 'the kid is not a string');
    if (this.#revoked.has(kid)) throw new TokenError('key_revoked', 'the key is revoked');
    let have = await this.#usable();
    let found = this.#pick(have, kid, alg);
    const missing = () => found.length === 0 && !(kid !== undefined && have.byKid.has(kid));
    if (missing() && (this.#next ?? this.#flight)) {
      // A fetch that is under way anyway may bring it.
      have = await (this.#next ?? this.#flight).catch(() => have);
      found = this.#pick(have, kid, alg);
    }
    if (missing() && this.#mayLookAgain()) {
      this.stats.unknownKids++;
      // A set at hand answers well enough if there is no newer one.
      have = await this.refresh().catch(() => have);
      found = this.#pick(have, kid, alg);
    }
    if (this.#revoked.has(kid)) throw new TokenError('key_revoked', 'the key is revoked');
    if (found.length !== 1) {
      if (kid === undefined) throw new TokenError('unknown_key', 'the token has no kid, and not exactly one key has its algorithm');
      if (have.byKid.has(kid)) throw new TokenError('algorithm_not_allowed', 'the algorithm of the token is not that of its key');
      throw new TokenError('unknown_key', 'the issuer has no key with the kid of the token');
    }
    const [entry] = found;
    entry.key ??= importJWK({ ...entry.jwk, alg }, alg);
    try {
      return await entry.key;
    } catch (cause) {
      throw new TokenError('algorithm_not_allowed', 'this Node.js cannot use the key of the token', { cause });
    }
  }

  /** #pick returns the keys that may verify alg. */
  #pick(have, kid, alg) {
    const candidates = kid === undefined ? [...have.byKid.values()].flat() : (have.byKid.get(kid) ?? []);
    return candidates.filter(({ jwk }) => !this.#revoked.has(jwk.kid) && (jwk.alg === undefined ? fits(jwk, alg) : jwk.alg === alg));
  }

  /** #elapsed is by the monotonic clock and the wall clock, whichever counts more; a clock that went back makes a set stale. */
  #elapsed(since) {
    const now = this.options.now();
    const wall = now.wall - since.wall;
    return wall < 0 ? Infinity : Math.max(now.mono - since.mono, wall);
  }

  async #usable() {
    const have = this.#have;
    const age = have ? this.#elapsed(have.fetched) : Infinity;
    if (age < have?.expiresAfter) {
      if (age >= have.refreshAfter && !this.#backsOff()) this.#fetchOnce(false).catch(() => {});
      return have;
    }
    const stale = age < have?.staleUntil;
    if (this.#backsOff()) {
      if (stale) return have;
      throw this.#failure;
    }
    const newer = this.#fetchOnce(false);
    if (!stale) return newer;
    newer.catch(() => {});
    let timer;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, patience, have)));
    return Promise.race([newer, late])
      .catch(() => this.#have ?? Promise.reject(this.#failure))
      .finally(() => clearTimeout(timer));
  }

  /** #backsOff says that a fetch failed a moment ago: it is not asked again at once. */
  #backsOff() {
    return this.#failures > 0 && this.#elapsed(this.#failedAt) < Math.min(500 * 2 ** Math.min(this.#failures - 1, 6), 30_000);
  }

  /** #mayLookAgain bounds the fetches that tokens with made-up kids can cause. */
  #mayLookAgain() {
    const { cooldown, unknownKidsPerMinute } = this.options;
    if (this.#backsOff()) return false;
    this.#unknown = this.#unknown.filter((at) => this.#elapsed(at) < 60_000);
    const last = this.#unknown.at(-1);
    if (this.#unknown.length >= unknownKidsPerMinute || (last && this.#elapsed(last) < cooldown)) return false;
    this.#unknown.push(this.options.now());
    return true;
  }

  #fetchOnce(bypass) {
    if (this.#flight) return this.#flight;
    const flight = this.#fetch(bypass)
      .then(
        (have) => {
          this.#failures = 0;
          return (this.#have = have);
        },
        (error) => {
          this.stats.failures++;
          this.#failures++;
          this.#failedAt = this.options.now();
          this.#failure = error;
          throw error;
        },
      )
      .finally(() => (this.#flight = undefined));
    return (this.#flight = flight);
  }

  async #fetch(bypass) {
    const { fetch, timeout, headers, maxBytes } = this.options;
    const have = this.#have;
    const asking = { ...headers, Accept: 'application/json, application/jwk-set+json;q=0.9' };
    if (bypass) asking['Cache-Control'] = 'no-cache';
    if (have?.etag) asking['If-None-Match'] = have.etag;
    this.stats.fetches++;
    try {
      const fetched = this.options.now(); // a set is as old as its request
      const signal = AbortSignal.timeout(timeout);
      const response = await fetch(this.url, { headers: asking, redirect: 'error', signal });
      if (response.status === 304 && have) {
        await response.body?.cancel();
        return this.#date({ ...have }, response.headers, fetched, have);
      }
      if (response.status !== 200) {
        await response.body?.cancel();
        if (response.status === 404 || response.status === 410) this.#have = undefined; // that is an answer: there is no set
        throw new Error(`the status is ${response.status}`);
      }
      return this.#date({ byKid: this.#parse(await readText(response, maxBytes, signal)) }, response.headers, fetched);
    } catch (cause) {
      throw new KeysUnavailableError(`the JWK Set cannot be had from ${new URL(this.url).host}: ${cause.message}`, { cause });
    }
  }

  #parse(text) {
    const { keys } = JSON.parse(text);
    if (!Array.isArray(keys)) throw new Error('it is not a JWK Set');
    if (keys.length > this.options.maxKeys) throw new Error('it has too many keys');
    const byKid = new Map();
    for (const jwk of keys) {
      if (!isVerifying(jwk)) continue;
      if (!byKid.has(jwk.kid)) byKid.set(jwk.kid, []);
      byKid.get(jwk.kid).push({ jwk });
    }
    return byKid;
  }

  /** #date says how long a set may be used, by the rules of RFC 9111 within the bounds of the options. */
  #date(set, headers, fetched, before) {
    const { minAge, maxAge, staleIfError } = this.options;
    set.control = headers.get('cache-control') ?? before?.control ?? '';
    set.etag = headers.get('etag') ?? before?.etag;
    const epoch = headers.get('keyward-not-before');
    set.notBefore = epoch !== null && /^\d{1,12}(\.\d+)?$/.test(epoch) ? Number(epoch) : before?.notBefore;
    const control = directives(set.control);
    let age = maxAge;
    if (control.has('no-store') || control.has('no-cache')) age = uncacheable;
    else if (control.has('max-age')) {
      const seconds = Number(control.get('max-age'));
      const old = Number(headers.get('age') ?? 0) || 0;
      age = Number.isFinite(seconds) ? (seconds - old) * 1000 : uncacheable;
    }
    age = Math.min(Math.max(age, minAge), maxAge);
    const asked = Number(control.get('stale-if-error') ?? maxStale / 1000) * 1000;
    set.fetched = fetched;
    set.refreshAfter = 0.8 * age;
    set.expiresAfter = age;
    set.staleUntil = age + Math.min(Number.isFinite(asked) ? asked : 0, Math.max(staleIfError, 0), maxStale);
    return set;
  }
}

function fits(jwk, alg) {
  switch (jwk.kty) {
    case 'RSA':
      return /^[RP]S(256|384|512)$/.test(alg);
    case 'EC':
      return curves[alg] !== undefined && curves[alg] === jwk.crv;
    case 'OKP':
      return (alg === 'EdDSA' || alg === 'Ed25519') && jwk.crv === 'Ed25519';
  }
  return false; // AKP has alg (RFC 9964)
}

/** isVerifying leaves out keys that are for something else, and private ones, which everybody could have used. */
function isVerifying(jwk) {
  return (
    jwk !== null &&
    typeof jwk === 'object' &&
    ['RSA', 'EC', 'OKP', 'AKP'].includes(jwk.kty) &&
    (jwk.use === undefined || jwk.use === 'sig') &&
    (jwk.key_ops === undefined || (Array.isArray(jwk.key_ops) && jwk.key_ops.includes('verify'))) &&
    jwk.d === undefined &&
    jwk.priv === undefined
  );
}

function directives(header) {
  const all = new Map();
  for (const directive of header.toLowerCase().split(',')) {
    const [name, value = ''] = directive.split('=', 2).map((s) => s.trim());
    // A directive that is given twice says nothing valid (RFC 9111 section 4.2.1).
    if (name) all.set(name, all.has(name) ? 'twice' : value.replaceAll('"', ''));
  }
  return all;
}
