import type { FastifyPluginAsync, FastifyRequest, onRequestAsyncHookHandler } from 'fastify';

import type { GuardOptions } from './guard.js';
import type { Auth } from './verifier.js';

declare module 'fastify' {
  interface FastifyRequest {
    auth?: Auth | undefined;
  }
}

/** A plugin that guards all routes of the context in which it is registered. */
export declare const keyward: FastifyPluginAsync<GuardOptions<FastifyRequest>>;

/** An onRequest hook for one route: it sets request.auth, or answers 401, 403 or 503. */
export declare function guard(options: GuardOptions<FastifyRequest>): onRequestAsyncHookHandler;
