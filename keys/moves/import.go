package moves

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/tenant"
)

// longestImport is how far ahead the end of a public key may lie.
const longestImport = 10 * 365 * 24 * time.Hour

// UsedKIDError says that a tenant has a key of that name, or had one once.
type UsedKIDError struct{ KID string }

// Error names the kid.
func (e *UsedKIDError) Error() string {
	return "keys: the tenant has used the kid " + e.KID + " before"
}

// ErrPlatformImport means that a key was to be brought into the platform's own
// tenant. Its keys attest what Keyward says: whoever had one outside, or brought
// in a public key of his own, could forge checkpoints and certificates.
var ErrPlatformImport = errors.New("keys: the platform's own tenant takes no keys from outside")

// PrivateImport brings in a private key that shall sign.
type PrivateImport struct {
	Key    []byte                  // PEM or JWK; the caller clears it
	Alg    jose.SignatureAlgorithm // which of the tenant's policies it joins
	KID    string                  // empty: the JWK's own if it is one that Keyward uses, else the thumbprint
	Active bool                    // signs at once, instead of becoming the standby
}

// PublicImport brings in public keys, so that tokens of a system left behind
// keep verifying.
type PublicImport struct {
	Key       []byte                  // PEM, JWK or JWK Set
	Alg       jose.SignatureAlgorithm // of keys that do not say it themselves
	KID       string                  // of one key; empty: the JWK's own, else the thumbprint
	ExpiresAt time.Time               // when the keys leave the JWKS, at most ten years ahead
}

// ImportPrivate brings in a private key. As standby it takes the place of the
// one there is, which is revoked as superseded; as active it deprecates the
// active one and leaves the standby. Errors: *tokens.ClaimError for material that is
// refused, *UsedKIDError, ErrRotationWaits, ErrPlatformImport, tenant.ErrNotFound,
// tenant.ErrIdempotencyMismatch, tenant.ErrNotRepeated, custody.ErrDataKey, ErrUnavailable.
func (s *Store) ImportPrivate(ctx context.Context, by audit.By, tenantID uuid.UUID, req PrivateImport, idem *tenant.Idempotency) (Entry, error) {
	c, err := req.candidate()
	if err != nil {
		return Entry{}, err
	}
	sealers, err := s.cfg.Custody.Sealers(ctx, tenantID)
	if err != nil {
		return Entry{}, err
	}
	entries, err := s.bringIn(ctx, by, tenantID, []candidate{c}, idem, func(l *ledger) ([]tenant.Policy, error) {
		sealer, opened := sealers[tenantID]
		if !opened {
			return nil, custody.ErrDataKey
		}
		return nil, l.importPrivate(c, sealer, req.Active)
	})
	if err != nil {
		return Entry{}, err
	}
	return entries[0], nil
}

// ImportPublic brings in one public key, or all those of a JWK Set that are for
// signatures, or none. They enter as deprecated and expire by the schedule. An
// algorithm that the tenant never had gets a policy that is retired from the
// start: nothing signs by it, the worker expires its keys. Set says that a JWK
// Set was given. Errors: those of ImportPrivate but custody.ErrDataKey.
func (s *Store) ImportPublic(ctx context.Context, by audit.By, tenantID uuid.UUID, req PublicImport, idem *tenant.Idempotency) (_ []Entry, set bool, err error) {
	cs, set, err := req.candidates()
	if err != nil {
		return nil, set, err
	}
	entries, err := s.bringIn(ctx, by, tenantID, cs, idem, func(l *ledger) ([]tenant.Policy, error) {
		return l.importPublic(cs, req.ExpiresAt.UTC().Truncate(time.Microsecond))
	})
	return entries, set, err
}

// bringIn is the transaction of an import: what a repeated request made before
// is answered, else decide moves the keys and says which policies have to be
// there, retired, to carry them.
func (s *Store) bringIn(ctx context.Context, by audit.By, tenantID uuid.UUID, cs []candidate, idem *tenant.Idempotency,
	decide func(*ledger) ([]tenant.Policy, error),
) (entries []Entry, err error) {
	err = s.cfg.DB.InTenant(ctx, tenantID, func(tx *db.Tx) error {
		l, err := s.open(ctx, tx, by, tenantID)
		if err != nil {
			return err
		}
		if l.tenant.Slug == tenant.PlatformSlug {
			return ErrPlatformImport
		}
		if err := replayed(ctx, tx, tenantID, idem); err != nil {
			return err
		}
		if err := errors.Join(unused(ctx, tx, tenantID, cs), l.uncompromised(cs)); err != nil {
			return err
		}
		carriers, err := decide(l)
		if err != nil {
			return err
		}
		entries = l.brought(cs)
		return l.writeImport(ctx, tx, carriers, idem)
	})
	var replay *tenant.ReplayError
	if errors.As(err, &replay) {
		return s.again(ctx, tenantID, cs)
	}
	return entries, err
}

// brought are the keys as they are now.
func (l *ledger) brought(cs []candidate) (entries []Entry) {
	for _, c := range cs {
		entries = append(entries, l.entry(*l.find(c.kid)))
	}
	return entries
}
