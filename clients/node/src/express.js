import { authenticate, checkedOptions, Refusal } from './guard.js';

/** keyward is middleware for Express: it sets req.auth, or answers 401, 403 or 503. */
export function keyward(options) {
  const checked = checkedOptions(options);
  return (req, res, next) => {
    authenticate(req.headers.authorization, req, checked).then((auth) => {
      if (!(auth instanceof Refusal)) {
        req.auth = auth;
        return next();
      }
      res.status(auth.status).set(auth.headers).send(JSON.stringify(auth.problem));
    }).catch(next);
  };
}
