package moves

import (
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
	"github.com/keyward/keyward/tenant"
)

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
		how, err = keys.ByImport, l.stepDown(p)
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
		if over := keys.Surplus(l.at, l.schedule(p), l.of(p.Alg)) + 1; over > 0 {
			return tokens.Forbidden(keyfile.FieldPublic, fmt.Sprintf(
				"would fill the JWKS so that %s can rotate no more: max_published_keys of its policy is %d and would have to be %d (at most 64)",
				p.Alg, p.MaxPublishedKeys, p.MaxPublishedKeys+over))
		}
		l.reschedule(p)
	}
	return nil
}
