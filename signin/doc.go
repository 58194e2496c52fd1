// Package signin authenticates users of the operator's identity provider, and
// workloads by tokens of issuers that tenants trust ([Workloads]). On the
// admin API it maps the access tokens (RFC 9068, or any JWT signed with the same key
// set) of one issuer to a [tenant.Principal]; for the web console it carries out the
// authorization code flow ([CodeFlow]).
//
// Internal to Keyward: no compatibility promise.
//
// It guarantees that a role is given only for a token that is signed with a key
// published by the issuer, with an allowed algorithm, for a configured audience,
// and unexpired (RFC 8725); and that the role comes from the operator's [Mapping]
// of a claim of that token. An ID token counts only for the browser that began the
// sign-in, and for this client. It trusts the issuer about identity and groups. It
// stores only the issuer's key set: a token is verified at each request.
package signin
