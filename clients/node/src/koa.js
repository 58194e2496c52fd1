import { authenticate, checkedOptions, Refusal } from './guard.js';

/** keyward is middleware for Koa: it sets ctx.state.auth, or answers 401, 403 or 503. */
export function keyward(options) {
  const checked = checkedOptions(options);
  return async (ctx, next) => {
    const auth = await authenticate(ctx.req.headers.authorization, ctx, checked);
    if (!(auth instanceof Refusal)) {
      ctx.state.auth = auth;
      return next();
    }
    ctx.status = auth.status;
    ctx.body = JSON.stringify(auth.problem);
    ctx.set(auth.headers);
  };
}
