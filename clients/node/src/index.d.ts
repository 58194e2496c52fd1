export { KeywardClient } from './client.js';
export type { Answer, ClientOptions, Init, PathWith, RequestOptions, Schemas, StreamedEvent } from './client.js';
export { ApprovalRequiredError, KeysUnavailableError, KeywardError, NoAnswerError, ProblemError, TokenError } from './errors.js';
export type { TokenCode } from './errors.js';
export type { GuardOptions } from './guard.js';
export { createVerifier, Verifier } from './verifier.js';
export type { Auth, CacheOptions, VerifierOptions } from './verifier.js';
export { WebhookReceiver } from './webhook.js';
export type { Delivery, WebhookOptions } from './webhook.js';
