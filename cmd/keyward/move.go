package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/moving"
)

// mover executes an import plan.
type mover struct {
	api    *client.Client
	flags  moveFlags
	steps  []moving.Step
	failed map[string]error // by kid
	tenant *client.Tenant
}

func (m *mover) makePlan(ctx context.Context, keys []moving.Key, o moving.Options) (err error) {
	if m.tenant, err = m.api.GetTenant(ctx, m.flags.Tenant); err != nil {
		return err
	}
	t := moving.Target{}
	policies, err := m.api.ListPolicies(ctx, m.flags.Tenant)
	if err != nil {
		return err
	}
	for _, p := range policies.Items {
		t.Policies = append(t.Policies, string(p.Alg))
	}
	for k, err := range m.api.Keys(ctx, m.flags.Tenant, nil) {
		if err != nil {
			return err
		}
		known := moving.Known{KID: k.KID, Alg: string(k.Alg), State: string(k.State), Imported: k.Origin == client.KeyOriginImported}
		if k.PublicJWK != nil {
			var j moving.JWK
			if err := json.Unmarshal(*k.PublicJWK, &j); err != nil {
				return fmt.Errorf("the API's public key %s is not a JWK", k.KID)
			}
			known.Thumbprint = j.Thumbprint()
		}
		t.Keys = append(t.Keys, known)
	}
	m.steps = moving.Plan(keys, t, o)
	return nil
}

// runPlan prints the plan and executes it. With --json only the result goes to
// stdout.
func (m *mover) runPlan(ctx context.Context, p *program) error {
	todo := 0
	for _, s := range m.steps {
		if s.Moves() {
			todo++
		}
	}
	shown := p.stdout
	if m.flags.JSON {
		shown = p.stderr
	}
	if !m.flags.JSON || !m.flags.Yes && !m.flags.DryRun {
		if err := m.printPlan(shown); err != nil {
			return err
		}
	}
	if todo > 0 && !m.flags.DryRun {
		if err := m.checkApprovalRule(todo); err != nil {
			return err
		}
		if err := m.flags.confirm(p, fmt.Sprintf("Import %d keys into %s?", todo, m.flags.Tenant)); err != nil {
			return err
		}
		bar := p.newProgress("keys", todo)
		m.carryOut(ctx, bar)
		bar.done()
	}
	return m.printResult(p)
}

// checkApprovalRule refuses a plan for a tenant that requires approval of
// imports, since each key would need its own approval.
func (m *mover) checkApprovalRule(todo int) error {
	rest := slices.DeleteFunc(slices.Clone(m.tenant.ApprovalRequired), func(op client.GuardedOperation) bool { return op == client.GuardedOperationImport })
	if len(rest) == len(m.tenant.ApprovalRequired) {
		return nil
	}
	without := "--clear=approval-required"
	if len(rest) > 0 {
		without = "--approval-required=" + strings.ReplaceAll(joinOperations(rest), " ", "")
	}
	return fmt.Errorf("nothing was changed: %s requires an approval for every import, and these are %d\n  remove import from its list meanwhile, which needs one approval: %s",
		m.tenant.Slug, todo, shellCommand(m.flags.remoteFlags, "tenant", "update", m.tenant.Slug, without))
}

// carryOut imports keys for verification before signing keys, so that no token
// is rejected meanwhile. A failed key does not stop the others.
func (m *mover) carryOut(ctx context.Context, bar *progress) {
	m.failed = map[string]error{}
	for _, signing := range []bool{false, true} {
		for _, s := range m.steps {
			if !s.Moves() || signing == (s.Becomes == moving.Deprecated) {
				continue
			}
			if err := m.importStep(ctx, s); err != nil {
				m.failed[s.KID] = err
			}
			bar.add(1)
		}
	}
}

func (m *mover) importStep(ctx context.Context, s moving.Step) (err error) {
	k := client.ImportKeyRequest{KID: nonEmpty(s.KID), Alg: nonEmpty(client.Alg(s.Alg))}
	var material client.KeyMaterial
	if s.Becomes == moving.Deprecated {
		k.PublicKey, k.ExpiresAt = &material, &s.Until
		material, err = json.Marshal(moving.JWK{Kty: s.Public.Kty, Crv: s.Public.Crv, X: s.Public.X, Y: s.Public.Y, N: s.Public.N, E: s.Public.E})
	} else {
		k.PrivateKey, k.Role, material = &material, new(client.ImportKeyRequestRole(s.Becomes)), client.KeyMaterial(s.Private)
		if !bytes.HasPrefix(bytes.TrimSpace(s.Private), []byte("{")) { // PEM
			material, err = json.Marshal(string(s.Private))
			defer clear(material)
		}
	}
	if err == nil {
		_, err = m.api.ImportKeys(ctx, m.flags.Tenant, k)
	}
	return err
}
