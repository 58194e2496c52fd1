import { errors as jose, jwtVerify } from 'jose';

import { KeysUnavailableError, KeywardError, TokenError } from './errors.js';
import { EventStream } from './events.js';
import { KeySet } from './keyset.js';
import { checkedURL, sleep, withoutSlash } from './url.js';

const algorithms = ['ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ML-DSA-44', 'ML-DSA-65', 'ML-DSA-87'];
const refetchesPerMinute = 60;

/** Verifier checks the tokens of one issuer. Close it when done: it may hold a connection open. */
export class Verifier {
  #end = new AbortController();
  #stream;
  #news = false;
  #wake;
  #ready;

  constructor(o) {
    const options = withDefaults(o);
    this.options = options;
    this.issuer = options.issuer;
    this.keys = new KeySet({ ...options.cache, url: options.jwksUri, fetch: options.fetch, allowHttp: options.allowHttp });
    if (o.apiKey === undefined) return;
    let ready;
    this.#ready = new Promise((resolve) => (ready = resolve));
    this.#stream = new EventStream({
      url: checkedURL(options.eventsUrl, options.allowHttp, 'eventsUrl').href,
      apiKey: o.apiKey,
      fetch: options.fetch,
      onLost: options.onLost,
      ...(options.silence === undefined ? {} : { silence: options.silence }),
    });
    const handle = (event) => this.#handle(event);
    this.#stream.run(this.#end.signal, handle, (resumed) => {
      if (!resumed) this.#refetch(); // of what happened before this stream began nobody will tell
      ready();
    });
    this.#follow();
  }

  /** subscribed says whether the stream of key events is open. */
  get subscribed() {
    return this.#stream?.connected ?? false;
  }

  /** ready resolves when the stream of key events is open for the first time and the keys were fetched. */
  async ready() {
    await this.#ready;
    await this.keys.refresh();
  }

  /** verify returns the claims of a token and its header, or throws a TokenError or a KeysUnavailableError. */
  async verify(token) {
    const o = this.options;
    if (typeof token !== 'string' || token.length > o.maxSize) throw new TokenError('malformed', 'there is no token, or it is too long');
    let result;
    try {
      result = await jwtVerify(token, (header) => this.keys.key(header), {
        algorithms: o.algorithms,
        clockTolerance: o.clockTolerance,
        requiredClaims: o.requiredClaims,
        ...(o.anyIssuer ? {} : { issuer: o.issuer }),
        ...(o.anyAudience ? {} : { audience: o.audience }),
        ...(o.maxTokenAge === undefined ? {} : { maxTokenAge: o.maxTokenAge }),
        ...(o.now === undefined ? {} : { currentDate: o.now() }),
      });
    } catch (error) {
      throw tokenError(error);
    }
    const { payload: claims, protectedHeader: header } = result;
    this.#checkType(header.typ);
    // The revocation may have come while the signature was checked.
    if (this.keys.isRevoked(header.kid)) throw new TokenError('key_revoked', 'the key is revoked');
    const since = this.keys.notBefore;
    if (since !== undefined && !(claims.iat >= since)) throw new TokenError('issued_before', "the token was issued before the issuer's not_before");
    return { claims, header, token };
  }

  /** close ends the stream of key events. Tokens can still be verified. */
  close() {
    this.#end.abort(new KeywardError('closed', 'the verifier is closed'));
    this.#wake?.();
  }

  [Symbol.dispose ?? Symbol.for('Symbol.dispose')]() {
    this.close();
  }

  #checkType(typ) {
    const short = typ === undefined ? '' : String(typ).toLowerCase().replace(/^application\//, '');
    if (!this.options.types.includes(short)) throw new TokenError('wrong_type', 'the token is of another type');
  }

  /** #handle carries out an event. Events can arrive twice and late, so none ever undoes anything. */
  #handle({ event = '', data }) {
    if (event === 'key.revoked') {
      try {
        this.keys.refuse(JSON.parse(data).kid);
      } catch {
        // What cannot be read still causes a fetch.
      }
    }
    if (event.startsWith('key.') || event.startsWith('tenant.')) this.#refetch();
  }

  #refetch() {
    this.#news = true;
    this.#wake?.();
  }

  /** #follow fetches the set whenever there is news, and until that succeeds. */
  async #follow() {
    const { signal } = this.#end;
    const times = [];
    while (!signal.aborted) {
      if (!this.#news) await new Promise((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
      for (let failures = 0; this.#news && !signal.aborted; ) {
        while (times.length > 0 && performance.now() - times[0] > 60_000) times.shift();
        if (times.length >= refetchesPerMinute) await sleep(60_000 - (performance.now() - times[0]), signal).catch(() => {});
        if (signal.aborted) return;
        times.push(performance.now());
        this.#news = false;
        try {
          await this.keys.refresh();
        } catch {
          this.#news = true;
          await sleep(Math.min(500 * 2 ** Math.min(failures++, 6), 30_000), signal).catch(() => {});
        }
      }
    }
  }
}

function withDefaults(o) {
  if (o === null || typeof o !== 'object') throw new KeywardError('invalid_argument', 'a verifier needs options');
  const options = {
    fetch: globalThis.fetch,
    algorithms,
    types: ['', 'jwt', 'at+jwt'],
    requiredClaims: ['exp'],
    clockTolerance: 0,
    maxSize: 16 << 10,
    onLost: () => {},
    ...o,
  };
  if (o.url !== undefined) {
    if (typeof o.tenant !== 'string' || o.tenant === '') throw new KeywardError('invalid_argument', 'url needs tenant');
    const base = withoutSlash(checkedURL(o.url, o.allowHttp, 'url'));
    const tenant = encodeURIComponent(o.tenant);
    options.issuer ??= `${base}/t/${tenant}`;
    options.jwksUri ??= `${base}/t/${tenant}/.well-known/jwks.json`;
    options.eventsUrl ??= `${base}/v1/tenants/${tenant}/key-events`;
  }
  options.types = options.types.map((type) => type.toLowerCase().replace(/^application\//, ''));
  const needs = (is, text) => {
    if (!is) throw new KeywardError('invalid_argument', text);
  };
  needs(options.jwksUri, 'one of url (with tenant) and jwksUri is needed');
  needs(options.issuer || options.anyIssuer, 'issuer is missing; anyIssuer would do without');
  needs(options.anyAudience || (options.audience?.length > 0 && ![options.audience].flat().includes('')), 'audience is missing; anyAudience would do without');
  needs(o.apiKey === undefined || options.eventsUrl, 'apiKey needs url or eventsUrl');
  needs(Array.isArray(options.algorithms) && options.algorithms.length > 0 && options.algorithms.every((alg) => algorithms.includes(alg)), 'algorithms has one that is not for public keys');
  return options;
}

/** tokenError says of an error of jose what is wrong with the token. */
function tokenError(error) {
  if (error instanceof KeywardError) return error;
  const because = { cause: error };
  if (error instanceof jose.JWTExpired) return new TokenError('expired', 'the token has expired', because);
  if (error instanceof jose.JWTClaimValidationFailed) {
    if (error.reason === 'missing') return new TokenError('missing_claim', `the token has no ${error.claim}`, because);
    const codes = { iss: 'wrong_issuer', aud: 'wrong_audience', nbf: 'not_yet_valid', iat: 'not_yet_valid', typ: 'wrong_type' };
    return new TokenError(codes[error.claim] ?? 'malformed', `the claim ${error.claim} is not accepted`, because);
  }
  if (error instanceof jose.JWSSignatureVerificationFailed) return new TokenError('bad_signature', 'the signature is not valid', because);
  if (error instanceof jose.JOSEAlgNotAllowed) return new TokenError('algorithm_not_allowed', 'the algorithm is not accepted', because);
  if (error instanceof jose.JOSENotSupported) return new TokenError('unknown_critical_header', 'the token needs what is not supported', because);
  if (error instanceof jose.JOSEError || error instanceof TypeError) return new TokenError('malformed', 'the token is malformed', because);
  return new KeysUnavailableError(`the token could not be checked: ${error.message}`, because);
}

/** createVerifier returns a Verifier. */
export const createVerifier = (options) => new Verifier(options);
