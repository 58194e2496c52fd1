import type { components, paths } from './schema.js';

/** The schemas of openapi.yaml, by name. */
export type Schemas = components['schemas'];

type Method = 'get' | 'post' | 'put' | 'patch' | 'delete';
type Operation<M extends Method, P extends keyof paths> = paths[P][M];

/** The paths that have an operation with the method. */
export type PathWith<M extends Method> = {
  [P in keyof paths]: Operation<M, P> extends { responses: unknown } ? P : never;
}[keyof paths];

type PathNames<P extends string> = P extends `${string}{${infer Name}}${infer Rest}` ? Name | PathNames<Rest> : never;
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? NonNullable<Q> : never;
type BodyOf<O> = O extends { requestBody?: infer B } ? (NonNullable<B> extends { content: { 'application/json': infer J } } ? J : never) : never;
type WithBody<O> = O extends { requestBody: { content: { 'application/json': infer J } } } ? { body: J } : [BodyOf<O>] extends [never] ? { body?: never } : { body?: BodyOf<O> };

/** What every request takes. */
export interface RequestOptions {
  headers?: Record<string, string>;
  /** Of a change: by default a random one, which is kept for the retries. Bring a stored one to resume after a restart. */
  idempotencyKey?: string;
  /** The id of an approval by a second person. */
  approval?: string;
  /** Wait up to so many seconds (5 at most) until every live process serves the change. */
  wait?: number;
  signal?: AbortSignal;
  /** Milliseconds for one try. */
  timeout?: number;
  /** How often a request is repeated. */
  retries?: number;
}

export type Init<M extends Method, P extends keyof paths> = RequestOptions &
  ([PathNames<P & string>] extends [never] ? { path?: never } : { path: Record<PathNames<P & string>, string> }) &
  ([QueryOf<Operation<M, P>>] extends [never] ? { query?: never } : { query?: QueryOf<Operation<M, P>> }) &
  WithBody<Operation<M, P>>;

type Args<M extends Method, P extends keyof paths> = {} extends Init<M, P> ? [init?: Init<M, P>] : [init: Init<M, P>];

type Json<R, S extends number> = R extends { [K in S]: { content: { 'application/json': infer J } } } ? J : never;
type Empty<R> = R extends { 204: unknown } ? undefined : never;
type Responses<M extends Method, P extends keyof paths> = Operation<M, P> extends { responses: infer R } ? R : never;

/** What an operation answers if it succeeds. An approval that is required is an ApprovalRequiredError. */
export type Answer<M extends Method, P extends keyof paths> =
  | Json<Responses<M, P>, 200>
  | Json<Responses<M, P>, 201>
  | Exclude<Json<Responses<M, P>, 202>, Schemas['Approval']>
  | Empty<Responses<M, P>>;

type Item<A> = A extends { items: (infer I)[] } ? I : never;
type Listed = { [P in PathWith<'get'>]: Item<Answer<'get', P>> extends never ? never : P }[PathWith<'get'>];

export interface ClientOptions {
  /** The URL of Keyward's admin API, such as https://keys.example.com. Plain http works on this machine only, unless allowHttp. */
  url: string;
  /** The API key, or a function that returns it for each try, so that it can be replaced. */
  apiKey: string | (() => string | Promise<string>);
  allowHttp?: boolean;
  /** How often a request is repeated after no answer, 429, 502, 503 or 504; 3 by default. */
  retries?: number;
  /** Milliseconds for one try; 30,000 by default. */
  timeout?: number;
  userAgent?: string;
  fetch?: typeof globalThis.fetch;
}

/** An audit event of a stream. */
export interface StreamedEvent {
  id: string;
  event: Schemas['AuditAction'];
  data: Schemas['AuditEvent'];
}

/** Calls the HTTP API: every operation by its path, typed from openapi.yaml. */
export declare class KeywardClient {
  constructor(options: ClientOptions);
  readonly url: string;
  get<P extends PathWith<'get'>>(path: P, ...init: Args<'get', P>): Promise<Answer<'get', P>>;
  post<P extends PathWith<'post'>>(path: P, ...init: Args<'post', P>): Promise<Answer<'post', P>>;
  put<P extends PathWith<'put'>>(path: P, ...init: Args<'put', P>): Promise<Answer<'put', P>>;
  patch<P extends PathWith<'patch'>>(path: P, ...init: Args<'patch', P>): Promise<Answer<'patch', P>>;
  delete<P extends PathWith<'delete'>>(path: P, ...init: Args<'delete', P>): Promise<Answer<'delete', P>>;
  /** The items of all pages of a list. */
  list<P extends Listed>(path: P, ...init: Args<'get', P>): AsyncGenerator<Item<Answer<'get', P>>, void, undefined>;
  /** Audit events as they commit, of a tenant or of all. Connects again by itself; end it with break or the signal. */
  events(options?: { tenant?: string; lastEventId?: string; signal?: AbortSignal; onLost?: (error: Error, waitMs: number) => void }): AsyncGenerator<StreamedEvent, void, undefined>;

  createTenant(body: Schemas['CreateTenantRequest'], options?: RequestOptions): Promise<Schemas['Tenant']>;
  getTenant(tenant: string, options?: RequestOptions): Promise<Schemas['Tenant']>;
  signToken(tenant: string, body: Schemas['SignTokenRequest'], options?: RequestOptions): Promise<Schemas['SignedToken']>;
  verifyToken(tenant: string, body: Schemas['VerifyTokenRequest'], options?: RequestOptions): Promise<Schemas['VerifyTokenResult']>;
  keys(tenant: string, query?: { state?: Schemas['KeyState']; alg?: Schemas['Alg']; valid_at?: string; limit?: number }, options?: RequestOptions): AsyncGenerator<Schemas['Key'], void, undefined>;
  rotateKeys(tenant: string, body?: Schemas['RotateRequest'] & { dry_run?: false }, options?: RequestOptions): Promise<Schemas['RotateResult']>;
  revokeKey(tenant: string, kid: string, body: Schemas['RevokeRequest'], options?: RequestOptions): Promise<Schemas['RevokeResult']>;
}
