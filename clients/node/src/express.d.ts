import type { Request, RequestHandler } from 'express';

import type { GuardOptions } from './guard.js';
import type { Auth } from './verifier.js';

declare global {
  namespace Express {
    interface Request {
      auth?: Auth | undefined;
    }
  }
}

/** Middleware that sets req.auth, or answers 401, 403 or 503. */
export declare function keyward(options: GuardOptions<Request>): RequestHandler;
