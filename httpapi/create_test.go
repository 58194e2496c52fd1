package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// atOnce does something n times at the same moment and counts the statuses.
func atOnce(n int, do func(i int) *answer) map[int]int {
	var (
		mu    sync.Mutex
		done  sync.WaitGroup
		count = map[int]int{}
		start = make(chan struct{})
	)
	for i := range n {
		done.Go(func() {
			<-start
			a := do(i)
			mu.Lock()
			defer mu.Unlock()
			count[a.StatusCode]++
		})
	}
	close(start)
	done.Wait()
	return count
}

func TestFiftyCreationsOfOneSlug(t *testing.T) {
	w := newWorld(t)
	got := atOnce(50, func(int) *answer { return w.do("POST", "/v1/tenants", w.root, `{"slug":"acme"}`) })
	if got[201] != 1 || got[409] != 49 {
		t.Errorf("%v", got)
	}
	if n := scalar[int](w, "SELECT count(*) FROM tenants WHERE slug = 'acme'"); n != 1 {
		t.Errorf("%d tenants", n)
	}
	if n := scalar[int](w, "SELECT count(*) FROM keys k JOIN tenants t ON t.id = k.tenant_id WHERE slug = 'acme'"); n != 2 {
		t.Errorf("%d keys", n)
	}
}

func TestTwentyRequestsWithOneIdempotencyKey(t *testing.T) {
	w := newWorld(t)
	var ids sync.Map
	got := atOnce(20, func(int) *answer {
		var made Tenant
		a := w.do("POST", "/v1/tenants", w.root, `{"slug":"acme"}`, "Idempotency-Key", "once")
		_ = json.Unmarshal(a.body, &made)
		ids.Store(made.ID, a.Header.Get("Location"))
		return a
	})
	n := 0
	ids.Range(func(_, location any) bool { n++; return location == "/v1/tenants/acme" })
	if got[201] != 20 || n != 1 || scalar[int](w, "SELECT count(*) FROM tenants WHERE slug <> 'platform'") != 1 {
		t.Errorf("%v, %d ids", got, n)
	}
}

func TestIdempotencyKeys(t *testing.T) {
	w := newWorld(t)
	once := []string{"Idempotency-Key", "once"}
	post := func(path, key, body string) *answer { return w.do("POST", path, key, body, once...) }
	var acme Tenant
	post("/v1/tenants", w.root, `{"slug":"acme"}`).ok(201, &acme)
	post("/v1/tenants", w.root, `{"slug":"acme","name":"x"}`).problem(ProblemCodeConflict)
	post("/v1/tenants", w.root, `{"slug":"other"}`).problem(ProblemCodeConflict)
	post("/v1/tenants", w.key(tenant.PlatformAdmin, nil), `{"slug":"other"}`).ok(201) // another credential's key
	var made CreatedAPIKey
	post("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_signer"}`).ok(201, &made)
	for _, ref := range []string{"acme", acme.ID.String()} {
		var again CreatedAPIKey
		a := post("/v1/tenants/"+ref+"/api-keys", w.root, `{"role":"tenant_signer"}`).ok(201, &again)
		if again != made || a.Header.Get("Idempotent-Replayed") != "true" {
			t.Errorf("%+v, and then %+v", made, again)
		}
	}
	post("/v1/tenants/acme/api-keys", w.root, `{"role":"tenant_admin"}`).problem(ProblemCodeConflict)
	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_auditor"}`, "Idempotency-Key", "twice").ok(201)
	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_auditor"}`, "Idempotency-Key", "twice").ok(201)
	w.do("POST", "/v1/api-keys", w.root, `{"role":"platform_admin"}`, "Idempotency-Key", "twice").problem(ProblemCodeConflict)
	for _, bad := range []string{"", "a b", "é", strings.Repeat("x", 256)} {
		w.do("POST", "/v1/tenants", w.root, `{"slug":"bad"}`, "Idempotency-Key", bad).problem(ProblemCodeInvalidRequest)
	}
	w.do("DELETE", "/v1/tenants/acme", w.root, "").ok(204)
	var first Tenant // as the first time, though it was deleted since
	if post("/v1/tenants", w.root, `{"slug":"acme"}`).ok(201, &first); first.ID != acme.ID {
		t.Errorf("%s was created instead of %s", first.ID, acme.ID)
	}
}

func TestListsPageByPage(t *testing.T) {
	w := newWorld(t)
	for i := range 7 {
		w.tenant(fmt.Sprintf("t%d", i))
	}
	var slugs []string
	for cursor, more := "", true; more; {
		var page TenantList
		w.do("GET", "/v1/tenants?limit=3"+cursor, w.root, "").ok(200, &page)
		for _, item := range page.Items {
			slugs = append(slugs, item.Slug)
		}
		if more = page.NextCursor != nil; more {
			cursor = "&cursor=" + *page.NextCursor
		}
	}
	if got := strings.Join(slugs, " "); got != "t6 t5 t4 t3 t2 t1 t0 platform" {
		t.Error(got)
	}
	var found TenantList
	if w.do("GET", "/v1/tenants?q=T3&status=active", w.root, "").ok(200, &found); len(found.Items) != 1 || found.Items[0].Slug != "t3" {
		t.Errorf("%+v", found)
	}
	for range 3 {
		w.do("POST", "/v1/tenants/t0/keys/rotate", w.root, "").ok(200)
	}
	kids := map[string]bool{}
	for cursor, more := "", true; more; {
		var page KeyList
		w.do("GET", "/v1/tenants/t0/keys?limit=2"+cursor, w.root, "").ok(200, &page)
		for _, k := range page.Items {
			kids[k.KID] = true
		}
		if more = page.NextCursor != nil; more {
			cursor = "&cursor=" + *page.NextCursor
		}
	}
	if len(kids) != 5 {
		t.Errorf("%d keys", len(kids))
	}
}
