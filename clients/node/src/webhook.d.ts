import type { CacheOptions } from './verifier.js';
import type { Schemas } from './client.js';

export interface Delivery {
  /** Remember it: a delivery can arrive more than once. */
  id: string;
  webhook_id: string;
  attempt: number;
  sent_at: string;
  event: Schemas['AuditEvent'];
}

export interface WebhookOptions {
  /** Of Keyward; or jwksUri of the platform. */
  url?: string;
  jwksUri?: string;
  /** The id of the webhook whose deliveries are accepted. */
  webhookId: string;
  /** Of the platform's policies; ES256 and EdDSA by default. */
  algorithms?: Schemas['Alg'][];
  /** How long ago a delivery may have been sent, in milliseconds; 300,000. */
  maxAge?: number;
  cache?: CacheOptions;
  allowHttp?: boolean;
  fetch?: typeof globalThis.fetch;
}

/** Checks deliveries of one webhook, which the platform's key signs. */
export declare class WebhookReceiver {
  constructor(options: WebhookOptions);
  /** body has the bytes as they were received, signature is the header Keyward-Signature. Throws a TokenError or a KeysUnavailableError. */
  verify(body: Uint8Array | string, signature: string | undefined): Promise<Delivery>;
}
