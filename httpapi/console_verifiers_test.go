package httpapi

import (
	"html"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The console offers each example of docs/verifiers.md, with the tenant's values
// in place of the documentation's, and changes nothing else: a name of a library
// that contains one stays.
func TestConsoleShowsDocumentedVerifiers(t *testing.T) {
	w := newWorld(t)
	globex := w.tenant("globex")
	s := w.signedIn(w.root)
	page, err := os.ReadFile("../docs/verifiers.md")
	if err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("https://keys.example.com/t/acme", globex.Issuer)
	all := regexp.MustCompile("(?ms)^### ([^\\n]+)\\n.*?^```[a-z]+\\n(.*?)\\n```$").FindAllStringSubmatch(string(page), -1)
	if len(all) < 20 {
		t.Fatalf("only %d examples were found", len(all))
	}
	options := regexp.MustCompile(`<option value="([^"]+)"[^>]*>([^<]+)</option>`).FindAllStringSubmatch(s.get("/console/tenants/globex/verifiers").Body, -1)
	ids := map[string]string{}
	for _, option := range options {
		ids[html.UnescapeString(option[2])] = option[1]
	}
	for _, example := range all {
		id := ids[example[1]]
		if id == "" {
			t.Errorf("the console does not offer %s: %v", example[1], ids)
			continue
		}
		shown := s.get("/console/tenants/globex/verifiers?for=" + id)
		shown.lacks("/t/acme")
		if body := html.UnescapeString(shown.Body); !strings.Contains(body, fill.Replace(example[2])) {
			t.Errorf("the console shows another example for %s:\n%s", example[1], body)
		}
	}
	if len(ids) != len(options) || len(ids) < len(all)+4 {
		t.Errorf("%d examples have %d names", len(options), len(ids))
	}
	s.get("/console/tenants/globex/verifiers?for=no-such-verifier").has("jwks.NewVerifier", globex.Issuer)
}
