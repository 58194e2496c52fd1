package moves

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
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

// maxPublicLifetime is how far in the future expires_at of an imported public key may
// be.
const maxPublicLifetime = 10 * 365 * 24 * time.Hour

// UsedKIDError means that the tenant has or had a key with this kid.
type UsedKIDError struct{ KID string }

// Error returns a message that names the kid.
func (e *UsedKIDError) Error() string {
	return "keys: the tenant has used the kid " + e.KID + " before"
}

// ErrPlatformImport rejects imports into the platform's own tenant. Its keys sign the
// platform's statements: a holder of such a private key, or the importer of another
// public key, could forge checkpoints and certificates.
var ErrPlatformImport = errors.New("keys: keys cannot be imported into the platform's own tenant")

// PrivateImport requests the import of a private key for signing.
type PrivateImport struct {
	Key    []byte                    // PEM or JWK; the caller clears it
	Alg    jose.SignatureAlgorithm   // which of the tenant's policies it joins
	Algs   []jose.SignatureAlgorithm // all that tokens of the key may have; empty: Alg alone
	KID    string                    // empty: the JWK's own if its form is valid here, else the thumbprint
	Active bool                      // becomes the active key instead of the standby
	DryRun bool                      // decide all, change nothing
	Others int                       // how many more keys a dry run counts as imported before
}

// PublicImport requests the import of public keys, so that tokens of a previous system
// still verify.
type PublicImport struct {
	Key       []byte                    // PEM, JWK or JWK Set
	Alg       jose.SignatureAlgorithm   // of keys without an alg of their own
	Algs      []jose.SignatureAlgorithm // all that tokens of a single key may have; empty: Alg alone
	KID       string                    // of a single key; empty: the JWK's own, else the thumbprint
	ExpiresAt time.Time                 // when the keys leave the JWKS, at most ten years ahead
	DryRun    bool                      // decide all, change nothing
	Others    int                       // how many more keys a dry run counts as imported before
}

// ImportPrivate imports a private key. As standby it replaces the present one, which is
// revoked as superseded; as active it deprecates the active key and keeps the standby.
// Errors: *tokens.ClaimError for key material that is rejected, *UsedKIDError,
// ErrRotationWaits, ErrPlatformImport, tenant.ErrNotFound, custody.ErrDataKey,
// ErrUnavailable.
func (s *Store) ImportPrivate(ctx context.Context, by audit.By, tenantID uuid.UUID, req PrivateImport) (Entry, error) {
	c, err := req.parseCandidate()
	if err != nil {
		return Entry{}, err
	}
	entries, err := s.importKeys(ctx, by, tenantID, &importing{cs: []candidate{c}, dryRun: req.DryRun, others: req.Others}, func(l *ledger, m *keySupply, _ []candidate) ([]tenant.Policy, error) {
		sealer, err := m.sealer()
		if err != nil {
			return nil, err
		}
		return nil, l.importPrivate(c, sealer, req.Active)
	})
	if err != nil {
		return Entry{}, err
	}
	return entries[0], nil
}

// ImportPublic imports one public key, or the signature keys of a JWK Set. They
// are added as deprecated and expire by schedule. An algorithm without a policy gets one
// that is retired from the start: it never signs, and the worker expires its keys. The
// set says what the file held, and which keys were skipped or refused. A set can be
// repeated: if its keys are there already, nothing changes and there are no entries. If no
// key of it comes in and none is there, the error is that of the first sound one, which the
// tenant does not take, else that of the first that cannot be imported. Errors: those of
// ImportPrivate but custody.ErrDataKey.
func (s *Store) ImportPublic(ctx context.Context, by audit.By, tenantID uuid.UUID, req PublicImport) ([]Entry, keyfile.Set, error) {
	cs, set, err := req.parseCandidates()
	if err != nil {
		return nil, set, err
	}
	in := &importing{cs: cs, isSet: set.IsSet, dryRun: req.DryRun, others: req.Others}
	entries, err := s.importKeys(ctx, by, tenantID, in, func(l *ledger, _ *keySupply, cs []candidate) ([]tenant.Policy, error) {
		return l.importPublic(cs, req.ExpiresAt.UTC().Truncate(time.Microsecond))
	})
	for _, k := range in.skipped {
		set.Skip(k)
	}
	return entries, set, err
}

// importing is an import of keys that are sound by themselves.
type importing struct {
	cs      []candidate
	isSet   bool              // a key that the tenant does not take keeps no other out
	dryRun  bool              // decide all, change nothing
	others  int               // keys that a dry run counts as imported before
	skipped []keyfile.Skipped // of a set: what the tenant does not take
}

// errDryRun rolls back the transaction of a dry run.
var errDryRun = errors.New("keys: dry run")

// importKeys runs the transaction of an import, or rolls it back after a dry run. decide
// adds the keys and returns the retired policies that have to be created for them.
func (s *Store) importKeys(ctx context.Context, by audit.By, tenantID uuid.UUID, in *importing,
	decide func(*ledger, *keySupply, []candidate) ([]tenant.Policy, error),
) (entries []Entry, err error) {
	err = s.withLockedTenant(ctx, by, tenantID, func(tx *db.Tx, l *ledger, m *keySupply) error {
		if l.tenant.Slug == tenant.PlatformSlug {
			return ErrPlatformImport
		}
		cs, err := in.admitKeys(ctx, tx, l)
		if err == nil {
			err = s.checkKeys(ctx, tx, l, len(cs)+in.others)
		}
		if err != nil {
			return err
		}
		carriers, err := decide(l, m, cs)
		if err != nil || len(cs) == 0 {
			return err
		}
		entries = l.entriesOf(cs)
		if in.dryRun {
			return errDryRun
		}
		return l.writeImport(ctx, tx, carriers)
	})
	if errors.Is(err, errDryRun) {
		return entries, nil
	}
	return entries, err
}

// admitKeys returns the keys that the tenant takes: none of a kid that it has used, and
// none that it revoked as compromised. Of a set the others come in all the same; it
// returns none without an error if one is there already.
func (in *importing) admitKeys(ctx context.Context, tx *db.Tx, l *ledger) (cs []candidate, err error) {
	in.skipped = nil // of another attempt
	compromised, err := l.compromised()
	if err != nil {
		return nil, err
	}
	var first error
	present := false // a key is there already
	for _, c := range in.cs {
		skipped := keyfile.Skipped{KID: c.kid}
		err := refuseUsedKID(ctx, tx, l.tenant.ID, c)
		expired := err == nil && c.hasExpired(l.at)
		if expired {
			err = c.expiredError()
		}
		if err == nil {
			err = refuseCompromised(compromised, c)
		}
		var used *UsedKIDError
		var claim *tokens.ClaimError
		switch {
		case err == nil:
			cs = append(cs, c)
			continue
		case in.isSet && errors.As(err, &used):
			skipped.Reason, skipped.Refused = l.usedBy(c)
			present = present || !skipped.Refused && l.publishes(c.kid)
		case in.isSet && expired:
			skipped.Reason = keyfile.ExpiredAt(c.expires)
		case in.isSet && errors.As(err, &claim):
			skipped.Reason, skipped.Refused = keyfile.Fault(err), true
		default:
			return nil, err
		}
		for _, skipped.Index = range append([]int{c.index}, c.twins...) {
			in.skipped = append(in.skipped, skipped)
		}
		first = cmp.Or(first, err)
	}
	if len(cs) == 0 && !present {
		return nil, first
	}
	return cs, nil
}

// hasExpired reports whether the key has expired at its issuer. A private key that has not
// is imported to sign, and follows the schedule of its policy from then on.
func (c candidate) hasExpired(now time.Time) bool {
	return !c.expires.IsZero() && !c.expires.After(now)
}

// expiredError refuses a key that has expired at its issuer.
func (c candidate) expiredError() error {
	return tokens.Invalid(c.field+".exp", "is in the past: the key "+keyfile.ExpiredAt(c.expires))
}

// publishes reports whether the tenant's JWK Set has a key of this kid.
func (l *ledger) publishes(kid string) bool {
	k := l.findKey(kid)
	return k != nil && k.State.Published()
}

// usedBy returns why a key does not come in whose kid the tenant has used. refused is set
// if tokens of the key will not verify: it is another key than the one that had the kid, or
// that one has left the JWK Set.
func (l *ledger) usedBy(c candidate) (reason string, refused bool) {
	k := l.findKey(c.kid)
	if k == nil && c.hasExpired(l.at) {
		return keyfile.ExpiredAt(c.expires), false
	}
	if k == nil {
		return keyfile.PurgedKID, true
	}
	there, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
	imported, faulty := keys.ParsePublicJWK(c.alg, c.jwk)
	if errors.Join(err, faulty) != nil || !keys.EqualPublic(there, imported) {
		return keyfile.AnotherKey, true
	}
	if !k.State.Published() && c.hasExpired(l.at) {
		return keyfile.ExpiredAt(c.expires), false
	}
	if !k.State.Published() {
		return keyfile.GoneAs(k.State), true
	}
	for _, alg := range append([]jose.SignatureAlgorithm{c.alg}, c.algs...) {
		if alg != k.Alg && !slices.Contains(k.Algs, alg) {
			return keyfile.ThereWithout(alg), true
		}
	}
	return keyfile.ThereAs(k.State), false
}

// entriesOf returns the present entries of the candidates' keys.
func (l *ledger) entriesOf(cs []candidate) (entries []Entry) {
	for _, c := range cs {
		entries = append(entries, l.entryOf(*l.findKey(c.kid)))
	}
	return entries
}

// parseCandidate checks everything about the key that needs no database.
func (r PrivateImport) parseCandidate() (candidate, error) {
	if r.Alg == "" {
		return candidate{}, tokens.Invalid("alg", "is required")
	}
	b, err := keyfile.ParsePrivate(r.Key)
	if err != nil {
		return candidate{}, err
	}
	c, err := importedCandidate(b, r.Alg, r.KID)
	if err == nil {
		err = c.addAlgorithms(b, r.Algs)
	}
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

// parseCandidates checks everything about the keys that needs no database. A key that a
// set lists twice enters once, for all the algorithms that the set has it for. A kid that
// a set gives to different keys is refused: one of them would be lost.
func (r PublicImport) parseCandidates() ([]candidate, keyfile.Set, error) {
	set, err := keyfile.ParsePublic(r.Key)
	if err != nil {
		return nil, set, err
	}
	if set.IsSet && r.KID != "" {
		return nil, set, tokens.Invalid("kid", "must be absent: the keys of a JWK Set keep their own")
	}
	if set.IsSet && len(r.Algs) > 0 {
		return nil, set, tokens.Invalid("algs", "must be absent: a JWK Set has a key for several algorithms once for each, with the same kid")
	}
	if !set.IsSet {
		c, err := r.candidateOf(set.Keys[0], false)
		return []candidate{c}, set, err
	}
	cs := r.candidatesOf(&set)
	return cs, set, set.Err()
}

// candidatesOf returns the candidates of a set, and leaves it the keys that they are of.
func (r PublicImport) candidatesOf(set *keyfile.Set) (cs []candidate) {
	twofold := map[string]bool{} // kids that the set gives to different keys
	kids := map[int]string{}     // by place in the set
	all := set.Keys
	for _, b := range all {
		c, err := r.candidateOf(b, true)
		if err == nil {
			kids[b.Index] = c.kid
			cs, err = mergeCandidate(cs, c, b, twofold)
		}
		if err != nil {
			delete(kids, b.Index)
			set.Refuse(b.Index, b.KID, err)
		}
	}
	set.Keys = nil
	for _, b := range all {
		switch kid, sound := kids[b.Index]; {
		case sound && twofold[kid]:
			set.Refuse(b.Index, b.KID, errTwofold(b))
		case sound:
			set.Keys = append(set.Keys, b)
		}
	}
	return slices.DeleteFunc(cs, func(c candidate) bool { return twofold[c.kid] })
}

// errTwofold refuses each of several keys of a set that have one kid.
func errTwofold(b keyfile.Key) error {
	return tokens.Invalid(b.Field+".kid", keyfile.SharedKID)
}

// candidateOf chooses the kid and the algorithms of one key. In a set, alg applies to the
// keys without one that it fits.
func (r PublicImport) candidateOf(b keyfile.Key, inSet bool) (candidate, error) {
	alg, err := r.Alg, error(nil)
	if alg == "" && len(r.Algs) > 0 && b.Alg == "" {
		alg = r.Algs[0]
	}
	if inSet {
		alg, err = b.ChooseAlgorithm(alg)
	}
	var c candidate
	if err == nil {
		c, err = importedCandidate(b, alg, r.KID)
	}
	if err == nil {
		err = c.addAlgorithms(b, r.Algs)
	}
	return c, err
}

// mergeCandidate adds a key of a set, or its algorithm to an earlier entry of the same
// key. Of a kid that the set has another key of, it adds none and notes that it is twofold.
func mergeCandidate(cs []candidate, c candidate, b keyfile.Key, twofold map[string]bool) ([]candidate, error) {
	twin := slices.IndexFunc(cs, func(o candidate) bool { return o.kid == c.kid })
	if twin < 0 {
		return append(cs, c), nil
	}
	public, err := keys.ParsePublicJWK(cs[twin].alg, cs[twin].jwk)
	if err != nil {
		return cs, err
	}
	if !keys.EqualPublic(public, b.Public) {
		twofold[c.kid] = true
		return cs, errTwofold(b)
	}
	if err := cs[twin].addAlgorithms(b, []jose.SignatureAlgorithm{c.alg}); err != nil {
		return cs, err
	}
	cs[twin].twins = append(cs[twin].twins, c.index)
	return cs, nil
}

// addAlgorithms adds algorithms that tokens of the key may have.
func (c *candidate) addAlgorithms(b keyfile.Key, more []jose.SignatureAlgorithm) error {
	all := c.algs
	if all == nil {
		all = []jose.SignatureAlgorithm{c.alg}
	}
	b.Alg = "" // the JWK's own is the first
	for _, name := range more {
		alg, err := b.Algorithm(name)
		if err != nil {
			return err
		}
		if !slices.Contains(all, alg) {
			all = append(all, alg)
		}
	}
	if len(all) > 1 {
		c.algs = all
	}
	return nil
}

// importedCandidate chooses the kid and the algorithm of an imported key.
func importedCandidate(b keyfile.Key, alg jose.SignatureAlgorithm, kid string) (candidate, error) {
	alg, err := b.Algorithm(alg)
	if err != nil {
		return candidate{}, err
	}
	if kid, err = b.ChooseKID(kid); err != nil {
		return candidate{}, err
	}
	jwk, err := keys.PublicJWK(b.Public, alg, kid)
	return candidate{alg: alg, kid: kid, jwk: jwk, expires: b.Expires, origin: keys.Imported, field: b.Field, index: b.Index}, err
}

// rsaModulusBits returns the length of an RSA modulus, 0 for other keys.
func rsaModulusBits(pub crypto.PublicKey) int {
	if k, is := pub.(*rsa.PublicKey); is {
		return k.N.BitLen()
	}
	return 0
}

// compromisedKey is a key that the tenant revoked as compromised.
type compromisedKey struct {
	kid    string
	public crypto.PublicKey
}

// compromised returns those keys. Of many, parsing takes time, so an import does it once.
func (l *ledger) compromised() (all []compromisedKey, err error) {
	for _, k := range l.keys {
		if k.State != keys.Revoked || k.RevocationReason != keys.Compromised {
			continue
		}
		public, err := keys.ParsePublicJWK(k.Alg, k.PublicJWK)
		if err != nil {
			return nil, err
		}
		all = append(all, compromisedKey{k.KID, public})
	}
	return all, nil
}

// refuseCompromised rejects a key that is one of these, under any kid.
func refuseCompromised(compromised []compromisedKey, c candidate) error {
	if len(compromised) == 0 {
		return nil
	}
	imported, err := keys.ParsePublicJWK(c.alg, c.jwk)
	if err != nil {
		return nil // it equals none
	}
	for _, k := range compromised {
		if keys.EqualPublic(k.public, imported) {
			return tokens.Forbidden("kid", "is of a key that this tenant revoked as compromised, as "+k.kid)
		}
	}
	return nil
}

// refuseUsedKID rejects a kid that the tenant has or had, purged keys included.
func refuseUsedKID(ctx context.Context, tx *db.Tx, tenantID uuid.UUID, c candidate) error {
	_, err := tx.GetKey(ctx, tenantID, c.kid)
	if err == nil {
		return &UsedKIDError{KID: c.kid}
	}
	if !errors.Is(err, db.ErrNoRows) {
		return err
	}
	return nil
}

// writeImport writes the import. A new policy has to be inserted before it can be
// retired.
func (l *ledger) writeImport(ctx context.Context, tx *db.Tx, carriers []tenant.Policy) error {
	w := tx.Later()
	var algs []jose.SignatureAlgorithm
	for _, p := range carriers {
		algs = append(algs, p.Alg)
		if err := w.UpsertPolicy(ctx, l.policyParams(p)); err != nil {
			return err
		}
	}
	if err := new(statements).addLedgers([]*ledger{l}).queueTo(ctx, w); err != nil {
		return err
	}
	if len(carriers) > 0 {
		if err := l.queueRetirements(ctx, w, algs...); err != nil {
			return err
		}
		w.Expect(len(carriers))
	}
	return w.Send(ctx)
}

// importPrivate adds a key to the policy of its algorithm.
func (l *ledger) importPrivate(c candidate, s custody.Sealer, active bool) error {
	p, err := l.findPolicy(c.alg)
	if err != nil {
		return tokens.Forbidden("alg", "has no policy in this tenant; put one first: a private key signs by the rules of a policy")
	}
	if bits := rsaModulusBits(c.private.Public()); bits < p.RSABits {
		return tokens.Forbidden(keyfile.FieldPrivate, fmt.Sprintf("is an RSA key of %d bits, and rsa_bits of the policy is %d", bits, p.RSABits))
	}
	how := keys.Activation("")
	if active {
		how, err = byImport, l.deprecateActive(p)
	} else {
		err = l.revokeStandby(p)
	}
	if err != nil {
		return err
	}
	_, err = l.addKey(c, s, how)
	l.reschedule(p)
	return err
}

// deprecateActive deprecates the active key in favour of an imported one.
func (l *ledger) deprecateActive(p tenant.Policy) error {
	s := l.scheduleOf(p)
	if err := l.makeRoom(s); err != nil {
		return err
	}
	if old := l.keyInState(p.Alg, keys.Active); old != nil {
		return l.deprecate(old, s)
	}
	return nil
}

// revokeStandby revokes the standby in favour of an imported one.
func (l *ledger) revokeStandby(p tenant.Policy) error {
	if old := l.keyInState(p.Alg, keys.Standby); old != nil {
		return l.revoke(old, keys.Superseded, "another standby was imported")
	}
	return nil
}

// importPublic adds keys that only verify, and returns the policies that have to be
// created for them.
func (l *ledger) importPublic(cs []candidate, expires time.Time) (carriers []tenant.Policy, err error) {
	switch {
	case !expires.After(l.at):
		return nil, tokens.Invalid("expires_at", "must be in the future")
	case expires.After(l.at.Add(maxPublicLifetime)):
		return nil, tokens.Invalid("expires_at", "must be at most ten years ahead")
	}
	for _, c := range cs {
		if !l.hasPolicy(c.alg) {
			carriers = append(carriers, l.addCarrierPolicy(c.alg))
		}
		until := expires
		if !c.expires.IsZero() && c.expires.Before(until) {
			until = c.expires
		}
		l.addPublicKey(c, until)
	}
	return carriers, l.rescheduleImported()
}

// hasPolicy reports whether there is a policy, even a retired one.
func (l *ledger) hasPolicy(alg jose.SignatureAlgorithm) bool {
	for _, p := range l.policies {
		if p.Alg == alg {
			return true
		}
	}
	return false
}

// carriesImported is the reason in the history of a policy that signs nothing.
const carriesImported = "carries imported public keys"

// addCarrierPolicy adds a retired policy that never signs. The history shows both its
// creation and its retirement.
func (l *ledger) addCarrierPolicy(alg jose.SignatureAlgorithm) tenant.Policy {
	p := tenant.DefaultPolicy(alg)
	p.RotationInterval = 0
	p.PublishLead = max(p.PublishLead, l.tenant.Caching.Propagation())
	p.GracePeriod = max(p.GracePeriod, p.MaxTokenTTL+l.tenant.Caching.ClockSkew)
	p.CreatedAt, p.UpdatedAt, p.RetiredAt = l.at, l.at, &l.at
	l.policies = append(l.policies, p)
	l.addEvent(audit.Event{Action: audit.PolicyCreated, Reason: carriesImported}, p.Details())
	l.addEvent(audit.Event{Action: audit.PolicyRetired, Reason: carriesImported}, map[string]any{"alg": alg})
	return p
}

// addPublicKey adds a key without a private part.
func (l *ledger) addPublicKey(c candidate, expires time.Time) {
	k := keys.Key{
		TenantID: l.tenant.ID, KID: c.kid, Alg: c.alg, Algs: c.algs, State: keys.Deprecated, Origin: keys.Imported, PublicJWK: c.jwk,
		CreatedAt: l.at, PublishedAt: l.at, DeprecatedAt: &l.at, ExpiresAt: &expires,
	}
	seq := l.addEvent(audit.Event{Action: audit.KeyImported, KID: k.KID, ToState: string(keys.Deprecated)},
		c.details(map[string]any{"public_only": true, "expires_at": expires}))
	l.newKeys = append(l.newKeys, newKey{Key: k, stateEvent: seq})
	l.keys = append(l.keys, k)
}

// rescheduleImported reschedules the policies with imported keys. A live policy must
// keep room for its next rotation: imported keys stay until their end, so a JWKS full of
// them would block rotations until then.
func (l *ledger) rescheduleImported() error {
	joined := map[jose.SignatureAlgorithm]bool{}
	for _, b := range l.newKeys {
		joined[b.Alg] = true
	}
	for _, p := range l.policies {
		if !joined[p.Alg] {
			continue
		}
		if over := l.scheduleOf(p).Surplus(l.at, l.keysOf(p.Alg)) + 1; over > 0 {
			return tokens.Forbidden(keyfile.FieldPublic, fmt.Sprintf(
				"would fill the JWKS so that %s can rotate no more: max_published_keys of its policy is %d and would have to be %d (at most 64)",
				p.Alg, p.MaxPublishedKeys, p.MaxPublishedKeys+over))
		}
		l.reschedule(p)
	}
	return nil
}
