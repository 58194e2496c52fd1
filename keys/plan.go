package keys

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/tenant"
)

// FreshFor is how old the last proof may be that a snapshot is the latest one.
// Signing fails closed beyond it; a JWKS is read again or, if PostgreSQL is
// away, served stale. It bounds how long a replica that is cut off from the
// database may sign with a key that was revoked meanwhile.
const FreshFor = 10 * time.Second

// Schedule is a policy and what else [Plan] must know to follow it.
type Schedule struct {
	tenant.Policy
	ClockSkew time.Duration // the tenant's leeway between clocks
	Jitter    time.Duration // added to the rotation interval; see [Jitter]

	// HoldUntil, if set, is when the last cache filled under an earlier, longer
	// max-age has run out: no scheduled promotion before it. Whoever shortens a
	// tenant's caching sets it to that moment plus the old propagation time.
	HoldUntil time.Time

	// Freezes are windows in which the schedule promotes nothing, by their
	// start: what falls due inside is put off to the end.
	Freezes []tenant.Freeze
}

// StepKind says what a [Step] does.
type StepKind string

// The steps, in the order in which a plan lists them.
const (
	Expire        StepKind = "expire"         // deprecated → expired
	Purge         StepKind = "purge"          // expired or revoked → purged
	Promote       StepKind = "promote"        // active, if any → deprecated; then standby → active
	CreateStandby StepKind = "create_standby" // a new key, published ahead
)

// Step is one thing to do now. KID is the key it is done to; a new standby has
// none yet.
type Step struct {
	Kind StepKind
	KID  string
}

// Plan says what is due at now for the keys of one (tenant, alg), and when to
// look again provided nobody acts in between; a zero next means never. Taking
// the steps in their order breaks no promise at any point between them, and
// planning again at the same now then gives no steps and the same next.
//
// The rules: a retired policy only lets its published keys run out. A live
// one always has a standby, which becomes active when the active key's time is
// up, but not before it was published for the lead, and not while a crowd of
// deprecated keys whose tokens may still live leaves no room for one more, and
// not inside a freeze window. Nothing else waits for a freeze to end.
// Without an active key (which takes damage, not a schedule) the standby is
// promoted once its lead is over, and no freeze in force; until then a rotation
// by hand helps.
func Plan(now time.Time, s Schedule, keys []Key) (steps []Step, next time.Time) {
	l := newLine(now, s, keys)
	steps = append(steps, l.expire(now)...)
	steps = append(steps, l.purge(now)...)
	steps = append(steps, l.promote(now)...)
	steps = append(steps, l.replenish(now)...)
	return steps, l.next()
}

// ExpiresAt is when a key deprecated at deprecatedAt leaves the JWKS: after
// the grace period, and not before the last token of an earlier, longer token
// lifetime is over.
func (s Schedule) ExpiresAt(deprecatedAt time.Time, k Key) time.Time {
	return Later(deprecatedAt.Add(s.GracePeriod), k.Horizon())
}

// SafeToRetireAt is when no token of the key can live any more: for a
// deprecated key the longest token lifetime after the last replica stopped
// signing with it, or its own expiry if that is earlier; for a standby the moment it was published, since it signed nothing. It is nil for
// an active key, for one that already left the JWKS, and for an imported
// standby, of which only its former owner knows what it signed.
func (s Schedule) SafeToRetireAt(k Key) *time.Time {
	switch {
	case k.State == Deprecated:
		at := safe(s, k)
		return &at
	case k.State == Standby && k.Origin != Imported:
		at := k.PublishedAt
		return &at
	}
	return nil
}

// Jitter spreads the rotations of many tenants created together: the same
// (tenant, alg, interval) always gets the same delay between 0 and fraction of
// the interval, in whole microseconds.
func Jitter(tenantID uuid.UUID, alg jose.SignatureAlgorithm, interval time.Duration, fraction float64) time.Duration {
	span := uint64(max(0, fraction*float64(interval.Microseconds())))
	if span == 0 {
		return 0
	}
	sum := sha256.Sum256(append(tenantID[:], alg...))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%(span+1)) * time.Microsecond
}

// safe is when no token of a deprecated key can live any more. Its own expiry
// bounds it: that was set when the key stopped signing, by the lifetimes of
// that time. For a public key brought in from elsewhere there is nothing else
// to go by. A replica that has not heard may have signed on for a moment after
// the key was deprecated, see [FreshFor]. Evidence (LastTokenExpiresAt) may not
// shorten it: replicas report it late.
func safe(s Schedule, k Key) time.Time {
	if k.ActivatedAt == nil || k.DeprecatedAt == nil {
		return expiry(s, k)
	}
	at := Later(k.DeprecatedAt.Add(s.MaxTokenTTL+s.ClockSkew), k.Horizon()).Add(FreshFor)
	return earlier(at, expiry(s, k))
}

func expiry(s Schedule, k Key) time.Time {
	if k.ExpiresAt != nil {
		return *k.ExpiresAt
	}
	return s.ExpiresAt(*k.DeprecatedAt, k)
}

func (k Key) Horizon() time.Time {
	if k.TokenHorizon == nil {
		return time.Time{}
	}
	return *k.TokenHorizon
}

func purgeAt(s Schedule, k Key) time.Time {
	if k.State == Revoked {
		return k.RevokedAt.Add(s.PurgeAfter)
	}
	return k.ExpiredAt.Add(s.PurgeAfter)
}

func (k Key) CompareDeprecation(other Key) int {
	return cmp.Or(k.DeprecatedAt.Compare(*other.DeprecatedAt), cmp.Compare(k.KID, other.KID))
}

func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// soonest is the earliest of the times that are not zero; zero if none is.
func soonest(times ...time.Time) time.Time {
	times = slices.DeleteFunc(times, time.Time.IsZero)
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}
