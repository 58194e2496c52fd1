// Package signin lets people of the operator's own identity provider use the
// admin API: it turns the access tokens (RFC 9068, or any JWT by the same key
// set) of one issuer into [tenant.Principal]s.
//
// It guarantees that nobody gets a role without a token that is signed with a
// key the issuer publishes, by an algorithm the operator allows, for the
// audience the operator named, and unexpired (RFC 8725); and that the role is
// one that the operator's own [Mapping] gives for a claim of that token. It
// trusts the issuer to tell who somebody is and which groups they are in. It
// keeps nothing but the issuer's key set: a token is verified each time.
package signin
