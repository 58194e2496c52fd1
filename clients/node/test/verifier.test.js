import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { createVerifier, WebhookReceiver } from '../src/index.js';
import { accepted, admin, refused, sign, tenant, url } from './keyward.js';

test('a revoked key stops verifying at once', async (t) => {
  const took = [];
  for (let tenants = 0; tenants < 10; tenants++) {
    const { slug, key } = await tenant();
    const verifier = createVerifier({ url, tenant: slug, audience: 'api', apiKey: key });
    t.after(() => verifier.close());
    await verifier.ready();
    assert(verifier.subscribed);
    for (let i = 0; i < 5; i++) {
      const old = await sign(slug);
      assert.equal((await accepted(verifier, old.token)).claims.sub, 'alice');
      await admin.revokeKey(slug, old.kid, { reason: 'compromised' });
      const answered = performance.now();
      assert.equal(await refused(verifier, old.token), 'key_revoked');
      took.push(performance.now() - answered);
    }
    verifier.close();
  }
  took.sort((a, b) => a - b);
  t.diagnostic(`from the answer to the refusal: p50 ${took[25].toFixed(1)} ms, p99 ${took[49].toFixed(1)} ms of ${took.length}`);
  // The set is valid for 300 s: without the event the token would have been accepted for so long.
  assert(took.at(-1) < 60_000);
});

test('without a stream a revoked key goes with the next set', async () => {
  const { slug } = await tenant();
  let now = { mono: 0, wall: Date.now() };
  const verifier = createVerifier({ url, tenant: slug, audience: 'api', cache: { now: () => now } });
  const old = await sign(slug);
  await verifier.verify(old.token);
  await admin.revokeKey(slug, old.kid, { reason: 'compromised', mode: 'standby' });
  await verifier.verify(old.token); // cached
  now = { mono: now.mono + 300_001, wall: now.wall + 300_001 };
  assert.equal(await refused(verifier, old.token), 'unknown_key');
});

test('a fresh key is fetched, and the revoked one goes with that', async () => {
  const { slug } = await tenant();
  const verifier = createVerifier({ url, tenant: slug, audience: 'api' });
  const old = await sign(slug);
  await verifier.verify(old.token);
  await admin.revokeKey(slug, old.kid, { reason: 'compromised', mode: 'fresh' });
  await verifier.verify((await sign(slug)).token);
  assert.equal(await refused(verifier, old.token), 'unknown_key');
});

test('not_before is heard of at once', async (t) => {
  const { slug, key } = await tenant();
  const verifier = createVerifier({ url, tenant: slug, audience: 'api', apiKey: key });
  t.after(() => verifier.close());
  await verifier.ready();
  const { token } = await sign(slug);
  const { claims } = await verifier.verify(token);
  await admin.patch('/v1/tenants/{tenant}', { path: { tenant: slug }, body: { not_before: new Date((claims.iat + 1) * 1000).toISOString() } });
  assert.equal(await refused(verifier, token), 'issued_before');
});

test('a revocation while the stream is away is heard of when it resumes', async (t) => {
  const { slug, key } = await tenant();
  const asked = [];
  let cut;
  let heldBack = Promise.resolve();
  const verifier = createVerifier({
    url,
    tenant: slug,
    audience: 'api',
    apiKey: key,
    cache: { cooldown: 3_600_000 },
    fetch: async (address, init) => {
      if (!address.endsWith('/key-events')) {
        // A cache on the way that has the first set for good.
        return (asked.set ??= await fetch(address).then((r) => r.text()), new Response(asked.set, { headers: { 'Cache-Control': 'max-age=300' } }));
      }
      await heldBack;
      asked.push(init.headers['Last-Event-ID']);
      const response = await fetch(address, init);
      const away = new AbortController();
      cut = () => away.abort(new Error('cut'));
      return new Response(response.body.pipeThrough(new TransformStream(), { signal: away.signal }), { status: response.status, headers: response.headers });
    },
  });
  t.after(() => verifier.close());
  await verifier.ready();
  const old = await sign(slug);
  await verifier.verify(old.token);
  await admin.patch('/v1/tenants/{tenant}', { path: { tenant: slug }, body: { name: 'a position to resume at' } });
  let goOn;
  heldBack = new Promise((resolve) => (goOn = resolve));
  cut();
  await admin.revokeKey(slug, old.kid, { reason: 'compromised' });
  await verifier.verify(old.token); // nobody has told
  goOn();
  assert.equal(await refused(verifier, old.token), 'key_revoked');
  assert.equal(asked[0], undefined);
  assert(asked.at(-1), 'it did not resume');
});

test('a deleted tenant verifies nothing', async (t) => {
  const { slug, key } = await tenant();
  const verifier = createVerifier({ url, tenant: slug, audience: 'api', apiKey: key });
  t.after(() => verifier.close());
  await verifier.ready();
  const { token } = await sign(slug);
  await verifier.verify(token);
  await admin.delete('/v1/tenants/{tenant}', { path: { tenant: slug } });
  assert(['key_revoked', 'keys_unavailable'].includes(await refused(verifier, token)));
});

test('a token is refused for what is wrong with it', async () => {
  const { slug } = await tenant();
  const good = await sign(slug);
  const other = await tenant();
  const codes = {
    [good.token.slice(0, -8) + 'AAAAAAAA']: 'bad_signature',
    [(await sign(other.slug)).token]: 'unknown_key',
    [(await sign(slug, { aud: 'somebody else' })).token]: 'wrong_audience',
    [(await sign(slug, { nbf: Math.floor(Date.now() / 1000) + 600 })).token]: 'not_yet_valid',
    [(await admin.signToken(slug, { claims: { aud: 'api' }, typ: 'logout+jwt' })).token]: 'wrong_type',
    'a.b': 'malformed',
    '': 'malformed',
    ['x'.repeat(20_000)]: 'malformed',
  };
  const verifier = createVerifier({ url, tenant: slug, audience: 'api' });
  await verifier.verify(good.token);
  for (const [token, code] of Object.entries(codes)) await assert.rejects(verifier.verify(token), { name: 'TokenError', code });
  const later = createVerifier({ url, tenant: slug, audience: 'api', now: () => new Date(Date.now() + 86_400_000) });
  await assert.rejects(later.verify(good.token), { code: 'expired' });
  const elsewhere = createVerifier({ url, tenant: slug, issuer: 'https://other.example', audience: 'api' });
  await assert.rejects(elsewhere.verify(good.token), { code: 'wrong_issuer' });
  const strict = createVerifier({ url, tenant: slug, audience: 'api', algorithms: ['RS256'] });
  await assert.rejects(strict.verify(good.token), { code: 'algorithm_not_allowed' });
  // HMAC with a public key as the secret, and no signature at all.
  for (const alg of ['HS256', 'none']) {
    const forged = `${Buffer.from(JSON.stringify({ alg, kid: good.kid })).toString('base64url')}.${good.token.split('.')[1]}.${alg === 'none' ? '' : 'AAAA'}`;
    await assert.rejects(verifier.verify(forged), { name: 'TokenError' });
  }
});

test('all algorithms that Node.js has verify', async () => {
  const { slug } = await tenant();
  const verifier = createVerifier({ url, tenant: slug, audience: 'api' });
  for (const alg of ['ES384', 'ES512', 'EdDSA', 'Ed25519', 'RS256', 'PS512', 'ML-DSA-44']) {
    await admin.put('/v1/tenants/{tenant}/policies/{alg}', { path: { tenant: slug, alg }, body: {} });
  }
  await verifier.keys.refresh();
  for (const alg of ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'RS256', 'PS512']) {
    const { token } = await admin.signToken(slug, { claims: { aud: 'api' }, alg });
    assert.equal((await verifier.verify(token)).header.alg, alg);
  }
});

test('a webhook delivery is verified, and what is like one refused', async (t) => {
  const { createServer } = await import('node:http');
  const deliveries = [];
  let arrived;
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    deliveries.push({ body: Buffer.concat(chunks), signature: request.headers['keyward-signature'] });
    response.writeHead(204).end();
    arrived();
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const first = new Promise((resolve) => (arrived = resolve));
  const { slug } = await tenant();
  const hook = await admin
    .post('/v1/tenants/{tenant}/webhooks', { path: { tenant: slug }, body: { url: `http://127.0.0.1:${server.address().port}/` } })
    .catch((error) => error);
  if (hook.code) return t.skip(`this Keyward sends no webhooks to this machine: ${hook.message}`);
  await first;
  const [{ body, signature }] = deliveries;
  const receiver = new WebhookReceiver({ url, webhookId: hook.id });
  const delivery = await receiver.verify(body, signature);
  assert.equal(delivery.event.action, 'webhook.created');
  assert.equal(delivery.webhook_id, hook.id);
  await assert.rejects(receiver.verify(body.toString().replace('webhook.created', 'webhook.deleted'), signature), { code: 'bad_signature' });
  await assert.rejects(new WebhookReceiver({ url, webhookId: crypto.randomUUID() }).verify(body, signature), { code: 'wrong_audience' });
  await assert.rejects(new WebhookReceiver({ url, webhookId: hook.id, now: () => Date.now() + 600_000 }).verify(body, signature), { code: 'expired' });
  await assert.rejects(receiver.verify(body, undefined), { code: 'malformed' });
});
