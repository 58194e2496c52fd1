// Makes a source of keys for the Go tests of the directory above, as
//   node make.mjs KIND WHERE ISSUER
// and prints {tokens: [{kid, token, verifies}]}: tokens issued there, and
// whether each has to verify after the move.
import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Redis from 'ioredis';
import * as jose from 'jose';
import jwt from 'jsonwebtoken';
import nodeJose from 'node-jose';

const [, , kind, where, issuer] = process.argv;
const claims = () => ({ iss: issuer, sub: 'alice', aud: 'interop' });

const signed = async (key, alg, kid) => new jose.SignJWT(claims())
  .setProtectedHeader({ alg, typ: 'JWT', kid }).setIssuedAt().setExpirationTime('15m').sign(key);

const kinds = {
  // nestjs-jwks 0.2 is not to be had from npm everywhere. This writes what it
  // writes, with the library and the calls it uses: generateKeyPair and
  // exportSPKI of jose, and entries of metadata.json in its schema.
  async 'nestjs-jwks'() {
    mkdirSync(where, { recursive: true });
    const [hour, day] = [3600e3, 24 * 3600e3];
    const now = Date.now();
    const keys = [];
    const tokens = [];
    for (const [status, age] of [['expired', 30 * day], ['revoked', 2 * day], ['deprecated', 7 * day], ['active', hour]]) {
      const kid = randomUUID();
      const { privateKey, publicKey } = await jose.generateKeyPair('EdDSA');
      const keyPath = join('/srv/app/keys', `${kid}.pem`);
      writeFileSync(join(where, `${kid}.pem`), await jose.exportSPKI(publicKey));
      const createdAt = now - age;
      keys.push({
        kid, status, createdAt, expiresAt: createdAt + 28 * day, deprecatedAt: status === 'deprecated' ? now - hour : null,
        expiredAt: status === 'expired' ? now - 2 * day : null, revokedAt: status === 'revoked' ? now - hour : null, removedAt: null, keyPath,
      });
      tokens.push({ kid, token: await signed(privateKey, 'EdDSA', kid), verifies: status === 'active' || status === 'deprecated' });
    }
    writeFileSync(join(where, 'metadata.json'), JSON.stringify({ keys }));
    return tokens;
  },

  // As "JWKs and node-jose" makes, rotates and signs.
  async 'node-jose'() {
    let store = nodeJose.JWK.createKeyStore();
    await store.generate('RSA', 2048, { alg: 'RS256', use: 'sig' });
    await store.generate('RSA', 2048, { alg: 'RSA-OAEP', use: 'enc' });
    await store.generate('oct', 256, { alg: 'HS256', use: 'sig' });
    store = await nodeJose.JWK.asKeyStore(JSON.stringify(store.toJSON(true)));
    await store.generate('RSA', 2048, { alg: 'RS256', use: 'sig' });
    writeFileSync(where, JSON.stringify(store.toJSON(true), null, '  '));
    const tokens = [];
    for (const key of store.all({ use: 'sig', kty: 'RSA' })) {
      const now = Math.floor(Date.now() / 1000);
      const payload = JSON.stringify({ ...claims(), iat: now, exp: now + 86400 });
      const token = await nodeJose.JWS.createSign({ compact: true, jwk: key, fields: { typ: 'jwt' } }, key).update(payload).final();
      tokens.push({ kid: key.kid, token, verifies: true });
    }
    return tokens;
  },

  // @jmondi/oauth2-server signs by RS256 from version 5 on, which is not to be
  // had from npm everywhere. This is what it signs with (jsonwebtoken), from
  // the PEM that its documentation makes, under the kid that it derives.
  async 'oauth2-server'() {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' });
    writeFileSync(where, pem);
    const { e, kty, n } = createPublicKey(createPrivateKey(pem)).export({ format: 'jwk' });
    const kid = createHash('sha256').update(JSON.stringify({ e, kty, n })).digest('base64url');
    const token = jwt.sign(claims(), pem, { algorithm: 'RS256', keyid: kid, expiresIn: '1h' });
    return [{ kid, token, verifies: true }];
  },

  // The calls to Redis and jose are those of "How to JWKS", in its order. Only
  // the end of a token is in seconds, not in milliseconds as there.
  async 'redis'() {
    const redis = new Redis(where);
    const tokens = [];
    for (const fate of ['revoked', 'recent', 'active']) {
      const { privateKey, publicKey } = await jose.generateKeyPair('RS256', { extractable: true });
      const kid = randomUUID();
      const jwk = { ...await jose.exportJWK(publicKey), kid, alg: 'RS256', use: 'sig' };
      await redis.set(`auth:keys:pem:${kid}`, await jose.exportPKCS8(privateKey));
      await redis.set(`auth:keys:jwk:${kid}`, JSON.stringify(jwk));
      await redis.set('auth:keys:active', kid);
      await redis.zadd('auth:keys:recent', Date.now(), kid);
      tokens.push({ kid, token: await signed(privateKey, 'RS256', kid), verifies: fate !== 'revoked' });
      if (fate === 'revoked') {
        await redis.sadd('auth:keys:revoked', kid);
        await redis.del(`auth:keys:pem:${kid}`);
        await redis.del(`auth:keys:jwk:${kid}`);
      }
    }
    await redis.quit();
    return tokens;
  },

  // A JWK Set as an issuer publishes it; WHERE is a file to be served.
  async 'jwks'() {
    const keys = [];
    const tokens = [];
    for (const alg of ['ES256', 'PS256', 'EdDSA']) {
      const { privateKey, publicKey } = await jose.generateKeyPair(alg);
      const jwk = { ...await jose.exportJWK(publicKey), alg, use: 'sig' };
      jwk.kid = await jose.calculateJwkThumbprint(jwk);
      keys.push(jwk);
      tokens.push({ kid: jwk.kid, token: await signed(privateKey, alg, jwk.kid), verifies: true });
    }
    writeFileSync(where, JSON.stringify({ keys }));
    return tokens;
  },

  // Ory Hydra is no library. This is the documented form of its answer to
  // GET /admin/keys/hydra.openid.id-token, the newest key first.
  async 'hydra'() {
    const keys = [];
    const tokens = [];
    for (let i = 0; i < 2; i++) {
      const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true });
      const kid = randomUUID();
      keys.push({ use: 'sig', kty: 'RSA', kid, alg: 'RS256', ...await jose.exportJWK(privateKey) });
      tokens.push({ kid, token: await signed(privateKey, 'RS256', kid), verifies: true });
    }
    writeFileSync(where, JSON.stringify({ keys }));
    return tokens;
  },
};

process.stdout.write(JSON.stringify({ tokens: await kinds[kind]() }));
