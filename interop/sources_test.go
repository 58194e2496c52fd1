package interop

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// oldIssuer is whom the tokens of a system left behind are from.
const oldIssuer = "https://left-behind.example"

// origin is a system that keys move in from.
type origin struct {
	kind  string
	alg   string // by which it signs and the tenant shall, empty: its keys only verify
	serve bool   // it is moved from a URL
	where func(t *testing.T) string
}

var origins = []origin{
	{kind: "nestjs-jwks", where: inDir("keys")},
	{kind: "node-jose", where: inDir("keys.json"), alg: "RS256"},
	{kind: "oauth2-server", where: inDir("key.pem"), alg: "RS256"},
	{kind: "redis", where: startRedis, alg: "RS256"},
	{kind: "jwks", where: inDir("jwks.json"), serve: true},
	{kind: "hydra", where: inDir("set.json"), alg: "RS256"},
	{kind: "hydra", where: inDir("set.json"), alg: "RS256", serve: true},
}

// left is a token that was issued before the move.
type left struct {
	KID      string `json:"kid"`
	Token    string `json:"token"`
	Verifies bool   `json:"verifies"` // there, and so here
}

type movedKey struct {
	KID     string `json:"kid"`
	Becomes string `json:"becomes"`
	Done    bool   `json:"done"`
}

func TestMovingIn(t *testing.T) {
	for _, o := range origins {
		name := o.kind
		if o.serve {
			name += " by URL"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.moveIn(t)
		})
	}
}

// moveIn issues tokens there, moves, and verifies them here.
func (o origin) moveIn(t *testing.T) {
	source := o.where(t)
	tokens := o.make(t, source)
	if o.serve {
		source = serve(t, source)
	}
	policies := []object{{"alg": "ES256", "default": true}}
	if o.alg != "" {
		policies = append(policies, object{"alg": o.alg, "default": false})
	}
	tn := newTenant(t, object{"policies": policies})
	for _, tok := range tokens {
		tn.wantVerdict(t, tok, false)
	}
	planned := o.move(t, tn, source, "--dry-run")
	for _, tok := range tokens {
		tn.wantVerdict(t, tok, false)
	}
	moved := o.move(t, tn, source, "--yes")
	tn.wantMoved(t, tokens, planned, moved)
	for _, tok := range tokens {
		tn.wantVerdict(t, tok, tok.Verifies)
	}
	for _, k := range o.move(t, tn, source, "--yes") {
		if k.Done || k.Becomes != "there" && k.Becomes != "left" {
			t.Errorf("moved again: %+v", k)
		}
	}
	o.wantSigningGoesOn(t, tn, tokens, moved)
}

// wantMoved demands that exactly the keys of good tokens have moved, as planned.
func (tn *tenant) wantMoved(t *testing.T, tokens []left, planned, moved []movedKey) {
	t.Helper()
	published := tn.published(t)
	for _, tok := range tokens {
		if slices.Contains(published, tok.KID) != tok.Verifies {
			t.Errorf("%s: published or not, against what its token deserves (%v)", tok.KID, tok.Verifies)
		}
	}
	for i, k := range moved {
		if k.KID != planned[i].KID || k.Becomes != planned[i].Becomes || planned[i].Done {
			t.Errorf("planned %+v, done %+v", planned[i], k)
		}
		good := slices.ContainsFunc(tokens, func(tok left) bool { return tok.KID == k.KID && tok.Verifies })
		if k.Done != good {
			t.Errorf("%+v", k)
		}
	}
}

// wantSigningGoesOn rotates, and finds the key that signed there signing here.
func (o origin) wantSigningGoesOn(t *testing.T, tn *tenant, tokens []left, moved []movedKey) {
	t.Helper()
	var standby []string
	for _, k := range moved {
		if k.Becomes == "standby" {
			standby = append(standby, k.KID)
		}
	}
	if o.alg == "" {
		if len(standby) > 0 {
			t.Errorf("%v would sign", standby)
		}
		return
	}
	if err := tn.rotate(t.Context(), o.alg); err != nil {
		t.Fatal(err)
	}
	if tok := tn.token(t, o.alg); len(standby) != 1 || tok.KID != standby[0] {
		t.Errorf("%s signs, want the one of %v", tok.KID, standby)
	}
	for _, tok := range tokens {
		tn.wantVerdict(t, tok, tok.Verifies)
	}
}

func (tn *tenant) wantVerdict(t *testing.T, tok left, valid bool) {
	t.Helper()
	got := answer[struct {
		Valid bool   `json:"valid"`
		Code  string `json:"code"`
	}](t, "POST", tn.path("/tokens/verify"), object{"token": tok.Token, "issuer": oldIssuer, "audience": audience})
	if got.Valid != valid || !valid && got.Code != "unknown_key" {
		t.Errorf("the token of %s: %+v, want valid %v", tok.KID, got, valid)
	}
}

// move runs keyward import-from.
func (o origin) move(t *testing.T, tn *tenant, source string, flags ...string) []movedKey {
	t.Helper()
	args := append([]string{"import-from", o.kind, source, "--tenant", tn.slug, "--url", keyward.url, "--json"}, flags...)
	cmd := exec.CommandContext(t.Context(), keyward.cmd.Path, args...)
	cmd.Env = append(trusted.environment(), "KEYWARD_API_KEY="+keyward.adminKey)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var said struct{ Keys []movedKey }
	if err == nil {
		err = json.Unmarshal(out, &said)
	}
	if err != nil || len(said.Keys) == 0 {
		t.Fatalf("keyward %s: %v\n%s%s", strings.Join(args, " "), err, out, &stderr)
	}
	return said.Keys
}

// make makes the source with the libraries that such a system uses.
func (o origin) make(t *testing.T, where string) []left {
	t.Helper()
	if noNode != nil {
		t.Skip(noNode)
	}
	if err := installed("sources"); errors.Is(err, errNoNode) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "make.mjs", o.kind, where, oldIssuer)
	cmd.Dir = "sources"
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var made struct{ Tokens []left }
	if err == nil {
		err = json.Unmarshal(out, &made)
	}
	if err != nil || len(made.Tokens) == 0 {
		t.Fatalf("make.mjs %s: %v\n%s%s", o.kind, err, out, &stderr)
	}
	return made.Tokens
}

func inDir(name string) func(*testing.T) string {
	return func(t *testing.T) string { return filepath.Join(t.TempDir(), name) }
}

// serve is the URL of a file.
func serve(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%s", text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
