import 'reflect-metadata';

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import fastifyCORS from '@fastify/cors';
import koaCORS from '@koa/cors';
import { Controller, Get, Module, Req } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import cors from 'cors';
import express from 'express';
import Fastify from 'fastify';
import Koa from 'koa';

import * as forExpress from '../src/express.js';
import * as forFastify from '../src/fastify.js';
import { createVerifier } from '../src/index.js';
import * as forKoa from '../src/koa.js';
import { KeywardGuard, Public } from '../src/nestjs.js';
import { admin, refused, sign, tenant, url } from './keyward.js';

const page = 'https://app.example.com';

/** apps start a server each: /me answers the sub of the token, /open answers to everybody. CORS comes before the guard, as README.md says. */
const apps = {
  async express(options) {
    const app = express();
    app.use(cors({ origin: page }));
    app.get('/open', (req, res) => res.json({ sub: req.auth?.claims.sub ?? null }));
    app.use('/me', forExpress.keyward(options));
    app.get('/me', (req, res) => res.json({ sub: req.auth?.claims.sub ?? null }));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: server.address().port, close: () => server.close() };
  },
  async koa(options) {
    const app = new Koa();
    app.use(koaCORS({ origin: page }));
    app.use(async (ctx, next) => {
      if (ctx.path !== '/open') return next();
      ctx.body = { sub: null };
    });
    app.use(forKoa.keyward(options));
    app.use((ctx) => (ctx.body = { sub: ctx.state.auth?.claims.sub ?? null }));
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { port: server.address().port, close: () => server.close() };
  },
  async fastify(options) {
    const app = Fastify();
    app.register(fastifyCORS, { origin: page });
    app.get('/open', async () => ({ sub: null }));
    app.register(async (scope) => {
      scope.register(forFastify.keyward, options);
      scope.get('/me', async (request) => ({ sub: request.auth?.claims.sub ?? null }));
    });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return { port: app.server.address().port, close: () => app.close() };
  },
  nestjs: (options) => nest(options),
  'nestjs on fastify': (options) => nest(options, new FastifyAdapter()),
};

/** nest starts a server of NestJS with a guard for all routes. */
async function nest(options, adapter) {
  class Me {
    me(request) {
      return { sub: request.auth?.claims.sub ?? null };
    }
    open() {
      return { sub: null };
    }
  }
  // What TypeScript's decorators do.
  Controller()(Me);
  for (const [name, decorators] of Object.entries({ me: [Get('me')], open: [Get('open'), Public()] })) {
    const descriptor = Object.getOwnPropertyDescriptor(Me.prototype, name);
    for (const decorate of decorators) decorate(Me.prototype, name, descriptor);
  }
  Req()(Me.prototype, 'me', 0);
  class App {}
  Module({ controllers: [Me] })(App);
  const app = await NestFactory.create(App, ...(adapter ? [adapter] : []), { logger: false });
  app.enableCors({ origin: page });
  app.useGlobalGuards(new KeywardGuard(options));
  await app.listen(0, '127.0.0.1');
  return { port: app.getHttpServer().address().port, close: () => app.close() };
}

let acme, globex, verifier;
before(async () => {
  [acme, globex] = [await tenant(), await tenant()];
  verifier = createVerifier({ url, tenant: acme.slug, audience: 'api', apiKey: acme.key });
  await verifier.ready();
});
after(() => verifier?.close());

for (const [name, start] of Object.entries(apps)) {
  test(`the guard of ${name}`, async (t) => {
    const { port, close } = await start({ verifier, scope: 'read', realm: 'acme' });
    t.after(close);
    const get = (path, token) => fetch(`http://127.0.0.1:${port}${path}`, { headers: token === undefined ? {} : { Authorization: token } });
    const refuses = async (response, status, code, challenge) => {
      assert.equal(response.status, status);
      // NestJS on Express answers an exception as application/json.
      assert.match(response.headers.get('content-type'), name === 'nestjs' ? /^application\/json/ : /^application\/problem\+json/);
      assert.match(response.headers.get('www-authenticate') ?? '', challenge);
      const problem = await response.json();
      assert.equal(problem.code, code);
      assert.equal(problem.status, status);
    };

    const good = await sign(acme.slug, { scope: 'write read' });
    const ok = await get('/me', `Bearer ${good.token}`);
    assert.deepEqual([ok.status, await ok.json()], [200, { sub: 'alice' }]);
    assert.equal((await get('/me', `bearer ${good.token}`)).status, 200);
    assert.equal((await get('/open')).status, 200);
    await refuses(await get('/me'), 401, 'unauthenticated', /^Bearer realm="acme"$/);
    await refuses(await get('/me', 'Basic YTpi'), 401, 'unauthenticated', /^Bearer/);
    await refuses(await get('/me', `Bearer ${(await sign(globex.slug)).token}`), 401, 'unknown_key', /error="invalid_token"/);
    await refuses(await get('/me', 'Bearer x.y.z'), 401, 'malformed', /error="invalid_token"/);
    await refuses(await get('/me', `Bearer ${(await sign(acme.slug, { scope: 'write' })).token}`), 403, 'insufficient_scope', /error="insufficient_scope", scope="read"/);

    await admin.revokeKey(acme.slug, good.kid, { reason: 'compromised' });
    assert.equal(await refused(verifier, good.token), 'key_revoked');
    await refuses(await get('/me', `Bearer ${good.token}`), 401, 'key_revoked', /error="invalid_token"/);
  });

  test(`the guard of ${name} behind CORS`, async (t) => {
    const { port, close } = await start({ verifier });
    t.after(close);
    const preflight = await fetch(`http://127.0.0.1:${port}/me`, { method: 'OPTIONS', headers: { Origin: page, 'Access-Control-Request-Method': 'GET', 'Access-Control-Request-Headers': 'authorization' } });
    assert.equal(preflight.status, 204); // it has no token
    assert.equal(preflight.headers.get('access-control-allow-origin'), page);
    const refusal = await fetch(`http://127.0.0.1:${port}/me`, { headers: { Origin: page } });
    assert.equal(refusal.status, 401);
    assert.equal(refusal.headers.get('access-control-allow-origin'), page); // else the page's script cannot read it
  });

  test(`the guard of ${name} while no keys can be had`, async (t) => {
    const down = createVerifier({ url, tenant: acme.slug, audience: 'api', fetch: async () => Promise.reject(new TypeError('fetch failed')) });
    const { port, close } = await start({ verifier: down });
    t.after(close);
    const { token } = await sign(acme.slug);
    const response = await fetch(`http://127.0.0.1:${port}/me`, { headers: { Authorization: `Bearer ${token}` } });
    assert.equal(response.status, 503); // the token may be good: 401 would make its owner sign in again
    assert.equal(response.headers.get('retry-after'), '5');
    assert.equal((await response.json()).code, 'keys_unavailable');
  });

  test(`the guard of ${name} finds the verifier of a request`, async (t) => {
    const verifiers = new Map([acme, globex].map(({ slug }) => [slug, createVerifier({ url, tenant: slug, audience: 'api' })]));
    const { port, close } = await start({ verifier: (request) => verifiers.get(request.headers['x-tenant']), optional: true });
    t.after(close);
    const get = (slug, token) => fetch(`http://127.0.0.1:${port}/me`, { headers: { 'X-Tenant': slug, ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }) } });
    const { token } = await sign(globex.slug);
    assert.equal((await get(globex.slug, token)).status, 200);
    assert.equal((await get(acme.slug, token)).status, 401);
    assert.equal((await get('nobody', token)).status, 401);
    assert.deepEqual(await (await get(acme.slug)).json(), { sub: null });
  });
}
