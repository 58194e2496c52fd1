// What the tests share: a running Keyward, named by KEYWARD_URL and KEYWARD_API_KEY
// (make clients starts one).
import assert from 'node:assert/strict';

import { KeywardClient } from '../src/index.js';

export const url = process.env.KEYWARD_URL;
assert(url && process.env.KEYWARD_API_KEY, 'KEYWARD_URL and KEYWARD_API_KEY of a running Keyward are needed: run `make clients`');

export const admin = new KeywardClient({ url, apiKey: process.env.KEYWARD_API_KEY });

/** tenant creates a tenant of the test's own, with a credential of a role. */
export async function tenant(role = 'tenant_verifier') {
  const slug = `node-${crypto.randomUUID()}`;
  await admin.createTenant({ slug });
  const { key } = await admin.post('/v1/tenants/{tenant}/api-keys', { path: { tenant: slug }, body: { role } });
  return { slug, key };
}

export async function sign(slug, claims = {}) {
  return admin.signToken(slug, { claims: { sub: 'alice', aud: 'api', ...claims } });
}

/** refused waits until a verifier refuses a token, and returns the code. The test's timeout bounds it. */
export async function refused(verifier, token) {
  for (;;) {
    try {
      await verifier.verify(token);
    } catch (error) {
      return error.code;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** accepted waits until a verifier accepts a token: the set with its key may be on its way. */
export async function accepted(verifier, token) {
  for (;;) {
    try {
      return await verifier.verify(token);
    } catch (error) {
      if (error.code !== 'unknown_key') throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}
