// Package keys holds the signing keys of the tenants: how they are made, how
// they move through their life, what is signed with them and how that is
// verified.
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
// It guarantees that a policy has at most one standby and one active key, that
// the schedule promotes no key before every well-behaved cache can have seen
// it, that no key leaves the JWKS by schedule while a token it signed may
// live, and that a signature is verified with the algorithm of the key's row,
// never with the one a token names (RFC 8725 section 3.1). A private key has
// a type of its own, [Private], that prints as "[redacted]" and has no place
// in a [Key].
//
// What should happen next is decided by [Plan], a function without I/O, clock
// or randomness; what may never happen is refused by the database. The package
// trusts PostgreSQL to do that, the caller's clock to be right within the
// tenant's clock skew, and crypto/rand.
package keys
