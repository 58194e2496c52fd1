export { KeywardClient } from './client.js';
export { ApprovalRequiredError, KeysUnavailableError, KeywardError, NoAnswerError, ProblemError, TokenError } from './errors.js';
export { createVerifier, Verifier } from './verifier.js';
export { WebhookReceiver } from './webhook.js';
