// Compiled, not run: what the declarations must accept and refuse.
import express from 'express';
import fastify from 'fastify';
import Koa from 'koa';

import { KeywardClient, createVerifier, type Schemas } from '../src/index.js';
import { keyward as forExpress } from '../src/express.js';
import { keyward as forFastify, guard } from '../src/fastify.js';
import { keyward as forKoa } from '../src/koa.js';
import { KeywardGuard, Public } from '../src/nestjs.js';

const client = new KeywardClient({ url: 'https://keys.example.com', apiKey: 'kw_x' });

export async function use(): Promise<void> {
  const tenant: Schemas['Tenant'] = await client.post('/v1/tenants', { body: { slug: 'acme' } });
  const path = { tenant: tenant.slug };
  const signed: Schemas['SignedToken'] = await client.post('/v1/tenants/{tenant}/tokens', { path, body: { claims: { sub: 'alice' } } });
  const policy: Schemas['Policy'] | Schemas['PolicyPreview'] = await client.put('/v1/tenants/{tenant}/policies/{alg}', { path: { ...path, alg: 'RS256' }, body: {} });
  const gone: undefined = await client.delete('/v1/tenants/{tenant}/webhooks/{id}', { path: { ...path, id: 'x' } });
  for await (const key of client.list('/v1/tenants/{tenant}/keys', { path, query: { state: 'active' } })) {
    const kid: string = key.kid;
    void kid;
  }
  for await (const event of client.events({ tenant: 'acme' })) if (event.event === 'key.revoked') break;
  await client.get('/healthz');
  await client.rotateKeys('acme');
  void [signed, policy, gone];

  // @ts-expect-error: the path has a name
  await client.get('/v1/tenants/{tenant}');
  // @ts-expect-error: claims is missing
  await client.post('/v1/tenants/{tenant}/tokens', { path, body: {} });
  // @ts-expect-error: no such member
  await client.post('/v1/tenants', { body: { slug: 'x', colour: 'red' } });
  // @ts-expect-error: no such operation
  await client.patch('/v1/tenants', {});
  // @ts-expect-error: no such state
  client.list('/v1/tenants/{tenant}/keys', { path, query: { state: 'happy' } });
}

const verifier = createVerifier({ url: 'https://keys.example.com', tenant: 'acme', audience: 'api', apiKey: async () => 'kw_x' });
// @ts-expect-error: the tenant is missing
createVerifier({ url: 'https://keys.example.com' });

const app = express();
app.use(forExpress({ verifier, scope: 'read' }));
app.get('/', (req, res) => void res.send(req.auth?.claims.sub));
new Koa().use(forKoa({ verifier: (ctx) => (ctx.path === '/' ? verifier : undefined) })).use((ctx) => void ctx.state.auth?.claims.sub);
const server = fastify();
server.register(forFastify, { verifier });
server.get('/', { onRequest: guard({ verifier, optional: true }) }, async (request) => request.auth?.claims.sub);
void [new KeywardGuard({ verifier }), Public()];
