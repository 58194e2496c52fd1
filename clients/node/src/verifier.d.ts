import type { JWTHeaderParameters, JWTPayload } from 'jose';

import type { Schemas } from './client.js';

/** What a token says, once it is verified. */
export interface Auth {
  claims: JWTPayload;
  header: JWTHeaderParameters;
  token: string;
}

/** How the JWK Set is cached. Times are milliseconds. */
export interface CacheOptions {
  /** The longest a set is used before it is fetched again; 600,000. The issuer's Cache-Control can make it shorter. */
  maxAge?: number;
  /** The shortest; 1,000. */
  minAge?: number;
  /** How long a set is used beyond its age if it cannot be fetched; at most an hour and the issuer's stale-if-error. */
  staleIfError?: number;
  /** Of one fetch; 5,000. */
  timeout?: number;
  /** How long after a fetch for an unknown kid there is no other; 5,000. */
  cooldown?: number;
  /** Fetches for unknown kids in a minute; 6. */
  unknownKidsPerMinute?: number;
  /** Size of a set in bytes; 1 MiB. */
  maxBytes?: number;
  maxKeys?: number;
  headers?: Record<string, string>;
}

interface Checks {
  /** aud must have one of them. */
  audience?: string | string[];
  /** Accepts every aud, and none. */
  anyAudience?: boolean;
  /** Accepts every iss, and none. */
  anyIssuer?: boolean;
  /** All public-key algorithms by default; a key verifies only its own in any case. */
  algorithms?: Schemas['Alg'][];
  /** Values of typ that are accepted, '' for none; by default '', JWT and at+jwt. */
  types?: string[];
  /** Claims that must be there; ['exp'] by default. */
  requiredClaims?: string[];
  /** How far the clocks of issuer and verifier may be apart, in seconds; 0. */
  clockTolerance?: number;
  /** The longest time since iat, in seconds. */
  maxTokenAge?: number;
  /** How long a token may be; 16,384. */
  maxSize?: number;

  /**
   * An API key with the role tenant_verifier: the verifier follows the tenant's key-events, and a revoked key verifies
   * nothing from the moment its event arrives. A function is called for each connection, so that the key can be replaced.
   */
  apiKey?: string | (() => string | Promise<string>);
  /** The stream of key events, if it is not below url: the admin API may have an address of its own. */
  eventsUrl?: string;
  /** Milliseconds without a byte after which the stream counts as lost; 45,000. */
  silence?: number;
  /** Called when the stream of key events is lost; it is opened again after waitMs. */
  onLost?: (error: Error, waitMs: number) => void;

  cache?: CacheOptions;
  /** Plain http works on this machine only, unless the network encrypts. */
  allowHttp?: boolean;
  fetch?: typeof globalThis.fetch;
  now?: () => Date;
}

export type VerifierOptions = Checks &
  (
    | { /** Of Keyward. */ url: string; /** The slug. */ tenant: string; issuer?: string; jwksUri?: string }
    | { url?: undefined; issuer?: string; jwksUri: string }
  );

/** Checks the tokens of one issuer. Close it when done: it may hold a connection open. */
export declare class Verifier {
  constructor(options: VerifierOptions);
  readonly issuer: string;
  /** Whether the stream of key events is open. */
  readonly subscribed: boolean;
  /** Resolves when the stream of key events is open for the first time, if there is one, and the keys were fetched. */
  ready(): Promise<void>;
  /** Throws a TokenError if the token is refused, a KeysUnavailableError if it can be neither accepted nor refused. */
  verify(token: string): Promise<Auth>;
  /** Ends the stream of key events. Tokens can still be verified. */
  close(): void;
}

export declare function createVerifier(options: VerifierOptions): Verifier;
