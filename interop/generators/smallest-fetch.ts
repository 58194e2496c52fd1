// Compiled with what openapi-generator (typescript-fetch) makes of openapi.yaml.
import {
  Alg, CreatePlatformAPIKeyRequestRoleEnum, CreateTenantAPIKeyRequestRoleEnum, KeysApi, RevocationReason, TenantsApi, TokensApi,
  type AddDomainRequest, type CreatePolicyRequest, type CreateWebhookRequest, type ImportKeyRequest, type PutPolicyRequest, type RevokeAllRequest,
  type RotateRequest, type SignPayloadRequest, type UpdateTenantRequest, type UpdateWebhookRequest, type VerifyTokenRequest,
} from './fetch/index';

export const bodies: [CreatePolicyRequest, PutPolicyRequest, RevokeAllRequest, SignPayloadRequest, UpdateTenantRequest, UpdateWebhookRequest, VerifyTokenRequest, AddDomainRequest, CreateWebhookRequest, ImportKeyRequest, RotateRequest] = [
  { alg: Alg.ES256 }, {}, { reason: RevocationReason.Compromised }, { payload: '' }, {}, {}, { token: '' }, { domain: '' }, { url: '' }, { privateKey: 'PEM' }, {},
];
export const roles = [CreateTenantAPIKeyRequestRoleEnum.Signer, CreatePlatformAPIKeyRequestRoleEnum.Admin];

export async function use(): Promise<string | undefined> {
  const { slug } = await new TenantsApi().createTenant({ createTenantRequest: { slug: 'acme' } });
  await new KeysApi().revokeActiveKey({ tenant: slug, revokeActiveRequest: { reason: RevocationReason.Compromised } });
  await new KeysApi().rotateKeys({ tenant: slug });
  const signed = await new TokensApi().signToken({ tenant: slug, signTokenRequest: { claims: {} } });
  return signed.token;
}
