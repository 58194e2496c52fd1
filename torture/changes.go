package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// action is something that a writer does, with how often it does it.
type action struct {
	share int
	do    func(*writer, context.Context)
}

// actions are the changes below, one function each: it asks for the change, and
// hands what follows from the answers to truth.
var actions = []action{
	{25, (*writer).rotate},
	{10, (*writer).revokeActive},
	{6, (*writer).revokeOld},
	{3, (*writer).revokeAll},
	{10, (*writer).changePolicy},
	{8, (*writer).rename},
	{6, (*writer).importPrivate},
	{3, (*writer).importPublic},
	{6, (*writer).createCredential},
	{4, (*writer).revokeCredential},
	{3, (*writer).rotateDataKey},
	{5, (*writer).createAndDelete},
}

func (w *writer) rotate(ctx context.Context) {
	ch := w.order(ctx, "rotation", "key.activated", request{kind: "rotate", method: "POST", path: w.path() + "/keys/rotate", body: map[string]any{"alg": w.alg, "reason": "torture"}})
	if len(ch.tries) == 0 {
		return
	}
	var said struct{ Active keyAnswer }
	if a := w.done(ch, 409); a != nil && a.decode(&said) == nil {
		if w.random.IntN(4) == 0 {
			w.repeat(ctx, &ch, said.Active.KID)
		}
		w.truth.settle(ch, said.Active.KID, w.became(said.Active.KID, "active", "deprecated", "revoked", "expired", "purged"))
		return
	}
	w.truth.settle(ch, "", nil)
}

// repeat sends an acknowledged rotation once more with its Idempotency-Key, as
// a client does that has lost the answer. The answer must be the first one's.
func (w *writer) repeat(ctx context.Context, ch *change, kid string) {
	a := w.ask(ctx, w.random.IntN(len(w.replicas)), ch.request)
	if !a.ok() {
		return // it may be away; what it claims is no matter
	}
	ch.tries = append(ch.tries, a)
	var said struct{ Active keyAnswer }
	w.record.check(onceOnly, 1)
	if a.decode(&said) != nil || said.Active.KID != kid {
		w.record.brokeDuring(onceOnly, a.began, a.ended, "%s: the first answer made %s active, and the same Idempotency-Key was answered: %s", ch.what, kid, a.said())
	}
}

// revoked is what the answer to a revocation says.
type revoked struct {
	Key          keyAnswer
	Replacement  *keyAnswer
	TrustedUntil []struct {
		Class string
		Until *time.Time
	} `json:"trusted_until"`
	Replicas *struct{ Live, Confirmed int } `json:"replicas"`
}

// revokeActive revokes the key that signs, in either mode.
func (w *writer) revokeActive(ctx context.Context) {
	kid := w.keyIn(ctx, "active")
	if kid == "" {
		return
	}
	mode := []string{"standby", "fresh"}[w.random.IntN(2)]
	w.revokeKey(ctx, kid, "revoke active, "+mode, map[string]any{"reason": "compromised", "comment": "torture", "mode": mode})
}

// revokeOld revokes a key that has signed.
func (w *writer) revokeOld(ctx context.Context) {
	if kid := w.keyIn(ctx, "deprecated"); kid != "" {
		w.revokeKey(ctx, kid, "revoke deprecated", map[string]any{"reason": "superseded"})
	}
}

func (w *writer) revokeKey(ctx context.Context, kid, kind string, body map[string]any) {
	ch := w.order(ctx, kind+" "+kid, "key.revoked", request{kind: kind, method: "POST", path: w.path() + "/keys/" + kid + "/revoke", body: body})
	if len(ch.tries) == 0 {
		return
	}
	a := w.done(ch, 404, 409) // the schedule may have been faster
	w.truth.settle(ch, kid, w.became(kid, "revoked", "purged"))
	var said revoked
	if a == nil || a.decode(&said) != nil {
		return
	}
	w.trust.watch(ctx, w.tenant, kid, *a, said)
}

func (w *writer) revokeAll(ctx context.Context) {
	ch := w.order(ctx, "revoke-all", "key.revoked", request{kind: "revoke-all", method: "POST", path: w.path() + "/keys/revoke-all", body: map[string]any{"reason": "compromised", "comment": "torture"}})
	if len(ch.tries) == 0 {
		return
	}
	var said struct{ Revoked []keyAnswer }
	if a := w.done(ch, 409); a != nil && a.decode(&said) == nil && len(said.Revoked) > 0 {
		for _, k := range said.Revoked {
			w.truth.made(ch, k.KID, w.became(k.KID, "revoked", "purged"))
		}
	}
	w.truth.settle(ch, "", nil)
}

// changePolicy changes how long tokens live if nobody says.
func (w *writer) changePolicy(ctx context.Context) {
	seconds := 1 + w.random.IntN(int(w.ttl.Seconds()))
	body := map[string]any{}
	for name, value := range w.policy {
		body[name] = value
	}
	body["default_token_ttl_seconds"] = seconds
	delete(body, "alg")
	ch := w.order(ctx, fmt.Sprintf("policy with default_token_ttl_seconds %d", seconds), "policy.updated", request{kind: "policy", method: "PUT", path: w.path() + "/policies/" + w.alg, body: body})
	if len(ch.tries) == 0 {
		return
	}
	before := w.lifetimes
	w.lifetimes = remember(before, seconds, ch)
	if w.done(ch) != nil && slices.Contains(before, seconds) {
		return // the same again may leave no event
	}
	w.truth.settle(ch, "", nil)
}

func (w *writer) rename(ctx context.Context) {
	name := fmt.Sprintf("name %d", w.random.IntN(1_000_000_000))
	ch := w.order(ctx, "name "+name, "tenant.updated", request{kind: "rename", method: "PATCH", path: w.path(), body: map[string]any{"name": name}})
	if len(ch.tries) == 0 {
		return
	}
	w.done(ch)
	w.names = remember(w.names, name, ch)
	w.truth.settle(ch, "", nil)
}

// importPrivate brings in a key of the campaign's own as the standby.
func (w *writer) importPrivate(ctx context.Context) {
	if w.alg != "ES256" {
		return
	}
	kid, jwk, err := newKey(true)
	if err != nil {
		return
	}
	ch := w.order(ctx, "import of "+kid, "key.imported", request{kind: "import private", method: "POST", path: w.path() + "/keys/import", body: map[string]any{"private_key": jwk, "alg": w.alg, "kid": kid}})
	if len(ch.tries) == 0 {
		return
	}
	w.done(ch, 409)
	w.truth.settle(ch, kid, w.became(kid, "standby", "active", "deprecated", "revoked", "expired", "purged"))
}

func (w *writer) importPublic(ctx context.Context) {
	kid, jwk, err := newKey(false)
	if err != nil {
		return
	}
	until := time.Now().Add(90 * time.Second).UTC().Format(time.RFC3339)
	ch := w.order(ctx, "import of the public "+kid, "key.imported", request{kind: "import public", method: "POST", path: w.path() + "/keys/import", body: map[string]any{"public_key": jwk, "expires_at": until}})
	if len(ch.tries) == 0 {
		return
	}
	w.done(ch, 409)
	w.truth.settle(ch, kid, w.became(kid, "deprecated", "revoked", "expired", "purged"))
}

// newKey makes an ES256 key pair and writes one of its halves as a JWK.
func newKey(private bool) (kid string, jwk json.RawMessage, err error) {
	pair, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	kid = "torture-" + rand.Text()[:12]
	key := jose.JSONWebKey{KeyID: kid, Algorithm: "ES256", Use: "sig", Key: &pair.PublicKey}
	if private {
		key.Key = pair
	}
	jwk, err = key.MarshalJSON()
	return kid, jwk, err
}

func (w *writer) createCredential(ctx context.Context) {
	ch := w.order(ctx, "API key", "api_key.created", request{kind: "create API key", method: "POST", path: w.path() + "/api-keys", body: map[string]any{"role": "tenant_signer", "name": "torture"}})
	if len(ch.tries) == 0 {
		return
	}
	var said struct{ ID string }
	if a := w.done(ch, 409); a == nil || a.decode(&said) != nil { // 409: shown once, and its answer was lost
		w.truth.settle(ch, "", nil)
		return
	}
	w.credentials = append(w.credentials, said.ID)
	w.truth.settle(ch, "", func(h *history) string {
		if _, known := h.credits[said.ID]; !known {
			return "there is no API key " + said.ID
		}
		return ""
	})
}

func (w *writer) revokeCredential(ctx context.Context) {
	if len(w.credentials) == 0 {
		return
	}
	id := w.credentials[0]
	ch := w.order(ctx, "end of API key "+id, "api_key.revoked", request{kind: "revoke API key", method: "DELETE", path: w.path() + "/api-keys/" + id})
	if len(ch.tries) == 0 {
		return
	}
	if w.done(ch, 404) != nil || ch.tries[len(ch.tries)-1].status == 404 {
		w.credentials = w.credentials[1:]
	}
	w.truth.settle(ch, "", func(h *history) string {
		if h.credits[id] {
			return "the API key is not revoked"
		}
		return ""
	})
}

func (w *writer) rotateDataKey(ctx context.Context) {
	ch := w.order(ctx, "new data key", "data_key.rotated", request{kind: "rotate data key", method: "POST", path: w.path() + "/data-key/rotate"})
	if len(ch.tries) == 0 {
		return
	}
	w.done(ch, 409)
	w.truth.settle(ch, "", nil)
}

// createAndDelete makes a tenant and deletes it.
func (w *writer) createAndDelete(ctx context.Context) {
	slug := fmt.Sprintf("brief-%d", w.random.IntN(1_000_000_000))
	ch := w.order(ctx, "creation of "+slug, "tenant.created", request{kind: "create tenant", method: "POST", path: "/v1/tenants", body: map[string]any{"slug": slug}})
	if len(ch.tries) == 0 {
		return
	}
	var said struct{ ID string }
	if a := w.done(ch, 409); a == nil || a.decode(&said) != nil {
		w.truth.settle(ch, "", nil)
		return
	}
	w.truth.settle(ch, "", func(h *history) string {
		if h.statuses[said.ID] == "" {
			return "there is no tenant " + said.ID
		}
		return ""
	})
	del := w.order(ctx, "deletion of "+slug, "tenant.deleted", request{kind: "delete tenant", method: "DELETE", path: "/v1/tenants/" + said.ID})
	if len(del.tries) == 0 {
		return
	}
	w.done(del, 404)
	w.truth.settle(del, "", func(h *history) string {
		if h.statuses[said.ID] != "deleted" {
			return "the tenant is " + h.statuses[said.ID]
		}
		return ""
	})
}
