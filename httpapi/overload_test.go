package httpapi

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keyward/keyward/tenant"
)

// A tenant that asks for more signatures than the processors can make gets what they
// can, and refusals for the rest. Another tenant's signatures are made, and JWK Sets
// served, meanwhile.
func TestOverloadLeavesRoomForOthers(t *testing.T) {
	w := newWorld(t)
	flood, quiet := w.tenant("flood"), w.tenant("quiet")
	w.do("PUT", "/v1/tenants/flood/policies/PS256", w.root, `{"rsa_bits":4096}`).ok(201)
	flooder, other := w.key(tenant.TenantSigner, &flood.ID), w.key(tenant.TenantSigner, &quiet.ID)
	sign := func(slug, key, alg string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/v1/tenants/"+slug+"/tokens", strings.NewReader(`{"claims":{},"alg":"`+alg+`"}`))
		r.Header.Set("Authorization", "Bearer "+key)
		r.Header.Set("Content-Type", "application/json")
		answer := httptest.NewRecorder()
		w.server.ServeHTTP(answer, r)
		return answer
	}
	for range 10 { // what a signature takes is learned
		if answer := sign("flood", flooder, "PS256"); answer.Code != http.StatusOK {
			t.Fatalf("%d: %s", answer.Code, answer.Body)
		}
	}
	var done sync.WaitGroup
	var made, refused, ended atomic.Int64
	all := int64(400 * runtime.GOMAXPROCS(0))
	for range all {
		done.Go(func() {
			defer ended.Add(1)
			switch answer := sign("flood", flooder, "PS256"); {
			case answer.Code == http.StatusOK:
				made.Add(1)
			case answer.Code == http.StatusServiceUnavailable && answer.Header().Get("Retry-After") != "" && strings.Contains(answer.Body.String(), `"unavailable"`):
				refused.Add(1)
			default:
				t.Errorf("%d, Retry-After %q: %s", answer.Code, answer.Header().Get("Retry-After"), answer.Body)
			}
		})
	}
	for i := 0; ended.Load() < all; i++ {
		if answer := sign("quiet", other, "ES256"); answer.Code != http.StatusOK {
			t.Errorf("another tenant's signature %d: %d: %s", i, answer.Code, answer.Body)
		}
		w.do("GET", "/t/flood/.well-known/jwks.json", "", "").ok(http.StatusOK)
	}
	done.Wait()
	if made.Load() == 0 || refused.Load() == 0 || made.Load()+refused.Load() != all {
		t.Errorf("of %d signatures %d were made and %d refused", all, made.Load(), refused.Load())
	}
	if w.signer.Refused() == 0 {
		t.Error("the metric counts no refusal")
	}
}
