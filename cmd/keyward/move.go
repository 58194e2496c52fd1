package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
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
		known := moving.Known{
			Algs: algorithmNames(k.Algs), KID: k.KID, Alg: string(k.Alg), State: string(k.State), Imported: k.Origin == client.KeyOriginImported,
		}
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
	return m.judgeSteps(ctx)
}

// judgeSteps asks the API whether it would import each key of the plan, because it knows
// more than the plan does: the rules of policies, revoked keys, how many keys still fit.
// A key that would be refused is refused in the plan.
func (m *mover) judgeSteps(ctx context.Context) error {
	for i := range m.steps {
		s := &m.steps[i]
		if !s.Moves() {
			continue
		}
		err := m.importStep(ctx, *s, &rehearsal{})
		var problem *client.Problem
		switch {
		case err == nil:
		case errors.As(err, &problem) && isRefusal(problem.Status):
			s.Becomes, s.Why = moving.Refused, refusalText(problem)
		default:
			return err
		}
	}
	if err := m.judgeTogether(ctx); err != nil {
		return err
	}
	if err := m.judgeCount(ctx); err != nil {
		return err
	}
	moving.FollowTwins(m.steps)
	return nil
}

// judgeTogether asks the API whether the keys to verify with fit into the tenant's JWKS
// all together; none of them is imported if they do not. More than one request has room
// for are judged by algorithm.
func (m *mover) judgeTogether(ctx context.Context) error {
	var all []*moving.Step
	byAlg, entries := map[string][]*moving.Step{}, 0
	for i := range m.steps {
		if s := &m.steps[i]; s.Becomes == moving.Deprecated {
			all, byAlg[s.Alg] = append(all, s), append(byAlg[s.Alg], s)
			entries += max(len(s.Algs), 1)
		}
	}
	if entries <= keyfile.MaxKeys {
		return m.judgeGroup(ctx, all, keyfile.MaxKeys)
	}
	for _, group := range byAlg {
		if err := m.judgeGroup(ctx, group, 1); err != nil {
			return err
		}
	}
	return nil
}

// judgeGroup asks the API whether it would import keys together, and refuses all of them
// if it would not. It names up to algsPerKey algorithms of each; one is enough for a group of
// one algorithm, since a key takes room in the policy of its first one. Of more keys than a
// request has room for the first ones decide: no policy that rotates has room for as many.
func (m *mover) judgeGroup(ctx context.Context, group []*moving.Step, algsPerKey int) error {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	var until time.Time
	for _, s := range group {
		if s.Until.After(until) {
			until = s.Until
		}
		jwks, err := s.PublicJWKs()
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, jwks[:min(len(jwks), algsPerKey)]...)
	}
	set.Keys = set.Keys[:min(len(set.Keys), keyfile.MaxKeys)]
	if len(set.Keys) < 2 {
		return nil
	}
	material, err := json.Marshal(set)
	if err != nil {
		return err
	}
	_, err = m.api.ImportKeys(ctx, m.flags.Tenant, client.ImportKeyRequest{PublicKey: new(client.KeyMaterial(material)), ExpiresAt: &until, DryRun: new(true)})
	return refuseTogether(group, err)
}

// judgeCount asks the API whether the tenant may have as many keys as the plan imports,
// and refuses all of them if it may not.
func (m *mover) judgeCount(ctx context.Context) error {
	var moves []*moving.Step
	for i := range m.steps {
		if s := &m.steps[i]; s.Moves() {
			moves = append(moves, s)
		}
	}
	if len(moves) < 2 {
		return nil
	}
	return refuseTogether(moves, m.importStep(ctx, *moves[0], &rehearsal{others: len(moves) - 1}))
}

// refuseTogether refuses all of a group if the API has refused it; any other error it
// returns.
func refuseTogether(group []*moving.Step, err error) error {
	var problem *client.Problem
	if !errors.As(err, &problem) || !isRefusal(problem.Status) {
		return err
	}
	for _, s := range group {
		s.Becomes, s.Why = moving.Refused, "together with the others: "+refusalText(problem)
	}
	return nil
}

// isRefusal reports whether a status is about the key and not about the request.
func isRefusal(status int) bool {
	return status == http.StatusBadRequest || status == http.StatusConflict || status == http.StatusUnprocessableEntity
}

// refusalText returns why the API refuses a key.
func refusalText(p *client.Problem) string {
	for _, e := range p.Errors {
		return keyfile.Fault(tokens.Invalid(e.Field, e.Message))
	}
	return p.Detail
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
	if todo > 0 && m.flags.DryRun {
		return errors.Join(m.printResult(p), m.checkApprovalRule(todo))
	}
	if todo > 0 {
		if err := m.checkApprovalRule(todo); err != nil {
			return err
		}
		if err := m.flags.confirm(p, fmt.Sprintf("Import %s into %s?", plural.Count(todo, "key"), m.flags.Tenant)); err != nil {
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
			if err := m.importStep(ctx, s, nil); err != nil {
				m.failed[s.KID] = err
			}
			bar.add(1)
		}
	}
}

// rehearsal is a dry run of one import, after that of other keys.
type rehearsal struct{ others int }

// importStep imports a key, or has the API check that.
func (m *mover) importStep(ctx context.Context, s moving.Step, dry *rehearsal) (err error) {
	k := client.ImportKeyRequest{KID: nonEmpty(s.KID), Alg: nonEmpty(client.Alg(s.Alg))}
	for _, alg := range s.Algs {
		k.Algs = append(k.Algs, client.Alg(alg))
	}
	if dry != nil {
		k.DryRun = new(true)
	}
	if dry != nil && dry.others > 0 {
		k.FurtherKeys = &dry.others
	}
	var material client.KeyMaterial
	if s.Becomes == moving.Deprecated {
		k.PublicKey, k.ExpiresAt = &material, &s.Until
		material, err = s.PublicMaterial()
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

// stepReport is a step of the plan in JSON.
type stepReport struct {
	KID     string     `json:"kid"`
	Alg     string     `json:"alg,omitempty"`
	Algs    []string   `json:"algs,omitempty"`
	From    string     `json:"from_state"`
	Becomes string     `json:"becomes"`
	Until   *time.Time `json:"expires_at,omitempty"`
	Note    string     `json:"note,omitempty"`
	Done    bool       `json:"done"`
	Error   string     `json:"error,omitempty"`
}

// printResult prints the result. It returns an error if a key could not be
// imported, or all of them stay behind.
func (m *mover) printResult(p *program) error {
	var reports []stepReport
	moved, failed := 0, 0
	for _, s := range m.steps {
		r := m.reportStep(s)
		if r.Done {
			moved++
		}
		if r.Error != "" || s.Becomes == moving.Refused {
			failed++
		}
		reports = append(reports, r)
	}
	if m.flags.JSON {
		if err := json.NewEncoder(p.stdout).Encode(map[string]any{"tenant": m.flags.Tenant, "dry_run": m.flags.DryRun, "keys": reports}); err != nil {
			return err
		}
	} else {
		m.printSummary(p, moved)
	}
	switch {
	case len(m.failed) > 0:
		return fmt.Errorf("not imported: %d of %s; imported keys stay, and running it again imports the rest", failed, plural.Count(len(reports), "key"))
	case failed > 0:
		return fmt.Errorf("cannot be imported: %d of %s", failed, plural.Count(len(reports), "key"))
	}
	switch {
	case moving.OnlyStrangers(m.steps):
		return errors.New("the source has no key for signatures that Keyward supports")
	case moving.OnlyLeft(m.steps):
		return errors.New("the source has no key to import: all of them stay behind")
	}
	return nil
}

func (m *mover) reportStep(s moving.Step) stepReport {
	r := stepReport{KID: s.KID, Alg: s.Alg, Algs: s.Algs, From: s.State, Becomes: s.Becomes, Note: s.Why}
	if s.Becomes == moving.Deprecated {
		r.Until = &s.Until
	}
	if m.failed == nil || !s.Moves() {
		return r
	}
	if err := m.failed[s.KID]; err != nil {
		r.Error = err.Error()
		return r
	}
	r.Done = true
	return r
}

func (m *mover) printSummary(p *program, moved int) {
	for _, s := range m.steps {
		if err := m.failed[s.KID]; err != nil {
			fmt.Fprintf(p.stderr, "%s: %v\n", kidText(s.KID), err)
		}
	}
	switch {
	case m.flags.DryRun:
		fmt.Fprintln(p.stdout, "Nothing was changed (--dry-run).")
	case moved == 0 && len(m.failed) == 0:
		fmt.Fprintln(p.stdout, "Nothing to do.")
	default:
		fmt.Fprintf(p.stdout, "%d moved.\n", moved)
	}
}

// printPlan prints the plan as a table.
func (m *mover) printPlan(w io.Writer) error {
	t := table{head: []string{"KID", "ALG", "FROM STATE", "BECOMES", "NOTE"}}
	for _, s := range m.steps {
		t.add(kidText(s.KID), orDash(s.Alg), s.State, outcomeText(s), s.Why)
	}
	return t.print(w, terminalWidth(w))
}

func outcomeText(s moving.Step) string {
	switch s.Becomes {
	case moving.Deprecated:
		return "deprecated until " + s.Until.Format(time.RFC3339)
	case moving.Present:
		return "(skipped)"
	case moving.Left:
		return "(stays behind)"
	case moving.Refused:
		return "REFUSED"
	}
	return s.Becomes
}
