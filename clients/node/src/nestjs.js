import { HttpException, SetMetadata } from '@nestjs/common';

import { authenticate, checkedOptions, Refusal } from './guard.js';

const publicKey = 'keyward:public';

/** Public is a decorator of controllers and handlers that KeywardGuard lets everybody reach. */
export const Public = () => SetMetadata(publicKey, true);

/** KeywardGuard is a guard for NestJS, on Express or Fastify: it sets request.auth, or throws an HttpException with 401, 403 or 503. */
export class KeywardGuard {
  #options;

  constructor(options) {
    this.#options = checkedOptions(options);
  }

  async canActivate(context) {
    const open = [context.getHandler(), context.getClass()].some((target) => Reflect.getMetadata?.(publicKey, target) === true);
    if (open) return true;
    const http = context.switchToHttp();
    const request = http.getRequest();
    const auth = await authenticate(request.headers.authorization, request, this.#options);
    if (!(auth instanceof Refusal)) {
      request.auth = auth;
      return true;
    }
    const response = http.getResponse();
    for (const [name, value] of Object.entries(auth.headers)) response.header(name, value);
    throw new HttpException(auth.problem, auth.status);
  }
}
