import { KeysUnavailableError, KeywardError, TokenError } from './errors.js';

/**
 * A Refusal is the answer to a request that a guard does not let through: 401 or
 * 403 (RFC 6750 section 3), or 503 while the issuer's keys cannot be had.
 */
export class Refusal {
  constructor(status, code, detail, headers) {
    this.status = status;
    this.headers = { ...headers, 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' };
    const title = { 401: 'Unauthorized', 403: 'Forbidden', 503: 'Service Unavailable' }[status];
    this.problem = { type: 'about:blank', title, status, detail, code };
  }
}

/** checkedOptions checks the options that all guards have. */
export function checkedOptions(options) {
  if (typeof options?.verifier !== 'function' && typeof options?.verifier?.verify !== 'function') {
    throw new KeywardError('invalid_argument', 'a guard needs a verifier, or a function that finds the one of a request');
  }
  return { ...options, scopes: [options.scope ?? []].flat() };
}

/**
 * authenticate returns {claims, header, token} of a request, undefined if it has
 * no token and options.optional says that this is fine, or a Refusal.
 */
export async function authenticate(authorization, request, options) {
  const match = /^Bearer +([\w.~+/-]+=*) *$/i.exec(authorization ?? '');
  if (!match) {
    if (authorization === undefined && options.optional) return undefined;
    return new Refusal(401, 'unauthenticated', 'The request has no bearer token.', { 'WWW-Authenticate': challenge(options) });
  }
  try {
    const verifier = typeof options.verifier === 'function' ? await options.verifier(request) : options.verifier;
    if (!verifier) throw new TokenError('wrong_issuer', 'nobody issues tokens for this request');
    const auth = await verifier.verify(match[1]);
    const has = scopesOf(auth.claims);
    if (options.scopes.every((scope) => has.includes(scope))) return auth;
    return new Refusal(403, 'insufficient_scope', 'The token does not have the scope.', {
      'WWW-Authenticate': challenge(options, { error: 'insufficient_scope', scope: options.scopes.join(' ') }),
    });
  } catch (error) {
    if (error instanceof KeysUnavailableError) {
      options.onError?.(error, request);
      return new Refusal(503, error.code, 'The token cannot be checked at the moment.', { 'Retry-After': '5' });
    }
    if (!(error instanceof TokenError)) throw error;
    options.onRefused?.(error, request);
    return new Refusal(401, error.code, `The token is not accepted: ${error.message}.`, {
      'WWW-Authenticate': challenge(options, { error: 'invalid_token', error_description: error.message }),
    });
  }
}

/** scopesOf reads scope (RFC 9068 section 2.2.3), or scp as an array. */
function scopesOf(claims) {
  if (typeof claims.scope === 'string') return claims.scope.split(' ');
  return Array.isArray(claims.scp) ? claims.scp : [];
}

function challenge(options, parameters = {}) {
  const all = Object.entries({ ...(options.realm === undefined ? {} : { realm: options.realm }), ...parameters });
  return ['Bearer', all.map(([name, value]) => `${name}="${String(value).replace(/[^ !#-[\]-~]/g, '')}"`).join(', ')].join(' ').trim();
}
