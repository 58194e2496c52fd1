// Verifies tokens for the Go tests of the directory above. Each line of
// standard input is a request {id, client, kind, jwks, issuer, audience, alg,
// token}; each line of standard output its answer {id, error?}. Requests with
// the same client share one verifier, which has its library's default cache.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, importSPKI, jwtVerify } from 'jose';
import jwt from 'jsonwebtoken';
import jwksRsa from 'jwks-rsa';
import { ml_dsa44, ml_dsa65, ml_dsa87 } from '@noble/post-quantum/ml-dsa.js';

// kinds make a verifier: a function from a token to a promise.
const kinds = {
  'jose': ({ jwks, issuer, audience, alg }) => {
    const keys = createRemoteJWKSet(new URL(jwks));
    return (token) => jwtVerify(token, keys, { issuer, audience, algorithms: [alg] });
  },

  'jwks-rsa+jsonwebtoken': ({ jwks, issuer, audience, alg }) => {
    const keys = jwksRsa({ jwksUri: jwks });
    const find = ({ kid }, done) => keys.getSigningKey(kid).then((key) => done(null, key.getPublicKey()), done);
    return (token) => new Promise((resolve, reject) => {
      jwt.verify(token, find, { issuer, audience, algorithms: [alg] }, (err, claims) => (err ? reject(err) : resolve(claims)));
    });
  },

  'jwks-rsa+jose': ({ jwks, issuer, audience, alg }) => {
    const keys = jwksRsa({ jwksUri: jwks });
    const find = async ({ kid }) => importSPKI((await keys.getSigningKey(kid)).getPublicKey(), alg);
    return (token) => jwtVerify(token, find, { issuer, audience, algorithms: [alg] });
  },

  // An implementation of FIPS 204 alone: it knows neither JOSE nor caches.
  'noble': ({ jwks }) => async (token) => {
    const [head, payload, signature] = token.split('.');
    const { alg, kid } = JSON.parse(Buffer.from(head, 'base64url'));
    const { keys } = await (await fetch(jwks)).json();
    const key = keys.find((k) => k.kid === kid && k.kty === 'AKP' && k.alg === alg);
    const scheme = { 'ML-DSA-44': ml_dsa44, 'ML-DSA-65': ml_dsa65, 'ML-DSA-87': ml_dsa87 }[alg];
    const [of, input] = [(text) => new Uint8Array(Buffer.from(text, 'base64url')), new TextEncoder().encode(`${head}.${payload}`)];
    if (!key || !scheme || !scheme.verify(of(signature), input, of(key.pub))) {
      throw new Error('the signature does not match');
    }
  },
};

const verifiers = new Map();

function verifier(request) {
  if (!verifiers.has(request.client)) {
    verifiers.set(request.client, kinds[request.kind](request));
  }
  return verifiers.get(request.client);
}

async function answer(line) {
  const request = JSON.parse(line);
  const result = { id: request.id };
  try {
    await verifier(request)(request.token);
  } catch (err) {
    result.error = `${err.name}: ${err.message}`;
  }
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

createInterface({ input: process.stdin }).on('line', answer);
