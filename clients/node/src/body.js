/**
 * chunks yields the bytes of a response until the signal is aborted. The signal of
 * fetch does not suffice: in some versions of Node.js a garbage collection cuts its
 * connection to the body.
 */
export async function* chunks(response, signal) {
  if (response.body === null) return;
  const reader = response.body.getReader();
  const stop = () => reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      signal.throwIfAborted(); // cancelling looks like the end
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    reader.cancel().catch(() => {});
  }
}

/** readText returns the whole body, which may have most bytes. */
export async function readText(response, most, signal) {
  const decoder = new TextDecoder();
  let text = '';
  let size = 0;
  for await (const chunk of chunks(response, signal)) {
    size += chunk.length;
    if (size > most) throw new Error('the answer is too large');
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}
