import { chunks } from './body.js';
import { KeysUnavailableError, retryAfterSeconds } from './errors.js';
import { sleep } from './url.js';

const maxEvent = 256 * 1024; // characters of a line, and of an event's data

/**
 * parseEvents reads server-sent events (WHATWG HTML section 9.2.6) from an
 * iterable of byte chunks. It yields each event when its blank line arrives; an
 * event that the end cuts off is dropped. An event without data has `data`
 * undefined: it may have moved the position all the same.
 */
export async function* parseEvents(stream) {
  const decoder = new TextDecoder();
  let rest = '';
  let event = {};
  let id;
  let skipLF = false;
  for await (const chunk of stream) {
    let text = decoder.decode(chunk, { stream: true });
    if (skipLF && text !== '') {
      if (text[0] === '\n') text = text.slice(1);
      skipLF = false;
    }
    const lines = (rest + text).split(/\r\n|\r|\n/);
    skipLF = text.endsWith('\r');
    rest = lines.pop();
    if (rest.length > maxEvent) throw new KeysUnavailableError('an event of the stream is too long');
    for (const line of lines) {
      if (line === '') {
        yield { ...event, id };
        event = {};
        continue;
      }
      const colon = line.indexOf(':');
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
      if (name === 'event') event.event = value;
      else if (name === 'data') event.data = event.data === undefined ? value : `${event.data}\n${value}`;
      else if (name === 'id' && /^[!-~]{0,256}$/.test(value)) id = value;
      else if (name === 'retry' && /^\d{1,9}$/.test(value)) event.retry = Number(value);
      if (event.data?.length > maxEvent) throw new KeysUnavailableError('an event of the stream is too long');
    }
  }
}

/**
 * EventStream keeps a stream of events open: it connects again when the stream
 * ends, fails or is silent, and resumes after the last event that was handled.
 */
export class EventStream {
  /**
   * @param {object} o url, apiKey (a string, or an async function that returns one), fetch, silence (milliseconds
   *   without a byte after which the stream counts as lost; Keyward sends a heartbeat every 15 s), lastEventId,
   *   onLost(error, waitMs), random
   */
  constructor(o) {
    this.options = { silence: 45_000, fetch: globalThis.fetch, random: Math.random, onLost: () => {}, ...o };
    this.lastEventId = o.lastEventId;
    this.connected = false;
  }

  /**
   * run calls handle for each event, and opened(resumed) for each connection, until
   * the signal is aborted. Events can arrive twice.
   */
  async run(signal, handle, opened = () => {}) {
    let failures = 0;
    let retry = 2000;
    while (!signal.aborted) {
      const began = performance.now();
      let error;
      try {
        await this.#connect(signal, handle, opened, (ms) => (retry = ms));
        error = new KeysUnavailableError('the event stream has ended');
      } catch (e) {
        error = e;
      }
      this.connected = false;
      if (signal.aborted) return;
      if (performance.now() - began >= 10_000) failures = 0; // a stream that lasts so long was none that failed
      const wait = this.#delay(retry, failures++, error);
      try {
        this.options.onLost(error, wait);
      } catch {
        // The stream goes on, whatever its listener does.
      }
      await sleep(wait, signal).catch(() => {});
    }
  }

  /** #delay grows with each failure, and is random, so that clients that lost a server together do not come back together. */
  #delay(asked, failures, error) {
    const first = Math.min(Math.max(asked, 500), 60_000);
    let wait = Math.max(first, Math.min(first * 2 ** Math.min(failures, 6), 30_000));
    wait = Math.max(wait, Math.min((error?.retryAfterSeconds ?? 0) * 1000, 60_000));
    return wait * (1 + this.options.random() / 2);
  }

  async #connect(signal, handle, opened, onRetry) {
    const { url, apiKey, fetch, silence } = this.options;
    const hangUp = new AbortController();
    const stop = () => hangUp.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const lost = () => hangUp.abort(new KeysUnavailableError('the event stream was silent for too long'));
    let timer = setTimeout(lost, silence);
    try {
      const headers = { Accept: 'text/event-stream', 'Accept-Encoding': 'identity', 'Cache-Control': 'no-store' };
      if (this.lastEventId) headers['Last-Event-ID'] = this.lastEventId;
      const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
      if (key) headers.Authorization = `Bearer ${key}`;
      const response = await fetch(url, { headers, signal: hangUp.signal, redirect: 'error' });
      if (response.status !== 200 || !response.headers.get('content-type')?.startsWith('text/event-stream')) {
        await response.body?.cancel();
        // A 4xx of another kind may mean that the server cannot resume there; the next stream begins anew.
        if (response.status >= 400 && response.status < 500 && ![401, 403, 408, 429].includes(response.status)) this.lastEventId = undefined;
        throw Object.assign(new KeysUnavailableError(`the answer to the event stream is ${response.status}`), {
          status: response.status,
          retryAfterSeconds: retryAfterSeconds(response.headers),
        });
      }
      this.connected = true;
      opened(Boolean(this.lastEventId));
      const heard = async function* () {
        for await (const chunk of chunks(response, hangUp.signal)) {
          clearTimeout(timer);
          timer = setTimeout(lost, silence);
          yield chunk;
        }
      };
      for await (const event of parseEvents(heard())) {
        if (event.retry !== undefined) onRetry(event.retry);
        if (event.data !== undefined) await handle(event);
        if (event.id !== undefined) this.lastEventId = event.id;
      }
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }
}

