package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/tenant"
)

// key makes a credential; a nil tenant is the platform.
func (w world) key(t *testing.T, id *uuid.UUID, role tenant.Role) (tenant.APIKey, string) {
	t.Helper()
	k, key, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: id, Role: role, Name: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	return k, key
}

func TestCreateAPIKey(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	k, key := w.key(t, &id, tenant.TenantSigner)
	if !regexp.MustCompile(`^kw_[0-9a-f]{32}_[a-z2-7]{52}$`).MatchString(key) || !strings.Contains(key, strings.ReplaceAll(k.ID.String(), "-", "")) {
		t.Errorf("key looks like %q", regexp.MustCompile(`[a-z2-7]{52}$`).ReplaceAllString(key, "…"))
	}
	p, err := w.Authenticate(t.Context(), key)
	if err != nil || p.Actor.ID != k.ID.String() || p.Role != tenant.TenantSigner || *p.TenantID != id || p.Actor.Name != "ci" {
		t.Errorf("%+v, %v", p, err)
	}
	events := w.events(t, id)
	if e := events[1]; e.Action != audit.APIKeyCreated || string(e.Details) != fmt.Sprintf(`{"id":"%s","name":"ci","role":"tenant_signer"}`, k.ID) {
		t.Errorf("%+v %s", e, e.Details)
	}
	w.secretIsNowhere(t, key)
}

// secretIsNowhere looks for a key's secret in everything that is stored.
func (w world) secretIsNowhere(t *testing.T, key string) {
	t.Helper()
	secret := key[strings.LastIndex(key, "_")+1:]
	for _, table := range []string{"api_keys", "audit_events", "tenants", "idempotency_keys"} {
		var found int
		err := w.connect(t).QueryRow(t.Context(), "SELECT count(*) FROM "+table+" r WHERE r::text LIKE '%' || $1 || '%' OR r::text LIKE '%' || $2 || '%'",
			secret, fmt.Sprintf("%x", secret)).Scan(&found)
		if err != nil || found != 0 {
			t.Errorf("%s holds the secret (%d rows), %v", table, found, err)
		}
	}
}

func TestPlatformKeys(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{Role: tenant.PlatformAdmin})
	if !errors.Is(err, tenant.ErrNoPlatform) {
		t.Fatalf("before the platform's tenant exists: %v", err)
	}
	platform := w.tenant(t, tenant.PlatformSlug)
	k, key := w.key(t, nil, tenant.PlatformAdmin)
	if p, err := w.Authenticate(t.Context(), key); err != nil || p.TenantID != nil || p.Role != tenant.PlatformAdmin {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := w.RevokeAPIKey(t.Context(), somebody, nil, k.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Authenticate(t.Context(), key); !errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("revoked: %v", err)
	}
	if got, want := actions(w.events(t, platform)), []audit.Action{audit.TenantCreated, audit.APIKeyCreated, audit.APIKeyRevoked}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

func TestCreateAPIKeyRefused(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id, gone, nobody := w.tenant(t, "acme"), w.tenant(t, "gone"), uuid.New()
	w.delete(t, gone)
	past := noon
	for name, c := range map[string]struct {
		n     tenant.NewAPIKey
		field string
		is    error
	}{
		"platform role for a tenant":   {tenant.NewAPIKey{TenantID: &id, Role: tenant.PlatformAuditor}, "role", nil},
		"tenant role for the platform": {tenant.NewAPIKey{Role: tenant.TenantAdmin}, "role", nil},
		"no role":                      {tenant.NewAPIKey{TenantID: &id}, "role", nil},
		"made-up role":                 {tenant.NewAPIKey{Role: "platform_root"}, "role", nil},
		"long name":                    {tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, Name: strings.Repeat("x", 201)}, "name", nil},
		"expired":                      {tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, ExpiresAt: &past}, "expires_at", nil},
		"deleted tenant":               {tenant.NewAPIKey{TenantID: &gone, Role: tenant.TenantAdmin}, "", tenant.ErrNotFound},
		"no tenant":                    {tenant.NewAPIKey{TenantID: &nobody, Role: tenant.TenantAdmin}, "", tenant.ErrNotFound},
	} {
		_, key, err := w.CreateAPIKey(t.Context(), somebody, c.n)
		var broken *tenant.FieldErrors
		if key != "" || c.is != nil && !errors.Is(err, c.is) || c.is == nil && (!errors.As(err, &broken) || broken.Fields[0].Field != c.field) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.events(t, id); len(got) != 1 {
		t.Errorf("refusals left %v", actions(got))
	}
}

func TestListAndRevokeAPIKeys(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	var want []uuid.UUID
	for range 5 {
		k, _ := w.key(t, &id, tenant.TenantAuditor)
		want = append([]uuid.UUID{k.ID}, want...)
	}
	theirs, key := w.key(t, &other, tenant.TenantAdmin)
	w.key(t, nil, tenant.PlatformAdmin)
	for name, tenantID := range map[string]*uuid.UUID{"another tenant": &id, "the platform": nil} {
		if _, err := w.RevokeAPIKey(t.Context(), somebody, tenantID, theirs.ID, false); !errors.Is(err, tenant.ErrNoAPIKey) {
			t.Errorf("by %s: %v", name, err)
		}
	}
	if _, err := w.Authenticate(t.Context(), key); err != nil {
		t.Error(err)
	}
	if _, err := w.RevokeAPIKey(t.Context(), somebody, &id, want[1], false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.RevokeAPIKey(t.Context(), somebody, &id, want[1], false); !errors.Is(err, tenant.ErrNoAPIKey) {
		t.Errorf("twice: %v", err)
	}
	if got := w.ids(t, &id); !slices.Equal(got, slices.Delete(slices.Clone(want), 1, 2)) {
		t.Errorf("%v, want %v without the second", got, want)
	}
	if got := w.ids(t, nil); len(got) != 1 {
		t.Errorf("%d platform keys", len(got))
	}
	if got := w.events(t, id); len(got) != 7 || got[6].Action != audit.APIKeyRevoked {
		t.Errorf("%v", actions(got))
	}
}

func (w world) ids(t *testing.T, tenantID *uuid.UUID) (ids []uuid.UUID) {
	t.Helper()
	for cursor, more := "", true; more; more = cursor != "" {
		page, next, err := w.ListAPIKeys(t.Context(), tenantID, 2, cursor)
		if err != nil || len(page) > 2 {
			t.Fatalf("%d keys, %v", len(page), err)
		}
		for _, k := range page {
			ids = append(ids, k.ID)
		}
		cursor = next
	}
	return ids
}

func TestConcurrentCreations(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	var writers sync.WaitGroup
	for range 50 {
		writers.Go(func() {
			_, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAuditor})
			if err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got := w.events(t, id); len(got) != 51 {
		t.Errorf("%d events, want 51", len(got))
	}
}

func TestIdempotency(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	id := w.tenant(t, "acme")
	once := tenant.Once{TenantID: &id, CredentialID: "c1", Key: "k1", RequestHash: bytes.Repeat([]byte{1}, 32)}
	create := func(role tenant.Role, once tenant.Once) (id string, replayed bool, err error) {
		a, replayed, err := w.RunOnce(context.WithoutCancel(t.Context()), once, func(ctx context.Context) (tenant.Answer, error) {
			k, secret, err := w.CreateAPIKey(ctx, somebody, tenant.NewAPIKey{TenantID: once.TenantID, Role: role})
			return tenant.Answer{Status: 201, Header: map[string]string{"Location": k.ID.String()}, Body: []byte(secret)}, err
		})
		if err == nil && !strings.HasPrefix(string(a.Body), "kw_") {
			t.Errorf("answered %+v", a)
		}
		return a.Header["Location"] + string(a.Body), replayed, err
	}
	var (
		mu         sync.Mutex
		made       []string
		replays    []string
		requesters sync.WaitGroup
	)
	for range 20 {
		requesters.Go(func() {
			k, replayed, err := create(tenant.TenantAdmin, once)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				t.Error(err)
			case replayed:
				replays = append(replays, k)
			default:
				made = append(made, k)
			}
		})
	}
	requesters.Wait()
	if len(made) != 1 || len(replays) != 19 || slices.ContainsFunc(replays, func(r string) bool { return r != made[0] }) {
		t.Errorf("made %v, replays %v", made, replays)
	}
	other := once
	other.RequestHash = bytes.Repeat([]byte{2}, 32)
	if _, _, err := create(tenant.TenantAdmin, other); !errors.Is(err, tenant.ErrIdempotencyMismatch) {
		t.Errorf("another request: %v", err)
	}
	for name, change := range map[string]func(*tenant.Once){
		"another credential": func(o *tenant.Once) { o.CredentialID = "c2" },
		"another approval":   func(o *tenant.Once) { o.ApprovalID = "a" },
	} {
		o := once
		change(&o)
		if _, replayed, err := create(tenant.TenantAdmin, o); err != nil || replayed {
			t.Errorf("%s: replayed %t, %v", name, replayed, err)
		}
	}
	platform := once
	platform.TenantID = nil
	if _, replayed, err := create(tenant.PlatformAuditor, platform); err != nil || replayed {
		t.Errorf("the platform's: %t %v", replayed, err)
	}
	if got := w.ids(t, &id); len(got) != 3 {
		t.Errorf("%d keys, want 3", len(got))
	}
	for _, key := range []string{"", strings.Repeat("k", 256), "a\x00b"} {
		bad := once
		bad.Key = key
		var fields *tenant.FieldErrors
		if _, _, err := create(tenant.TenantAdmin, bad); !errors.As(err, &fields) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// A stored answer, which may hold a secret, is readable for nobody who has the database
// alone, and nobody can put another one in its place.
func TestStoredAnswersAreSealed(t *testing.T) {
	w := newWorld(t)
	id, other := w.tenant(t, "acme"), w.tenant(t, "other")
	run := func(once tenant.Once, body string) (tenant.Answer, error) {
		a, _, err := w.RunOnce(t.Context(), once, func(context.Context) (tenant.Answer, error) {
			return tenant.Answer{Status: 201, Body: []byte(body)}, nil
		})
		return a, err
	}
	mine := tenant.Once{TenantID: &id, CredentialID: "c", Key: "k", RequestHash: []byte("h")}
	theirs := tenant.Once{TenantID: &other, CredentialID: "c", Key: "k", RequestHash: []byte("h")}
	for _, o := range []tenant.Once{mine, theirs} {
		if _, err := run(o, "the secret"); err != nil {
			t.Fatal(err)
		}
	}
	dbtest.Exec(t, w.url, "SELECT 1 / (CASE WHEN position('secret'::bytea IN answer) = 0 AND position('c2VjcmV0'::bytea IN answer) = 0 THEN 1 ELSE 0 END) FROM idempotency_keys")
	dbtest.Exec(t, w.url, `UPDATE idempotency_keys SET answer = (SELECT answer FROM idempotency_keys WHERE tenant_id = '`+other.String()+`') WHERE tenant_id = '`+id.String()+`'`)
	if a, err := run(mine, "another"); !errors.Is(err, tenant.ErrAnswerUnreadable) {
		t.Errorf("another tenant's answer was given: %+v, %v", a, err)
	}
}

// What is refused changes nothing and is not stored; so is a change whose answer fails.
func TestRefusalsAreNotStored(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	once := tenant.Once{TenantID: &id, CredentialID: "c", Key: "k", RequestHash: []byte("h")}
	mine := errors.New("mine")
	_, _, err := w.RunOnce(t.Context(), once, func(ctx context.Context) (tenant.Answer, error) {
		if _, _, err := w.CreateAPIKey(ctx, somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin}); err != nil {
			t.Error(err)
		}
		return tenant.Answer{}, mine
	})
	if !errors.Is(err, mine) {
		t.Errorf("%v", err)
	}
	if got := w.ids(t, &id); len(got) != 0 {
		t.Errorf("%d keys of a change that failed", len(got))
	}
	func() {
		defer func() { _ = recover() }()
		_, _, _ = w.RunOnce(t.Context(), once, func(ctx context.Context) (tenant.Answer, error) {
			_, _, _ = w.CreateAPIKey(ctx, somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin})
			panic("x")
		})
	}()
	a, replayed, err := w.RunOnce(t.Context(), once, func(context.Context) (tenant.Answer, error) { return tenant.Answer{Status: 200}, nil })
	if err != nil || replayed || a.Status != 200 || len(w.ids(t, &id)) != 0 {
		t.Errorf("%+v, %t, %v", a, replayed, err)
	}
}

func TestExpiryIsKept(t *testing.T) {
	w := newWorld(t)
	id := w.tenant(t, "acme")
	at := noon.Add(time.Minute)
	_, key, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: &id, Role: tenant.TenantAdmin, ExpiresAt: &at})
	if err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute - time.Microsecond)
	if _, err := w.Authenticate(t.Context(), key); err != nil {
		t.Errorf("just before: %v", err)
	}
	w.pass(time.Microsecond) // answered from memory
	if _, err := w.Authenticate(t.Context(), key); !errors.Is(err, tenant.ErrUnauthenticated) {
		t.Errorf("at its end: %v", err)
	}
}

// A tenant has a bounded number of live credentials, and so has the platform. One that was
// revoked makes room only after a day: who makes and revokes in a loop fills no table.
func TestAPIKeysAreBounded(t *testing.T) {
	w := newWorld(t)
	w.tenant(t, tenant.PlatformSlug)
	acme, other := w.tenant(t, "acme"), w.tenant(t, "other")
	w.Store = tenant.New(tenant.Config{DB: w.db, Now: w.now, Authority: authority, MaxAPIKeys: 3})
	for _, of := range []*uuid.UUID{nil, &acme} {
		role := tenant.TenantSigner
		if of == nil {
			role = tenant.PlatformAuditor
		}
		var last tenant.APIKey
		for range 3 {
			last, _ = w.key(t, of, role)
		}
		var full *tenant.LimitError
		if _, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: of, Role: role}); !errors.As(err, &full) || full.Limit != 3 {
			t.Errorf("a fourth: %v", err)
		}
		if _, err := w.RevokeAPIKey(t.Context(), somebody, of, last.ID, false); err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.CreateAPIKey(t.Context(), somebody, tenant.NewAPIKey{TenantID: of, Role: role}); !errors.As(err, &full) {
			t.Errorf("one more in place of one that was made and revoked today: %v", err)
		}
	}
	w.key(t, &other, tenant.TenantSigner)
	w.pass(tenant.CountedFor)
	for of, role := range map[*uuid.UUID]tenant.Role{nil: tenant.PlatformAuditor, &acme: tenant.TenantSigner} {
		w.key(t, of, role)
	}
}

// A tenant asks for a bounded number of approvals in a day, whether they wait or were
// decided, since their rows are kept.
func TestApprovalsAreBounded(t *testing.T) {
	w := newWorld(t)
	acme, other := w.tenant(t, "acme"), w.tenant(t, "other")
	dbtest.Exec(t, w.url, `SET session_replication_role = replica;
		INSERT INTO approvals (tenant_id, id, operation, effects, operation_id, path, request_hash, status, requester_type, requester_id, requester_name,
			decider_type, decider_id, decider_name, created_at, expires_at, decided_at)
		SELECT '`+acme.String()+`', gen_random_uuid(), 'purge', '{purge}', 'purgeKeys', '/', sha256('r'), 'rejected', 'oidc', 'a', 'a', 'oidc', 'b', 'b',
			'`+noon.Format(time.RFC3339)+`'::timestamptz, '`+noon.Format(time.RFC3339)+`'::timestamptz + interval '1 day', '`+noon.Format(time.RFC3339)+`'::timestamptz
		FROM generate_series(1, 10000)`)
	ask := func(id uuid.UUID) error {
		e := &tenant.NeedsApprovalError{TenantID: id, Operation: tenant.Purge, Effects: []tenant.Operation{tenant.Purge}}
		_, err := w.RequestApproval(t.Context(), somebody, e, tenant.Request{OperationID: "purgeKeys", Path: "/", Digest: make([]byte, 32)})
		return err
	}
	if err := ask(acme); !errors.Is(err, tenant.ErrTooManyApprovals) {
		t.Errorf("one more in the same day: %v", err)
	}
	if err := ask(other); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	w.pass(tenant.ApprovalLifetime)
	if err := ask(acme); err != nil {
		t.Errorf("a day later: %v", err)
	}
}
