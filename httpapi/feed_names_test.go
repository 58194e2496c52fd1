package httpapi

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// Whatever is done to tenants that want the same issuer, no follower of the gateway feed
// ever sees two live tenants that have it, whenever it reads on.
func TestFeedNeverHasTwoTenantsOfOneIssuer(t *testing.T) {
	w := newWorld(t)
	random := rand.New(rand.NewPCG(1, 2))
	issuers := []string{"https://one.example", "https://one.example/", "HTTPS://ONE.example:443", "https://two.example", testPublicURL + "/t/a", testPublicURL + "/t/b/x"}
	slugs := []string{"a", "b", "c"}
	follower, cursor := map[string]FeedItem{}, ""
	follow := func(after string) {
		for more := true; more; {
			path := "/v1/jwks-feed?limit=2"
			if cursor != "" {
				path += "&since=" + cursor
			}
			var page JWKSFeed
			w.do("GET", path, w.root, "").ok(200, &page)
			for _, item := range page.Items {
				follower[item.TenantID.String()] = item
				live := map[string]string{}
				for id, item := range follower {
					if item.Deleted != nil && *item.Deleted {
						continue
					}
					name := strings.TrimSuffix(strings.Replace(strings.ToLower(item.Issuer), ":443", "", 1), "/")
					if other, taken := live[name]; taken {
						t.Fatalf("after %s: %s and %s have the issuer %s", after, other, id, name)
					}
					live[name] = id
				}
			}
			more, cursor = len(page.Items) > 0, page.NextCursor
		}
	}
	done := map[string]int{}
	for range 250 {
		slug, issuer := slugs[random.IntN(len(slugs))], issuers[random.IntN(len(issuers))]
		var method, path, body string
		switch path = "/v1/tenants/" + slug; random.IntN(7) {
		case 0:
			method, path, body = "POST", "/v1/tenants", fmt.Sprintf(`{"slug":%q}`, slug)
		case 1:
			method, path, body = "POST", "/v1/tenants", fmt.Sprintf(`{"slug":%q,"issuer":%q}`, slug, issuer)
		case 2:
			method, body = "PATCH", fmt.Sprintf(`{"issuer":%q}`, issuer)
		case 3:
			method, body = "PATCH", `{"issuer":null}`
		case 4:
			method, body = "PATCH", `{"status":"suspended"}`
		case 5:
			method, body = "PATCH", `{"status":"active"}`
		case 6:
			method = "DELETE"
		}
		a := w.do(method, path, w.root, body)
		done[fmt.Sprint(method, a.StatusCode/100)]++
		if random.IntN(3) > 0 {
			follow(method + " " + path + " " + body)
		}
	}
	for _, kind := range []string{"POST2", "POST4", "PATCH2", "PATCH4", "DELETE2"} {
		if done[kind] < 5 {
			t.Errorf("only %d of %s: %v", done[kind], kind, done)
		}
	}
}
