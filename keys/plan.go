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

// FreshFor limits the age of the last proof that a snapshot is the latest.
// Signing fails closed beyond it; a JWKS is read again or, if PostgreSQL is
// unavailable, served stale. It limits how long a replica that is cut off from
// the database may sign with a revoked key.
const FreshFor = 10 * time.Second

// Bounds of the times that rows have; tests compare them with those of package db.
const (
	// TimeTolerance is how far the time of a change may lie before its commit: the
	// database refuses an older one (rule audit_events_time_of_effect).
	TimeTolerance = 5 * time.Second
	// ClockTolerance is how far the clock of a process that signs may be from the
	// database's (db.MaxClockOffset).
	ClockTolerance = 2 * time.Second
)

// SigningTail is the time for which tokens of the state before a change may still be
// signed, by their own iat, after the time that the change has: the change may commit
// TimeTolerance later, a replica that hears nothing goes on for FreshFor, and its clock
// may be ahead by ClockTolerance. Every horizon of tokens contains it. The database has
// the same value (keyward_signing_tail in the migrations).
const SigningTail = FreshFor + TimeTolerance + ClockTolerance

// PublishTail is the time for which a key set may still be served unmarked without a key
// after its published_at: the key may be committed TimeTolerance later, and a replica that
// hears nothing serves what it knows for FreshFor. A lead contains it where
// publish_lead - max-age - stale-while-revalidate is as much, as with every skew from
// PublishTail on; with shorter ones, which are for drills, a verifier that was filled by such
// a replica may have to fetch the set again for the new key.
const PublishTail = FreshFor + TimeTolerance

// Schedule is a policy and the other inputs of [Plan].
type Schedule struct {
	tenant.Policy
	ClockSkew time.Duration // the tenant's leeway between clocks
	Jitter    time.Duration // added to the rotation interval; see [Jitter]

	// HoldUntil, if set, is when the last cache filled under an earlier, longer
	// max-age has expired: no scheduled promotion before it. A change that shortens
	// a tenant's caching sets it to its own time plus the old propagation time.
	HoldUntil time.Time

	// Adoption, if known, is the share of the verifiers that have fetched the standby.
	// Below MinAdoption the schedule waits for it, but not longer than MaxAdoptionWait.
	// Where it is not known, as for a tenant without verifiers, nothing waits.
	Adoption *float64

	// Freezes are windows in which the schedule promotes nothing, by their
	// start: what falls due inside is put off to the end.
	Freezes []tenant.Freeze
}

// StepKind is the action of a [Step].
type StepKind string

// The steps, in the order in which a plan lists them.
const (
	Expire        StepKind = "expire"         // deprecated → expired
	Purge         StepKind = "purge"          // expired or revoked → purged
	Promote       StepKind = "promote"        // active, if any → deprecated; then standby → active
	CreateStandby StepKind = "create_standby" // a new key, published ahead
)

// Step is one action that is due now. KID names its key and is empty for a new
// standby.
type Step struct {
	Kind StepKind
	KID  string
}

// Plan returns the steps that are due at now for the keys of one (tenant, alg),
// and when to plan again if nothing changes in between; a zero next means
// never. Each state between the steps keeps the guarantees of the package.
// Planning again at the same now returns no steps and the same next.
//
// A retired policy only lets its published keys expire. A live policy always
// has a standby. It becomes active when the active key's rotation interval
// ends, but not before its publish lead is over, not while deprecated keys with
// live tokens fill the JWKS, not before enough verifiers have fetched it or that
// wait is over, and not inside a freeze window; other steps ignore freezes. Without an active key, which only damage causes, the standby is
// promoted after its lead and outside freezes; a manual rotation is possible
// before.
func Plan(now time.Time, s Schedule, keys []Key) (steps []Step, next time.Time) {
	l := newLine(now, s, keys)
	steps = append(steps, l.expire(now)...)
	steps = append(steps, l.purge(now)...)
	steps = append(steps, l.promote(now)...)
	steps = append(steps, l.addStandby(now)...)
	return steps, l.nextDue()
}

// TokenHorizon returns when no token is accepted any more that was signed under the
// schedule's policy until a change of it, or of the key, at the given time.
func (s Schedule) TokenHorizon(at time.Time) time.Time {
	return at.Add(s.MaxTokenTTL + s.ClockSkew + SigningTail)
}

// WaitsForAdoption reports whether only a lack of adoption puts off the promotion of
// the standby at now, and until when at most.
func (s Schedule) WaitsForAdoption(now time.Time, keys []Key) (until time.Time, waits bool) {
	l := newLine(now, s, keys)
	until = l.promotionDue()
	return until, l.lacksAdoption() && isDue(now, l.afterFreezes(l.promotionWanted())) && !isDue(now, until)
}

// ExpiresAt returns when a key deprecated at deprecatedAt leaves the JWKS:
// after the grace period, and not before its last token has expired, also one
// of an earlier, longer token lifetime.
func (s Schedule) ExpiresAt(deprecatedAt time.Time, k Key) time.Time {
	return Later(deprecatedAt.Add(s.GracePeriod), Later(s.TokenHorizon(deprecatedAt), k.Horizon()))
}

// SafeToRetireAt returns when all tokens of the key have expired. For a
// deprecated key it is the longest token lifetime after the last replica
// stopped signing with it, or its own expiry if that is earlier; for a standby,
// which signed nothing, the time of publication. It is nil for an active key,
// for a key that has left the JWKS, and for an imported standby, whose former
// use is unknown.
func (s Schedule) SafeToRetireAt(k Key) *time.Time {
	switch {
	case k.State == Deprecated:
		at := safeToRetireAt(s, k)
		return &at
	case k.State == Standby && k.Origin != Imported:
		at := k.PublishedAt
		return &at
	}
	return nil
}

// Jitter spreads the rotations of tenants that were created together. The same
// (tenant, alg, interval) always gives the same delay, between 0 and fraction
// of the interval, in whole microseconds.
func Jitter(tenantID uuid.UUID, alg jose.SignatureAlgorithm, interval time.Duration, fraction float64) time.Duration {
	span := uint64(max(0, fraction*float64(interval.Microseconds())))
	if span == 0 {
		return 0
	}
	sum := sha256.Sum256(append(tenantID[:], alg...))
	return time.Duration(binary.BigEndian.Uint64(sum[:8])%(span+1)) * time.Microsecond
}

// safeToRetireAt returns when all tokens of a deprecated key have expired. Its
// own expiry is the upper limit: it was set from the lifetimes in force when
// the key stopped signing, and is the only evidence for an imported public key.
// LastTokenExpiresAt may not shorten it, because
// replicas report it late.
func safeToRetireAt(s Schedule, k Key) time.Time {
	if k.ActivatedAt == nil || k.DeprecatedAt == nil {
		return expiryOf(s, k)
	}
	return earlierOf(Later(s.TokenHorizon(*k.DeprecatedAt), k.Horizon()), expiryOf(s, k))
}

// expiryOf returns when a deprecated key leaves the JWKS by its own schedule.
func expiryOf(s Schedule, k Key) time.Time {
	if k.ExpiresAt != nil {
		return *k.ExpiresAt
	}
	return s.ExpiresAt(*k.DeprecatedAt, k)
}

// Horizon returns the key's TokenHorizon, or the zero time.
func (k Key) Horizon() time.Time {
	if k.TokenHorizon == nil {
		return time.Time{}
	}
	return *k.TokenHorizon
}

// purgeAt returns when the public key of an expired or revoked key is deleted.
func purgeAt(s Schedule, k Key) time.Time {
	if k.State == Revoked {
		return k.RevokedAt.Add(s.PurgeAfter)
	}
	return k.ExpiredAt.Add(s.PurgeAfter)
}

// CompareDeprecation orders deprecated keys by the time of deprecation, then by
// kid. It returns a negative number if k is the earlier one.
func (k Key) CompareDeprecation(other Key) int {
	return cmp.Or(k.DeprecatedAt.Compare(*other.DeprecatedAt), cmp.Compare(k.KID, other.KID))
}

// Later returns the later of two times.
func Later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// earliestOf returns the earliest non-zero time, or zero.
func earliestOf(times ...time.Time) time.Time {
	times = slices.DeleteFunc(times, time.Time.IsZero)
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}
