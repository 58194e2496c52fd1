package moves

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/tenant"
)

// knownAfter is for how long a key has been published when verifiers count on it: a set
// of which no such key is left has been revoked as a whole, in one step or in several.
const knownAfter = tenant.ApprovalLifetime

// checkApproval returns a *tenant.NeedsApprovalError if the ledger's changes have an
// effect for which its tenant requires a second person. Every ledger is checked before it
// is written, so that no request gets round it. A tenant that is created has nothing yet
// that a second person would have to agree to.
func (l *ledger) checkApproval() error {
	if len(l.tenant.ApprovalRequired) == 0 || slices.ContainsFunc(l.events, func(e audit.Event) bool { return e.Action == audit.TenantCreated }) {
		return nil
	}
	return l.tenant.CheckValues(l.by, tenant.ChangePolicy, l.tenant.CheckApproval(l.by, l.effects()...), l.policyChanges)
}

// policyChanges returns what the ledger would change of policies, from the events that tell
// of it.
func (l *ledger) policyChanges() (all []tenant.ApprovalChange, err error) {
	for _, e := range l.events {
		var told struct{ Before, After map[string]any }
		switch {
		case e.Action == audit.PolicyUpdated:
			err = json.Unmarshal(e.Details, &told)
		case e.Action == audit.PolicyCreated && e.Reason != carriesImported:
			err = json.Unmarshal(e.Details, &told.After)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		alg := fmt.Sprint(told.After["alg"])
		delete(told.After, "alg")
		delete(told.After, "approval") // of another request
		changes, err := tenant.NewApprovalChanges(alg, told.Before, told.After)
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return all, nil
}

// effects returns the effects of the ledger's changes for which a tenant can require approval.
func (l *ledger) effects() []tenant.Operation {
	effects := slices.Clone(l.noted)
	for _, e := range l.events {
		switch e.Action {
		case audit.KeyRevoked:
			effects = append(effects, tenant.Revoke)
		case audit.KeyImported:
			effects = append(effects, tenant.Import)
		case audit.KeyPurged:
			effects = append(effects, tenant.Purge)
		case audit.PolicyCreated, audit.PolicyUpdated, audit.PolicyRetired:
			if e.Reason != carriesImported {
				effects = append(effects, tenant.ChangePolicy)
			}
		case audit.APIKeyRevoked:
			effects = append(effects, tenant.ChangeAPIKeys)
		case audit.DataKeyRotated, audit.DataKeyDestroyed, audit.DomainRemoved:
			effects = append(effects, tenant.ChangeSettings)
		case audit.TenantDeleted:
			effects = append(effects, tenant.Delete)
		}
	}
	if l.emptiesSet() {
		effects = append(effects, tenant.RevokeAll)
	}
	return effects
}

// addPolicyEffects adds the effects of replacing a policy by one with other durations
// and limits: keys are purged earlier than they would have been, or leave the JWK Set.
// old is a live or a retired policy.
func (l *ledger) addPolicyEffects(old, p tenant.Policy) {
	if p.PurgeAfter < old.PurgeAfter {
		l.noted = append(l.noted, tenant.Purge)
	}
	if p.MaxPublishedKeys < old.MaxPublishedKeys {
		l.noted = append(l.noted, tenant.Revoke)
	}
}

// emptiesSet reports whether the ledger's revocations leave no published key that
// verifiers have known for long, of the tenant or of one of its live policies. Keys of a
// young tenant or policy are known from its first moment.
func (l *ledger) emptiesSet() bool {
	revoked := map[string]bool{}
	for _, m := range l.moves {
		if m.State == keys.Revoked {
			revoked[m.KID] = true
		}
	}
	if len(revoked) == 0 {
		return false
	}
	if l.revokesAllOf(revoked, "", l.tenant.CreatedAt) {
		return true
	}
	for _, p := range l.policies {
		if (p.RetiredAt == nil || p.RetiredAt.Equal(l.at)) && l.revokesAllOf(revoked, p.Alg, p.CreatedAt) {
			return true
		}
	}
	return false
}

// revokesAllOf reports whether all keys of an algorithm, or of any for "", that have been
// published since at least knownAfter, or since the time of the first ones, are revoked
// now.
func (l *ledger) revokesAllOf(revoked map[string]bool, alg jose.SignatureAlgorithm, first time.Time) bool {
	known := keys.Later(l.at.Add(-knownAfter), first)
	some := false
	for _, k := range l.keys {
		isNew := slices.ContainsFunc(l.newKeys, func(n newKey) bool { return n.KID == k.KID })
		if alg != "" && k.Alg != alg || isNew || k.PublishedAt.After(known) {
			continue
		}
		if k.State.Published() {
			return false
		}
		some = some || revoked[k.KID]
	}
	return some
}
