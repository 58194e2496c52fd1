package keys

import (
	"encoding/json"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
)

// State is where a key is in its life; see the drawing in the package comment.
type State string

// The states of a key and, in brackets, their names in NIST SP 800-57 part 1.
const (
	Standby    State = "standby"    // published, does not sign yet (pre-activation)
	Active     State = "active"     // the one key of its policy that signs (active)
	Deprecated State = "deprecated" // signed once, still published (deactivated)
	Expired    State = "expired"    // left the JWKS because its time was up (deactivated)
	Revoked    State = "revoked"    // left the JWKS because someone said so (compromised)
	Purged     State = "purged"     // the public key is gone too (destroyed)
)

// Origin says where a key came from.
type Origin string

// The origins of a key.
const (
	Generated Origin = "generated"
	Imported  Origin = "imported"
)

// Activation says by whose act a key began to sign. Only Scheduled is held to
// the policy's publish lead; every other one is somebody's explicit act.
type Activation string

// The ways in which a key becomes active.
const (
	Scheduled    Activation = "scheduled"  // by the worker, when the rotation interval was over
	First        Activation = "first"      // the first key of a new policy
	ByHand       Activation = "manual"     // rotate
	ByRevocation Activation = "revocation" // the standby took over from a revoked key
	Fresh        Activation = "fresh"      // a key no verifier has seen took over from a revoked one
	ByRevokeAll  Activation = "revoke_all" // the same for every key of the tenant
	ByImport     Activation = "import"     // brought in as active
)

// Reason says why a key was revoked, in the words of OpenID Federation 1.0
// section 8.7.
type Reason string

// The reasons for a revocation.
const (
	Unspecified Reason = "unspecified"
	Compromised Reason = "compromised"
	Superseded  Reason = "superseded"
)

// Key is the public side of one signing key: everything but the private key,
// which has no field here and no way into this type.
type Key struct {
	TenantID  uuid.UUID
	KID       string // RFC 7515 section 4.1.4; RFC 7638 thumbprint unless imported with another
	Alg       jose.SignatureAlgorithm
	State     State
	Origin    Origin
	PublicJWK json.RawMessage // RFC 7517, with kid, use and alg; nil once purged

	CreatedAt        time.Time
	PublishedAt      time.Time
	ActivatedAt      *time.Time
	Activation       Activation // how it became active; empty when it never did
	DeprecatedAt     *time.Time
	ExpiresAt        *time.Time // when a deprecated key leaves the JWKS
	ExpiredAt        *time.Time // when it did
	RevokedAt        *time.Time
	RevocationReason Reason
	PurgedAt         *time.Time

	// TokenHorizon is when the last token signed with the key is accepted
	// nowhere any more: the exp it can have at most, plus skew. It is known once
	// the key stops signing; before that it is set where an earlier policy
	// allowed longer tokens.
	TokenHorizon *time.Time

	// What this platform signed with the key, flushed at least every minute.
	LastSignedAt       *time.Time
	LastTokenExpiresAt *time.Time
}

// lastMoved is the newest time in the key's history. Clocks of two processes
// may differ; a key's next move is never written before its last one.
func (k Key) LastMoved() time.Time {
	at := k.PublishedAt
	for _, t := range []*time.Time{k.ActivatedAt, k.DeprecatedAt, k.ExpiredAt, k.RevokedAt, k.PurgedAt} {
		if t != nil {
			at = Later(at, *t)
		}
	}
	return at
}
