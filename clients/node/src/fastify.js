import { authenticate, checkedOptions, Refusal } from './guard.js';

/** guard is an onRequest hook for one route: it sets request.auth, or answers 401, 403 or 503. Register keyward or decorate the request first. */
export function guard(options) {
  const checked = checkedOptions(options);
  return async (request, reply) => {
    const auth = await authenticate(request.headers.authorization, request, checked);
    if (!(auth instanceof Refusal)) {
      request.auth = auth;
      return undefined;
    }
    return reply.code(auth.status).headers(auth.headers).send(JSON.stringify(auth.problem));
  };
}

/** keyward is a plugin for Fastify: it guards all routes of the context in which it is registered. */
export async function keyward(fastify, options) {
  if (!fastify.hasRequestDecorator('auth')) fastify.decorateRequest('auth', undefined);
  fastify.addHook('onRequest', guard(options));
}
// The hook is for the routes beside the plugin, not for those within it alone.
keyward[Symbol.for('skip-override')] = true;
keyward[Symbol.for('fastify.display-name')] = '@keyward/client';
