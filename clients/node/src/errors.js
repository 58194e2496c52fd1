// Errors of the package. `code` is for programs, the message for people; neither
// has a token, a credential or the body of a request.

/** KeywardError is what all errors of this package are. */
export class KeywardError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** ProblemError is an error answer of the API (RFC 9457). */
export class ProblemError extends KeywardError {
  constructor(problem, response, idempotencyKey) {
    super(problem.code ?? 'unknown', `${problem.title ?? 'the answer is not one of Keyward\'s'}: ${problem.detail ?? response.statusText} (${problem.code ?? 'unknown'}, ${response.status})`);
    this.status = response.status;
    this.title = problem.title;
    this.detail = problem.detail;
    this.errors = problem.errors ?? [];
    this.outcome = problem.outcome;
    this.requestId = response.headers.get('x-request-id') ?? undefined;
    this.retryAfterSeconds = retryAfterSeconds(response.headers);
    this.idempotencyKey = idempotencyKey;
  }
}

/** NoAnswerError means that nobody knows whether a change was made: the same request with the same key finds out. */
export class NoAnswerError extends KeywardError {
  constructor(cause, idempotencyKey) {
    super('no_answer', `no answer from Keyward: ${cause?.cause?.code ?? cause?.message ?? cause}`, { cause });
    this.idempotencyKey = idempotencyKey;
  }
}

/** ApprovalRequiredError means that a second person must approve the request. Repeat it with `approval: error.approval.id`. */
export class ApprovalRequiredError extends KeywardError {
  constructor(approval) {
    super('approval_required', `a second person must approve this: approval ${approval?.id}`);
    this.approval = approval;
  }
}

/** TokenError means that a token is refused. */
export class TokenError extends KeywardError {}

/** KeysUnavailableError means that a token can be neither accepted nor refused, because the issuer's keys cannot be had. */
export class KeysUnavailableError extends KeywardError {
  constructor(message, options) {
    super('keys_unavailable', message, options);
  }
}

/** retryAfterSeconds reads Retry-After (RFC 9110 section 10.2.3); undefined if it is absent or malformed. */
export function retryAfterSeconds(headers, now = Date.now()) {
  const value = headers.get('retry-after');
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value.trim())) return Number(value);
  const at = Date.parse(value);
  return Number.isNaN(at) ? undefined : Math.max(0, Math.ceil((at - now) / 1000));
}
