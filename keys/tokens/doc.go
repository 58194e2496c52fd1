// Package tokens signs and verifies compact JWS and JWTs (RFC 7515, RFC 7519),
// and holds their claims and headers to the rules of a tenant. Internal to
// Keyward: no compatibility promise.
//
// It guarantees that no claim of a caller overrules the platform's in silence,
// that no token outlives what its policy allows, that JSON which two parsers can
// read in two ways is refused, that a token is verified with one key, named by
// its kid, and with the algorithm of that key (RFC 8725), and that a type which
// Keyward itself signs under is not open to callers.
//
// It is pure: the time comes from the caller, and so do the keys.
package tokens
