import { randomUUID } from 'node:crypto';

import { readText } from './body.js';
import { ApprovalRequiredError, KeywardError, NoAnswerError, ProblemError } from './errors.js';
import { EventStream } from './events.js';
import { checkedURL, sleep, withoutSlash } from './url.js';

const longestWait = 30_000; // between two tries
const maxAnswer = 16 << 20;
const passing = [429, 502, 503, 504];
// Signing and verifying change nothing: they are repeated without a key.
const pure = /\/(sign|tokens|tokens\/batch|tokens\/verify)$/;

/** KeywardClient calls the HTTP API. */
export class KeywardClient {
  #apiKey;

  constructor(o) {
    this.url = withoutSlash(checkedURL(o.url, o.allowHttp, 'url'));
    if (o.apiKey === undefined) throw new KeywardError('invalid_argument', 'apiKey is missing');
    this.#apiKey = o.apiKey;
    this.options = { fetch: globalThis.fetch, retries: 3, timeout: 30_000, userAgent: 'keyward-client-node', sleep, random: Math.random, ...o, apiKey: undefined };
  }

  get(path, init) {
    return this.request('GET', path, init);
  }
  post(path, init) {
    return this.request('POST', path, init);
  }
  put(path, init) {
    return this.request('PUT', path, init);
  }
  patch(path, init) {
    return this.request('PATCH', path, init);
  }
  delete(path, init) {
    return this.request('DELETE', path, init);
  }

  /** request sends a request, again while that can help and does no harm, and returns what is answered. */
  async request(method, path, init = {}) {
    const url = this.#address(path, init.path, init.query);
    const change = method !== 'GET' && !pure.test(path);
    const key = init.idempotencyKey ?? (change ? randomUUID() : undefined);
    const headers = { Accept: 'application/json', 'User-Agent': this.options.userAgent, ...init.headers };
    if (key !== undefined) headers['Idempotency-Key'] = key;
    if (init.approval !== undefined) headers['Keyward-Approval'] = init.approval;
    if (init.wait !== undefined) headers.Prefer = `wait=${init.wait}`;
    let body;
    if (init.body !== undefined) {
      headers['Content-Type'] = 'application/json';
      body = JSON.stringify(init.body); // the same bytes for each try
    }
    for (let tries = 0; ; tries++) {
      let response, failure, text;
      try {
        headers.Authorization = `Bearer ${typeof this.#apiKey === 'function' ? await this.#apiKey() : this.#apiKey}`;
        const signal = AbortSignal.any([AbortSignal.timeout(init.timeout ?? this.options.timeout), ...(init.signal ? [init.signal] : [])]);
        response = await this.options.fetch(url, { method, headers, body, signal, redirect: 'manual' });
        text = await readText(response, maxAnswer, signal);
      } catch (error) {
        init.signal?.throwIfAborted();
        failure = error;
      }
      const last = tries >= (init.retries ?? this.options.retries);
      if (!failure && !(passing.includes(response.status) || unknownOutcome(response, text))) return answer(response, text, key);
      const asked = failure ? 0 : (new ProblemError({}, response).retryAfterSeconds ?? 0) * 1000;
      if (last || asked > longestWait) {
        if (failure) throw new NoAnswerError(failure, key);
        return answer(response, text, key);
      }
      const full = 250 * 2 ** Math.min(tries, 6);
      await this.options.sleep(Math.max(asked, full * (0.5 + this.options.random() / 2)), init.signal);
    }
  }

  /** list yields the items of all pages. */
  async *list(path, init = {}) {
    let cursor;
    do {
      const page = await this.get(path, { ...init, query: { ...init.query, ...(cursor === undefined ? {} : { cursor }) } });
      yield* page.items;
      cursor = page.next_cursor;
    } while (cursor !== undefined);
  }

  /** events yields audit events as they commit, of a tenant or of all, and connects again by itself. End it with break or the signal. */
  async *events(o = {}) {
    const path = o.tenant === undefined ? '/v1/events' : '/v1/tenants/{tenant}/events';
    const end = new AbortController();
    const stop = () => end.abort(o.signal.reason);
    if (o.signal?.aborted) return;
    o.signal?.addEventListener('abort', stop, { once: true });
    const stream = new EventStream({ url: this.#address(path, { tenant: o.tenant }), apiKey: this.#apiKey, fetch: this.options.fetch, lastEventId: o.lastEventId, onLost: o.onLost ?? (() => {}) });
    // One event at a time: the next is read when this one was taken.
    let give, taken;
    let next = new Promise((resolve) => (give = resolve));
    const run = stream
      .run(end.signal, (event) => new Promise((resolve) => {
        if (end.signal.aborted) return resolve();
        taken = resolve;
        give(event);
      }))
      .then(() => give(undefined));
    try {
      for (;;) {
        const event = await Promise.race([next, run]);
        if (event === undefined) return;
        next = new Promise((resolve) => (give = resolve));
        yield { id: event.id, event: event.event, data: JSON.parse(event.data) };
        taken();
      }
    } finally {
      o.signal?.removeEventListener('abort', stop);
      end.abort(new KeywardError('closed', 'nobody listens any more'));
      taken?.();
      await run;
    }
  }

  createTenant(body, init) {
    return this.post('/v1/tenants', { ...init, body });
  }
  getTenant(tenant, init) {
    return this.get('/v1/tenants/{tenant}', { ...init, path: { tenant } });
  }
  signToken(tenant, body, init) {
    return this.post('/v1/tenants/{tenant}/tokens', { ...init, path: { tenant }, body });
  }
  verifyToken(tenant, body, init) {
    return this.post('/v1/tenants/{tenant}/tokens/verify', { ...init, path: { tenant }, body });
  }
  keys(tenant, query, init) {
    return this.list('/v1/tenants/{tenant}/keys', { ...init, path: { tenant }, query });
  }
  rotateKeys(tenant, body = {}, init) {
    return this.post('/v1/tenants/{tenant}/keys/rotate', { ...init, path: { tenant }, body });
  }
  revokeKey(tenant, kid, body, init) {
    return this.post('/v1/tenants/{tenant}/keys/{kid}/revoke', { ...init, path: { tenant, kid }, body });
  }

  #address(template, path = {}, query = {}) {
    const filled = template.replace(/\{(\w+)\}/g, (_, name) => {
      const value = path[name];
      if (value === undefined || value === '') throw new KeywardError('invalid_argument', `${template} needs path.${name}`);
      // A URL cannot have these as segments, not even encoded (WHATWG URL, "dot segments").
      if (value === '.' || value === '..') throw new KeywardError('invalid_argument', `path.${name} cannot be sent by fetch`);
      return encodeURIComponent(value);
    });
    const url = new URL(this.url + filled);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined) url.searchParams.set(name, value);
    }
    return url.href;
  }
}

/** unknownOutcome says whether a change may or may not have been made; with its key it can be asked again. */
function unknownOutcome(response, text) {
  return response.status === 500 && problem(text).outcome !== undefined;
}

function answer(response, text, key) {
  if (response.status === 202) {
    const accepted = JSON.parse(text);
    if (accepted.operation_id !== undefined && accepted.effects !== undefined) throw new ApprovalRequiredError(accepted);
    return accepted;
  }
  if (response.status >= 300) throw new ProblemError(problem(text), response, key);
  if (text === '') return undefined;
  return response.headers.get('content-type')?.includes('json') && !response.headers.get('content-type').includes('ndjson') ? parsed(text, response, key) : text;
}

function parsed(text, response, key) {
  try {
    return JSON.parse(text);
  } catch {
    throw new ProblemError({}, response, key);
  }
}

/** problem reads an error answer. One that is not Keyward's gives its status alone: its text can be anything. */
function problem(text) {
  try {
    const value = JSON.parse(text);
    return typeof value?.code === 'string' ? value : {};
  } catch {
    return {};
  }
}
