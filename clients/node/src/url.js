import { KeywardError } from './errors.js';

/**
 * checkedURL refuses URLs over which a credential or a key set would go in the
 * clear, except on this machine or where allowHttp says that the network encrypts.
 */
export function checkedURL(text, allowHttp, what) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new KeywardError('invalid_argument', `${what} is not an absolute URL`);
  }
  if (url.username || url.password || url.hash) throw new KeywardError('invalid_argument', `${what} has user information or a fragment`);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && (allowHttp || local))) {
    throw new KeywardError('invalid_argument', `${what} is not https; allowHttp allows http`);
  }
  return url;
}

/** withoutSlash returns a base URL to which paths can be appended. */
export const withoutSlash = (url) => url.href.replace(/\/+$/, '');

/** sleep waits; it rejects when the signal is aborted. */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
