// A service in Node.js 20 that uses Keyward: a token for each tenant, verified; a
// rotation and a revocation; a webhook; a change that is repeated.
//
//	KEYWARD_URL=https://keys.example.com KEYWARD_API_KEY=kw_… node program.mjs
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

import { createVerifier, KeywardClient, WebhookReceiver } from '@keyward/client';

const url = process.env.KEYWARD_URL;
const audience = 'https://orders.example.com';
const keyward = new KeywardClient({ url, apiKey: process.env.KEYWARD_API_KEY });
const issue = (tenant) => keyward.signToken(tenant, { claims: { sub: 'alice', aud: audience } });

// Create the tenants. A key that your job has stored makes each change happen once,
// whatever fails in between; without one the client sends a random one.
const [acme, globex] = ['acme', 'globex'].map((name) => `${name}-${randomUUID()}`);
for (const slug of [acme, globex]) {
  const idempotencyKey = `create-${slug}`;
  const first = await keyward.createTenant({ slug }, { idempotencyKey });
  const again = await keyward.createTenant({ slug }, { idempotencyKey });
  assert.equal(first.id, again.id);
}

// One verifier for each tenant, which hears of revocations with a credential that
// can do nothing else.
async function verifierOf(tenant) {
  const { key } = await keyward.post('/v1/tenants/{tenant}/api-keys', { path: { tenant }, body: { role: 'tenant_verifier' } });
  const verifier = createVerifier({ url, tenant, audience, apiKey: key });
  await verifier.ready();
  return verifier;
}
const verifiers = new Map();
for (const slug of [acme, globex]) verifiers.set(slug, await verifierOf(slug));

// A token of one tenant is nothing to another.
const { token, kid } = await issue(acme);
const { claims } = await verifiers.get(acme).verify(token);
assert.equal(claims.sub, 'alice');
await assert.rejects(verifiers.get(globex).verify(token), { code: 'unknown_key' });
console.log('issued and verified');

// After a rotation old and new tokens verify.
await keyward.rotateKeys(acme);
const next = await issue(acme);
assert.notEqual(next.kid, kid);
await verifiers.get(acme).verify(next.token);
await verifiers.get(acme).verify(token);
console.log('followed a rotation');

// A leaked key: nothing that it signed verifies from the moment the event arrives.
await keyward.revokeKey(acme, next.kid, { reason: 'compromised', comment: 'in a log' });
for (;;) {
  const refused = await verifiers.get(acme).verify(next.token).then(() => false, (error) => error.code === 'key_revoked');
  if (refused) break;
  await new Promise(setImmediate);
}
console.log('heard of a revocation');

// A webhook. Answer soon, and remember delivery.id: it can arrive more than once.
let deliver, receiver;
const delivered = new Promise((resolve) => (deliver = resolve));
const server = createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  try {
    deliver(await (await receiver).verify(Buffer.concat(chunks), request.headers['keyward-signature']));
    response.writeHead(204).end();
  } catch {
    response.writeHead(401).end();
  }
}).listen(0, '127.0.0.1');
await once(server, 'listening');
receiver = keyward
  .post('/v1/tenants/{tenant}/webhooks', { path: { tenant: acme }, body: { url: `http://127.0.0.1:${server.address().port}/` } })
  .then((hook) => new WebhookReceiver({ url, webhookId: hook.id }));
console.log(`verified a webhook: ${(await delivered).event.action}`);

for (const verifier of verifiers.values()) verifier.close();
server.closeAllConnections();
server.close();
