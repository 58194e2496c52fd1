import type { Context, Middleware } from 'koa';

import type { GuardOptions } from './guard.js';
import type { Auth } from './verifier.js';

/** Middleware that sets ctx.state.auth, or answers 401, 403 or 503. */
export declare function keyward(options: GuardOptions<Context>): Middleware<{ auth?: Auth }>;
