import type { CanActivate, CustomDecorator, ExecutionContext } from '@nestjs/common';

import type { GuardOptions } from './guard.js';

/** A decorator of controllers and handlers that KeywardGuard lets everybody reach. */
export declare const Public: () => CustomDecorator<string>;

/** A guard on Express or Fastify: it sets request.auth, or throws an HttpException with 401, 403 or 503. */
export declare class KeywardGuard implements CanActivate {
  constructor(options: GuardOptions<any>);
  canActivate(context: ExecutionContext): Promise<boolean>;
}
