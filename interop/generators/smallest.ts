// Compiled with what openapi-typescript makes of openapi.yaml, with its default
// settings, and run against a Keyward: the smallest bodies have the types, and
// succeed.
import type { components } from './schema.js';

type Schemas = components['schemas'];
const url = process.env.KEYWARD_URL;
const slug = `generated-${crypto.randomUUID()}`;
const own = `/v1/tenants/${slug}`;
let calls = 0;

async function call<Answer>(method: string, path: string, body: unknown): Promise<Answer> {
  const response = await fetch(url + path, {
    method,
    headers: { Authorization: `Bearer ${process.env.KEYWARD_API_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
  calls++;
  return text === '' ? (undefined as Answer) : JSON.parse(text);
}

const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
const jwk = { ...(await crypto.subtle.exportKey('jwk', pair.privateKey)) };

const create: Schemas['CreateTenantRequest'] = { slug };
const update: Schemas['UpdateTenantRequest'] = {};
const policy: Schemas['PutPolicyRequest'] = {};
const listed: Schemas['CreatePolicyRequest'] = { alg: 'ES256' };
const importing: Schemas['ImportKeyRequest'] = { private_key: jwk, alg: 'ES256' };
const rotate: Schemas['RotateRequest'] = {};
const revokeActive: Schemas['RevokeActiveRequest'] = { reason: 'superseded' };
const revoke: Schemas['RevokeRequest'] = { reason: 'superseded' };
const revokeAll: Schemas['RevokeAllRequest'] = { reason: 'superseded' };
const nothing: Schemas['NoOptions'] = {};
const token: Schemas['SignTokenRequest'] = { claims: {} };
const batch: Schemas['SignTokensRequest'] = { tokens: [token] };
const payload: Schemas['SignPayloadRequest'] = { payload: 'aGVsbG8' };
const tenantKey: Schemas['CreateTenantAPIKeyRequest'] = { role: 'tenant_auditor' };
const platformKey: Schemas['CreatePlatformAPIKeyRequest'] = { role: 'platform_auditor' };
const domain: Schemas['AddDomainRequest'] = { domain: `${slug}.example`.slice(-60) };
const hook: Schemas['CreateWebhookRequest'] = { url: 'https://127.0.0.1/hook' };
const change: Schemas['UpdateWebhookRequest'] = {};

const tenant = await call<Schemas['Tenant']>('POST', '/v1/tenants', create);
await call<Schemas['Tenant']>('PATCH', own, update);
await call<Schemas['Tenant']>('POST', '/v1/tenants', { slug: `${slug}-2`.slice(-50).replace(/^-+/, ''), policies: [listed] } satisfies Schemas['CreateTenantRequest']);
await call<Schemas['Policy']>('PUT', `${own}/policies/EdDSA`, policy);
await call<Schemas['Key']>('POST', `${own}/keys/import`, importing);
const rotated = await call<Schemas['RotateResult']>('POST', `${own}/keys/rotate`, rotate);
await call<Schemas['RevokeResult']>('POST', `${own}/keys/revoke`, revokeActive);
await call<Schemas['RevokeResult']>('POST', `${own}/keys/${rotated.deprecated?.kid}/revoke`, revoke);
await call<Schemas['RevokeAllResult']>('POST', `${own}/keys/revoke-all`, revokeAll);
await call<Schemas['PurgeResult']>('POST', `${own}/keys/purge`, nothing);
await call<Schemas['DataKey']>('POST', `${own}/data-key/rotate`, nothing);
const signed = await call<Schemas['SignedToken']>('POST', `${own}/tokens`, token);
await call<Schemas['SignTokensResult']>('POST', `${own}/tokens/batch`, batch);
const verify: Schemas['VerifyTokenRequest'] = { token: signed.token };
const verdict = await call<Schemas['VerifyTokenResult']>('POST', `${own}/tokens/verify`, verify);
await call<Schemas['SignedPayload']>('POST', `${own}/sign`, payload);
await call<Schemas['CreatedAPIKey']>('POST', `${own}/api-keys`, tenantKey);
await call<Schemas['CreatedAPIKey']>('POST', '/v1/api-keys', platformKey);
await call<Schemas['Domain']>('POST', `${own}/domains`, domain);
const made = await call<Schemas['Webhook']>('POST', `${own}/webhooks`, hook);
await call<Schemas['Webhook']>('PATCH', `${own}/webhooks/${made.id}`, change);
if (!verdict.valid || tenant.slug !== slug) throw new Error(JSON.stringify({ verdict, tenant }));
console.log(`${calls} calls`);
