import { flattenedVerify, errors as jose } from 'jose';

import { KeywardError, TokenError } from './errors.js';
import { KeySet } from './keyset.js';
import { checkedURL, withoutSlash } from './url.js';

/** WebhookReceiver checks deliveries of one webhook, which the platform's key signs. */
export class WebhookReceiver {
  constructor(o) {
    if (typeof o?.webhookId !== 'string' || o.webhookId === '') throw new KeywardError('invalid_argument', 'webhookId is missing: all webhooks are signed with the same key');
    this.options = { algorithms: ['ES256', 'EdDSA'], maxAge: 300_000, now: Date.now, ...o };
    const url = o.jwksUri ?? `${withoutSlash(checkedURL(o.url, o.allowHttp, 'url'))}/.well-known/jwks.json`;
    this.keys = new KeySet({ ...o.cache, url, fetch: o.fetch ?? globalThis.fetch, allowHttp: o.allowHttp });
  }

  /**
   * verify checks who sent a body, that it is for this webhook, and that it is not
   * an old one sent again. body has the bytes as they were received; signature is
   * the header Keyward-Signature. A delivery can arrive more than once, with the same id.
   */
  async verify(body, signature) {
    const bytes = Buffer.from(body);
    const match = /^([\w-]+)\.\.([\w-]+)$/.exec(signature ?? '');
    if (!match) throw new TokenError('malformed', 'Keyward-Signature is not a detached JWS');
    let header;
    try {
      ({ protectedHeader: header } = await flattenedVerify(
        { protected: match[1], payload: bytes.toString('base64url'), signature: match[2] },
        (h) => this.keys.key(h),
        { algorithms: this.options.algorithms },
      ));
    } catch (cause) {
      if (cause instanceof jose.JOSEError) throw new TokenError('bad_signature', 'the signature of the delivery is not valid', { cause });
      throw cause;
    }
    if (header.typ !== 'keyward-webhook+jws') throw new TokenError('wrong_type', 'it was signed for something else');
    const delivery = JSON.parse(bytes.toString('utf8'));
    if (delivery.webhook_id !== this.options.webhookId) throw new TokenError('wrong_audience', 'the delivery is for another webhook');
    // A body without a date is not recent either.
    if (!(Math.abs(this.options.now() - Date.parse(delivery.sent_at)) <= this.options.maxAge)) throw new TokenError('expired', 'the delivery is of another time');
    return delivery;
  }
}
