// Package keys is the pure part of what Keyward knows of signing keys: the states
// of a key and its moves, the plan of what should happen next, the algorithms,
// JWKs and private keys. Internal to Keyward: no compatibility promise.
//
//	           ┌──────────────────── publish lead ──┐
//	generated ─┴▶ standby ──▶ active ──▶ deprecated ──▶ expired ──▶ purged
//	or imported     │           │            ▲   │                    ▲
//	                └───────────┴────────────│───┴──▶ revoked ────────┘
//	imported, public only ───────────────────┘
//
//	in the JWKS:  standby, active, deprecated
//	signs:        active
//	private key:  exists, sealed, exactly while standby or active
//
// It guarantees that [Plan] promotes no key before every well-behaved cache can
// have seen it, that no key leaves the JWKS by schedule while a token it signed
// may live, and that a signature is verified with the algorithm that its key is
// for (RFC 8725 section 3.1). A private key has a type of its own, [Private],
// that prints as "[redacted]" and has no place in a [Key].
//
// It does no I/O and reads no clock. It trusts the caller's times to be right
// within the tenant's clock skew, and crypto/rand. That a policy has at most one
// standby and one active key is the database's part, see package
// github.com/keyward/keyward/keys/moves.
package keys
