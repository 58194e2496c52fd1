import assert from 'node:assert/strict';
import { test } from 'node:test';

import { exportJWK, generateKeyPair } from 'jose';

import { parseEvents } from '../src/events.js';
import { KeySet } from '../src/keyset.js';

const jwk = async (kid) => ({ ...(await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey)), kid, alg: 'ES256', use: 'sig' });

/** issuer is a fetch that answers what respond returns, and a clock that the test moves. */
function issuer(keys, headers = {}, options = {}) {
  const state = { keys, headers, asked: [], status: 200, at: 0 };
  state.set = new KeySet({
    url: 'https://issuer.example/jwks.json',
    now: () => ({ mono: state.at, wall: 1e12 + state.at }),
    fetch: async (_, init) => {
      state.asked.push(init.headers);
      if (state.status === 304) return new Response(null, { status: 304, headers: state.headers });
      return new Response(state.body ?? JSON.stringify({ keys: state.keys }), { status: state.status, headers: state.headers });
    },
    ...options,
  });
  state.has = (kid) => state.set.key({ kid, alg: 'ES256' }).then(() => true, (error) => error.code);
  return state;
}

/** settle lets what runs in the background end; none of it waits for time. */
const settle = async () => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
};

test('Cache-Control counts, within bounds', async () => {
  for (const [header, age] of Object.entries({
    'max-age=300': 300, 'public, max-age=300, stale-while-revalidate=60': 300, 'max-age=0': 1, 'max-age=86400': 600, 'no-store': 30, 'no-cache, max-age=300': 30,
    '': 600, 'max-age=soon': 30, 'max-age=300, max-age=20': 30, 'MAX-AGE="120"': 120,
  })) {
    const i = issuer([await jwk('1')], { 'Cache-Control': header });
    await i.has('1');
    i.at = age * 1000 * 0.79;
    await i.has('1');
    await settle();
    assert.equal(i.asked.length, 1, header);
    i.at = age * 1000 * 0.81; // in the background
    await i.has('1');
    await settle();
    assert.equal(i.asked.length, 2, header);
  }
});

test('Age makes a set older', async () => {
  const i = issuer([await jwk('1')], { 'Cache-Control': 'max-age=300', Age: '200' });
  await i.has('1');
  i.at = 101_000;
  await i.has('1');
  assert.equal(i.asked.length, 2);
});

test('a set is replaced whole, and 304 keeps it', async () => {
  const [one, two] = [await jwk('1'), await jwk('2')];
  const i = issuer([one, two], { 'Cache-Control': 'max-age=300', ETag: '"a"', 'Keyward-Not-Before': '12' });
  assert.equal(await i.has('2'), true);
  Object.assign(i, { at: 301_000, status: 304, headers: {} });
  assert.equal(await i.has('2'), true);
  assert.equal(i.asked[1]['If-None-Match'], '"a"');
  assert.equal(i.set.notBefore, 12);
  Object.assign(i, { at: 602_000, status: 200, keys: [one] });
  assert.equal(await i.has('2'), 'unknown_key');
  assert.equal(await i.has('1'), true);
});

test('made-up kids cause few fetches', async () => {
  const i = issuer([await jwk('1')], { 'Cache-Control': 'max-age=600' });
  await i.has('1');
  for (let n = 0; n < 1000; n++) {
    assert.equal(await i.has(`x${n}`), 'unknown_key');
    i.at += 50;
  }
  assert(i.asked.length <= 1 + 6 + 1, `${i.asked.length} fetches in 50 s`);
  i.at += 120_000;
  i.keys.push(await jwk('2'));
  assert.equal(await i.has('2'), true); // a new key is found after that
  assert.equal(await i.set.key({ kid: '2', alg: 'RS256' }).catch((e) => e.code), 'algorithm_not_allowed');
});

test('a set is used beyond its age while there is no other', async () => {
  const i = issuer([await jwk('1')], { 'Cache-Control': 'max-age=300, stale-if-error=600' });
  assert.equal(await i.has('1'), true);
  Object.assign(i, { status: 500, at: 800_000 });
  assert.equal(await i.has('1'), true);
  await settle();
  const asked = i.asked.length;
  assert.equal(await i.has('1'), true); // what failed a moment ago is not asked again at once
  assert.equal(i.asked.length, asked);
  i.at = 901_000;
  assert.equal(await i.has('1'), 'keys_unavailable');
  Object.assign(i, { status: 200, at: 1_000_000 });
  assert.equal(await i.has('1'), true);
});

test('a clock that goes back makes a set stale', async () => {
  const key = await jwk('1');
  let wall = 1e12;
  const i = issuer([key], { 'Cache-Control': 'max-age=300, stale-if-error=0' }, { now: () => ({ mono: 0, wall }) });
  await i.has('1');
  wall -= 1000;
  await i.has('1');
  assert.equal(i.asked.length, 2);
});

test('a revoked kid stays refused whatever is fetched', async () => {
  const [one, two] = [await jwk('1'), await jwk('2')];
  const i = issuer([one, two]);
  assert.equal(await i.has('1'), true);
  assert.equal(await i.set.key({ alg: 'ES256' }).catch((e) => e.code), 'unknown_key'); // two keys, no kid
  i.set.refuse('1');
  assert.equal(await i.has('1'), 'key_revoked');
  await i.set.refresh();
  assert.equal(i.asked.at(-1)['Cache-Control'], 'no-cache');
  assert.equal(await i.has('1'), 'key_revoked');
  assert.equal((await i.set.key({ alg: 'ES256' })).type, 'public'); // without a kid it is the only other one
});

test('callers that wait at the same time share a fetch, and a refresh begins after the call', async () => {
  const i = issuer([await jwk('1')]);
  assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => i.has('1'))), Array(20).fill(true));
  assert.equal(i.asked.length, 1);
  const under = i.set.refresh();
  await null;
  await Promise.all([under, i.set.refresh(), i.set.refresh()]);
  assert(i.asked.length >= 2 && i.asked.length <= 3);
});

test('what is not a key for signatures is left out', async () => {
  const good = await jwk('1');
  const secret = await exportJWK((await generateKeyPair('ES256', { extractable: true })).privateKey);
  const i = issuer([null, 7, { kty: 'oct', k: 'AA', kid: 'o' }, { ...good, kid: 'e', use: 'enc' }, { ...secret, kid: 'p', alg: 'ES256' }, { ...good, kid: 'k', key_ops: ['sign'] }, good]);
  for (const kid of ['o', 'e', 'p', 'k']) assert.equal(await i.has(kid), 'unknown_key');
  assert.equal(await i.has('1'), true);
  for (const body of ['no JSON', '{}', '[]', 'null', JSON.stringify({ keys: Array(201).fill(good) }), ' '.repeat(2 << 20)]) {
    const bad = issuer([], {});
    bad.body = body;
    assert.equal(await bad.has('1'), 'keys_unavailable', body.slice(0, 20));
  }
});

test('events are parsed however they are cut', async () => {
  const text = ': hello\n\nretry: 2000\nid: 1\n\nid: 2\r\nevent: key.revoked\r\ndata: {"a":\r\ndata: "ü"}\r\n\r\nevent: x\rdata: y\r\rdata: cut off';
  const want = [{ id: undefined }, { retry: 2000, id: '1' }, { event: 'key.revoked', data: '{"a":\n"ü"}', id: '2' }, { event: 'x', data: 'y', id: '2' }];
  const bytes = Buffer.from(text);
  for (let size = 1; size <= bytes.length; size++) {
    const chunks = (async function* () {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    })();
    const events = [];
    for await (const event of parseEvents(chunks)) events.push(event);
    assert.deepEqual(events, want, `chunks of ${size}`);
  }
});
