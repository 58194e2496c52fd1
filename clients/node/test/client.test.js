import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { ApprovalRequiredError, KeywardClient, NoAnswerError, ProblemError } from '../src/index.js';
import { admin, tenant, url } from './keyward.js';

const apiKey = process.env.KEYWARD_API_KEY;

test('a change whose answer is lost is made once', async () => {
  const { slug } = await tenant();
  const keys = [];
  const replayed = [];
  const lossy = new KeywardClient({
    url,
    apiKey,
    fetch: async (address, init) => {
      keys.push(init.headers['Idempotency-Key']);
      const response = await fetch(address, init);
      replayed.push(response.headers.get('idempotent-replayed'));
      if (keys.length < 3) throw new TypeError('fetch failed'); // after it was done
      return response;
    },
  });
  const rotated = await lossy.rotateKeys(slug);
  assert.equal(new Set(keys).size, 1);
  assert.deepEqual(replayed, [null, 'true', 'true']);
  const events = await admin.get('/v1/tenants/{tenant}/audit', { path: { tenant: slug }, query: { action: 'key.activated' } });
  assert.equal(events.items.length, 2); // of the creation and of one rotation
  assert.equal(events.items[0].kid, rotated.active.kid);

  // A process that was restarted brings its key.
  const again = await admin.rotateKeys(slug, {}, { idempotencyKey: keys[0] });
  assert.equal(again.active.kid, rotated.active.kid);
});

test('without any answer the error has the key', async () => {
  let tries = 0;
  const dead = new KeywardClient({
    url,
    apiKey,
    sleep: async () => {},
    fetch: async () => {
      tries++;
      throw new TypeError('fetch failed');
    },
  });
  await assert.rejects(dead.createTenant({ slug: 'never' }), (error) => error instanceof NoAnswerError && /^[0-9a-f-]{36}$/.test(error.idempotencyKey) && !error.message.includes(apiKey));
  assert.equal(tries, 4);
});

test('Retry-After is heeded, and too long a wait is not waited for', async () => {
  const waits = [];
  const answers = [
    new Response('{}', { status: 503, headers: { 'Retry-After': '7' } }),
    new Response('{"code":"rate_limited"}', { status: 429, headers: { 'Retry-After': '3600' } }),
  ];
  const busy = new KeywardClient({ url, apiKey, sleep: async (ms) => waits.push(ms), fetch: async () => answers.shift() });
  await assert.rejects(busy.getTenant('x'), (error) => error instanceof ProblemError && error.status === 429 && error.code === 'rate_limited' && error.retryAfterSeconds === 3600);
  assert.deepEqual(waits, [7000]);
});

test('errors of the API are ProblemErrors', async () => {
  await assert.rejects(admin.getTenant('nobody'), (error) => error instanceof ProblemError && error.code === 'tenant_not_found' && error.status === 404 && Boolean(error.requestId));
  await assert.rejects(admin.createTenant({ slug: 'NOT A SLUG' }), (error) => error.code === 'invalid_request' && error.errors.some((e) => e.field === 'slug'));
  // Something that is not Keyward.
  const other = new KeywardClient({ url, apiKey, fetch: async () => new Response('<html>secret</html>', { status: 418 }) });
  await assert.rejects(other.getTenant('x'), (error) => error.code === 'unknown' && error.status === 418 && !error.message.includes('secret'));
});

test('lists have all pages, and paths any kid', async () => {
  const { slug } = await tenant();
  await admin.put('/v1/tenants/{tenant}/policies/{alg}', { path: { tenant: slug, alg: 'EdDSA' }, body: {} });
  const kids = [];
  for await (const key of admin.keys(slug, { limit: 1 })) kids.push(key.kid);
  assert.equal(new Set(kids).size, 4);
  const kid = 'a/b?c=%20 ü';
  const { privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
  await admin.post('/v1/tenants/{tenant}/keys/import', { path: { tenant: slug }, body: { private_key: await crypto.subtle.exportKey('jwk', privateKey), alg: 'ES256', kid } });
  assert.equal((await admin.get('/v1/tenants/{tenant}/keys/{kid}', { path: { tenant: slug, kid } })).kid, kid);
  await assert.rejects(admin.get('/v1/tenants/{tenant}/keys/{kid}', { path: { tenant: slug, kid: '..' } }), { code: 'invalid_argument' });
});

test('an approval that is required is an error with the approval', async () => {
  const { slug } = await tenant();
  await admin.patch('/v1/tenants/{tenant}', { path: { tenant: slug }, body: { approval_required: ['revoke_all'] } });
  const request = admin.post('/v1/tenants/{tenant}/keys/revoke-all', { path: { tenant: slug }, body: { reason: 'compromised' } });
  await assert.rejects(request, (error) => error instanceof ApprovalRequiredError && error.approval.status === 'pending');
});

test('events are one iterator across connections', async () => {
  const { slug } = await tenant();
  const rename = (name) => admin.patch('/v1/tenants/{tenant}', { path: { tenant: slug }, body: { name } });
  const positions = [];
  const cut = new KeywardClient({
    url,
    apiKey,
    fetch: async (address, init) => {
      positions.push(init.headers['Last-Event-ID']);
      const response = await fetch(address, init);
      if (positions.length > 1) return response;
      rename('one');
      // The first stream ends after its first event; the second event comes while there is none.
      const events = response.body.pipeThrough(
        new TransformStream({
          async transform(chunk, controller) {
            controller.enqueue(chunk);
            if (!Buffer.from(chunk).includes('event: ')) return;
            await rename('two');
            controller.terminate();
          },
        }),
      );
      return new Response(events, { status: 200, headers: response.headers });
    },
  });
  const seqs = [];
  for await (const { event, data } of cut.events({ tenant: slug })) {
    assert.equal(event, 'tenant.updated');
    seqs.push(data.seq);
    if (seqs.length === 2) break;
  }
  assert.equal(seqs[1], seqs[0] + 1);
  assert.equal(positions[0], undefined);
  assert(positions[1]);
});

test('a credential does not go over http to another machine', () => {
  assert.throws(() => new KeywardClient({ url: 'http://keys.example.com', apiKey: 'x' }), { code: 'invalid_argument' });
  assert.throws(() => new KeywardClient({ url: 'https://user:password@keys.example.com', apiKey: 'x' }), { code: 'invalid_argument' });
  new KeywardClient({ url: 'http://keys.internal', apiKey: 'x', allowHttp: true });
});

test('the types are those of openapi.yaml', () => {
  const fresh = path.join(tmpdir(), `schema-${process.pid}.d.ts`);
  execFileSync('npx', ['openapi-typescript', '../../httpapi/openapi.yaml', '-o', fresh], { cwd: path.join(import.meta.dirname, '..'), stdio: 'pipe' });
  try {
    assert.equal(readFileSync(path.join(import.meta.dirname, '../src/schema.d.ts'), 'utf8'), readFileSync(fresh, 'utf8'), 'run `make types`');
  } finally {
    rmSync(fresh);
  }
});

test('the package has what it exports, with types', () => {
  const dir = path.join(import.meta.dirname, '..');
  const [{ files }] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: dir, stdio: ['ignore', 'pipe', 'ignore'] }));
  const packed = new Set(files.map((file) => file.path));
  const { exports } = JSON.parse(readFileSync(path.join(dir, 'package.json'), 'utf8'));
  for (const [name, targets] of Object.entries(exports)) {
    for (const target of [targets].flat().flatMap((t) => (typeof t === 'string' ? t : Object.values(t)))) {
      assert(packed.has(target.replace('./', '')), `${name}: ${target} is not in the package`);
    }
  }
  assert(packed.has('LICENSE') && packed.has('README.md'));
  assert(![...packed].some((file) => file.startsWith('test/')));
});
