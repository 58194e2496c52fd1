import type { KeysUnavailableError, TokenError } from './errors.js';
import type { Verifier } from './verifier.js';

/** The options of a guard. R is the request of the framework. */
export interface GuardOptions<R> {
  /** The verifier, or a function that finds the one of a request, such as by its tenant; undefined refuses the token. */
  verifier: Pick<Verifier, 'verify'> | ((request: R) => Pick<Verifier, 'verify'> | undefined | Promise<Pick<Verifier, 'verify'> | undefined>);
  /** Scopes that the token must have, all of them. */
  scope?: string | string[];
  /** Lets requests without a token through, without auth. */
  optional?: boolean;
  realm?: string;
  /** Called when a token is refused. */
  onRefused?: (error: TokenError, request: R) => void;
  /** Called when a token cannot be checked. */
  onError?: (error: KeysUnavailableError, request: R) => void;
}
