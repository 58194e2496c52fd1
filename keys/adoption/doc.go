// Package adoption knows which verifiers have fetched a JWK Set with a key, from the
// requests for JWK Sets alone. Internal to Keyward: no compatibility promise.
//
// A verifier is an address with a user agent. Only a pseudonym of the two is kept: the
// first 63 bits of a hash with a secret of the day and of the tenant's id, so that
// neither two tenants nor two days can be compared without the master key. Of each
// tenant the verifiers with the smallest pseudonyms are kept, at most [Sample] (a
// bottom-k sketch): samples of several processes merge by keeping the smallest again,
// and the largest of a full sample tells how many there are.
//
// What is known is a hint. Anybody can pretend to be many verifiers, and a CDN hides
// those behind it, so nothing but the time of a rotation may depend on it.
package adoption
