package moves

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
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

// candidate checks everything about the key that needs no database.
func (r PrivateImport) candidate() (candidate, error) {
	if r.Alg == "" {
		return candidate{}, tokens.Invalid("alg", "is required")
	}
	b, err := keyfile.ParsePrivate(r.Key)
	if err != nil {
		return candidate{}, err
	}
	if r.KID == "" && !keys.ValidKID(b.KID) {
		b.KID = ""
	}
	c, err := importedCandidate(b, r.Alg, r.KID)
	if err != nil {
		return candidate{}, err
	}
	if c.private, err = keys.NewPrivate(c.alg, b.Private); err != nil {
		return candidate{}, err
	}
	if !c.private.Matches() {
		return candidate{}, tokens.Invalid(keyfile.FieldPrivate, "signs what its public half does not verify")
	}
	return c, nil
}

// candidates does the same for public keys.
func (r PublicImport) candidates() ([]candidate, bool, error) {
	bs, set, err := keyfile.ParsePublic(r.Key)
	if err != nil {
		return nil, set, err
	}
	if set && r.KID != "" {
		return nil, set, tokens.Invalid("kid", "must be absent: the keys of a JWK Set keep their own")
	}
	var cs []candidate
	seen := map[string]bool{}
	for _, b := range bs {
		alg := r.Alg
		if set && cmp.Or(b.Alg, b.OnlyAlgorithm()) != "" {
			alg = "" // in a set, alg is for the keys that need it
		}
		c, err := importedCandidate(b, alg, r.KID)
		if err != nil {
			return nil, set, err
		}
		if seen[c.kid] {
			return nil, set, tokens.Invalid(b.Field+".kid", "is that of another key of the set")
		}
		seen[c.kid] = true
		cs = append(cs, c)
	}
	return cs, set, nil
}

// importedCandidate names a key from elsewhere and its algorithm.
func importedCandidate(b keyfile.Key, alg jose.SignatureAlgorithm, kid string) (candidate, error) {
	alg, err := b.Algorithm(alg)
	if err != nil {
		return candidate{}, err
	}
	if kid, err = b.ChooseKID(kid); err != nil {
		return candidate{}, err
	}
	jwk, err := keys.PublicJWK(b.Public, alg, kid)
	return candidate{alg: alg, kid: kid, jwk: jwk, origin: keys.Imported}, err
}

// rsaBits is the length of an RSA modulus, 0 for other keys.
func rsaBits(pub crypto.PublicKey) int {
	if k, is := pub.(*rsa.PublicKey); is {
		return k.N.BitLen()
	}
	return 0
}

// uncompromised refuses keys that the tenant once revoked because somebody else
// had them, whatever they are called now.
func (l *ledger) uncompromised(cs []candidate) error {
	for _, k := range l.keys {
		if k.State != keys.Revoked || k.RevocationReason != keys.Compromised {
			continue
		}
		gone, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
		if err != nil {
			return err
		}
		for _, c := range cs {
			if again, err := keys.ParsePublicJWK(c.alg, c.jwk); err == nil && keys.EqualPublic(gone, again) {
				return tokens.Forbidden("kid", "is of a key that this tenant revoked as compromised, as "+k.KID)
			}
		}
	}
	return nil
}

// replayed finds what an earlier request under the same key has made. The
// tenant's lock is held, so there is none under way.
func replayed(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, idem *tenant.Idempotency) error {
	if idem == nil {
		return nil
	}
	row, err := tx.GetIdempotencyKey(ctx, tenantID, idem.CredentialID, idem.Key)
	if errors.Is(err, db.ErrNoRows) && idem.RepeatOnly {
		return tenant.ErrNotRepeated
	}
	if errors.Is(err, db.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	return idem.Replay(row.RequestHash, row.ResourceID)
}

// again answers a repeated request: its keys as they are by now.
func (s *Store) again(ctx context.Context, tenantID uuid.UUID, cs []candidate) (entries []Entry, err error) {
	for _, c := range cs {
		e, err := s.Find(ctx, tenantID, c.kid)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// unused refuses kids that the tenant has or had, purged keys included.
func unused(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, cs []candidate) error {
	for _, c := range cs {
		_, err := tx.GetKey(ctx, tenantID, c.kid)
		if err == nil {
			return &UsedKIDError{KID: c.kid}
		}
		if !errors.Is(err, db.ErrNoRows) {
			return err
		}
	}
	return nil
}

// writeImport writes carriers as they come to be: made, then retired.
func (l *ledger) writeImport(ctx context.Context, tx *db.Tx, carriers []tenant.Policy, idem *tenant.Idempotency) error {
	w := tx.Later()
	var algs []string
	for _, p := range carriers {
		algs = append(algs, string(p.Alg))
		if err := w.UpsertPolicy(ctx, l.upsert(p)); err != nil {
			return err
		}
	}
	if err := new(statements).collect([]*ledger{l}).queue(ctx, w); err != nil {
		return err
	}
	if len(carriers) > 0 {
		if _, err := w.RetirePolicies(ctx, &l.at, l.tenant.ID, algs); err != nil {
			return err
		}
		w.Expect(len(carriers))
	}
	if idem != nil {
		err := w.InsertIdempotencyKey(ctx, db.InsertIdempotencyKeyParams{
			TenantID: l.tenant.ID, CredentialID: idem.CredentialID, Key: idem.Key, RequestHash: idem.RequestHash,
			ResourceID: l.tenant.ID, CreatedAt: l.at, // which keys, the request itself says
		})
		if err != nil {
			return fmt.Errorf("keys: remember the idempotency key: %w", err)
		}
	}
	return w.Send(ctx)
}

// importPrivate lets a key join the policy of its algorithm.
func (l *ledger) importPrivate(c candidate, s custody.Sealer, active bool) error {
	p, err := l.policy(c.alg)
	if err != nil {
		return tokens.Forbidden("alg", "has no policy in this tenant; put one first: a private key signs by the rules of a policy")
	}
	if bits := rsaBits(c.private.Public()); bits < p.RSABits {
		return tokens.Forbidden(keyfile.FieldPrivate, fmt.Sprintf("is an RSA key of %d bits, and rsa_bits of the policy is %d", bits, p.RSABits))
	}
	how := keys.Activation("")
	if active {
		how, err = byImport, l.stepDown(p)
	} else {
		err = l.standAside(p)
	}
	if err != nil {
		return err
	}
	_, err = l.enter(c, s, how)
	l.reschedule(p)
	return err
}

// stepDown makes way for an active key that is imported.
func (l *ledger) stepDown(p tenant.Policy) error {
	s := l.schedule(p)
	if err := l.makeRoom(s); err != nil {
		return err
	}
	if old := l.in(p.Alg, keys.Active); old != nil {
		return l.deprecate(old, s)
	}
	return nil
}

// standAside makes way for a standby that is imported.
func (l *ledger) standAside(p tenant.Policy) error {
	if old := l.in(p.Alg, keys.Standby); old != nil {
		return l.revoke(old, keys.Superseded, "another standby was imported")
	}
	return nil
}

// importPublic lets keys enter that only verify, and returns the policies that
// have to be made to carry them.
func (l *ledger) importPublic(cs []candidate, expires time.Time) (carriers []tenant.Policy, err error) {
	switch {
	case !expires.After(l.at):
		return nil, tokens.Invalid("expires_at", "must be in the future")
	case expires.After(l.at.Add(longestImport)):
		return nil, tokens.Invalid("expires_at", "must be at most ten years ahead")
	}
	for _, c := range cs {
		if !l.hasPolicy(c.alg) {
			carriers = append(carriers, l.carry(c.alg))
		}
		l.enterPublic(c, expires)
	}
	return carriers, l.settleImport()
}

// hasPolicy reports whether there is a policy, be it retired.
func (l *ledger) hasPolicy(alg jose.SignatureAlgorithm) bool {
	for _, p := range l.policies {
		if p.Alg == alg {
			return true
		}
	}
	return false
}

// carry makes a policy by which nothing ever signs. The history says both that
// it came to be and that it is retired.
func (l *ledger) carry(alg jose.SignatureAlgorithm) tenant.Policy {
	p := tenant.DefaultPolicy(alg)
	p.RotationInterval = 0
	p.PublishLead = max(p.PublishLead, l.tenant.Caching.Propagation())
	p.GracePeriod = max(p.GracePeriod, p.MaxTokenTTL+l.tenant.Caching.ClockSkew)
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, &l.at
	l.policies = append(l.policies, p)
	l.note(audit.Event{Action: audit.PolicyCreated, Reason: "carries imported public keys"}, p.Details())
	l.note(audit.Event{Action: audit.PolicyRetired, Reason: "carries imported public keys"}, map[string]any{"alg": alg})
	return p
}

// enterPublic brings in a key that has no private half here.
func (l *ledger) enterPublic(c candidate, expires time.Time) {
	k := keys.Key{
		TenantID: l.tenant.ID, KID: c.kid, Alg: c.alg, State: keys.Deprecated, Origin: keys.Imported, PublicJWK: c.jwk,
		CreatedAt: l.at, PublishedAt: l.at, DeprecatedAt: &l.at, ExpiresAt: &expires,
	}
	seq := l.note(audit.Event{Action: audit.KeyImported, KID: k.KID, ToState: string(keys.Deprecated)},
		map[string]any{"alg": k.Alg, "public_only": true, "expires_at": expires})
	l.births = append(l.births, birth{Key: k, stateEvent: seq})
	l.keys = append(l.keys, k)
}

// settleImport plans the policies that keys joined anew. One that signs must
// keep room for its next rotation: keys from elsewhere stay until their end,
// so a JWKS full of them would stop it for as long.
func (l *ledger) settleImport() error {
	joined := map[jose.SignatureAlgorithm]bool{}
	for _, b := range l.births {
		joined[b.Alg] = true
	}
	for _, p := range l.policies {
		if !joined[p.Alg] {
			continue
		}
		if over := l.schedule(p).Surplus(l.at, l.of(p.Alg)) + 1; over > 0 {
			return tokens.Forbidden(keyfile.FieldPublic, fmt.Sprintf(
				"would fill the JWKS so that %s can rotate no more: max_published_keys of its policy is %d and would have to be %d (at most 64)",
				p.Alg, p.MaxPublishedKeys, p.MaxPublishedKeys+over))
		}
		l.reschedule(p)
	}
	return nil
}
