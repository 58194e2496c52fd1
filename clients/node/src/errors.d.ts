import type { components } from './schema.js';

type Schemas = components['schemas'];

/** What all errors of this package are. */
export declare class KeywardError extends Error {
  /** For programs; the message is for people and may change. */
  readonly code: string;
}

/** An error answer of the API (RFC 9457). */
export declare class ProblemError extends KeywardError {
  /** `unknown` if the answer is not one of Keyward's. */
  readonly code: Schemas['ProblemCode'] | 'unknown';
  readonly status: number;
  readonly title?: string;
  readonly detail?: string;
  readonly errors: Schemas['FieldError'][];
  /** Of a failed change: whether it may have been made. */
  readonly outcome?: 'unchanged' | 'unknown';
  /** Names the request in the server's logs. */
  readonly requestId?: string;
  readonly retryAfterSeconds?: number;
  /** Send the same request with it again if the outcome is unknown. */
  readonly idempotencyKey?: string;
}

/** Nobody knows whether a change was made; the same request with the same key finds out. */
export declare class NoAnswerError extends KeywardError {
  readonly code: 'no_answer';
  readonly idempotencyKey?: string;
}

/** A second person must approve the request. Repeat it with `approval: error.approval.id`. */
export declare class ApprovalRequiredError extends KeywardError {
  readonly code: 'approval_required';
  readonly approval: Schemas['Approval'];
}

/** A token, or the delivery of a webhook, is refused. */
export declare class TokenError extends KeywardError {
  readonly code: TokenCode;
}

export type TokenCode =
  | 'malformed'
  | 'algorithm_not_allowed'
  | 'unknown_key'
  | 'key_revoked'
  | 'bad_signature'
  | 'expired'
  | 'not_yet_valid'
  | 'issued_before'
  | 'missing_claim'
  | 'wrong_issuer'
  | 'wrong_audience'
  | 'wrong_type'
  | 'unknown_critical_header';

/** A token can be neither accepted nor refused, because the issuer's keys cannot be had: answer 503. */
export declare class KeysUnavailableError extends KeywardError {
  readonly code: 'keys_unavailable';
}
