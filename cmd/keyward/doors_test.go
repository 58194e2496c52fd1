package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
)

// doorKey returns the JWK of a public key, with other values of some members; "": without.
func doorKey(t *testing.T, pub crypto.PublicKey, kid, alg string, members ...string) string {
	t.Helper()
	text, err := (&jose.JSONWebKey{Key: pub, KeyID: kid, Algorithm: alg, Use: "sig"}).MarshalJSON()
	var m map[string]json.RawMessage
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(members); i += 2 {
		var out map[string]json.RawMessage
		_ = json.Unmarshal([]byte(withMember(m, members[i], members[i+1])), &out)
		m = out
	}
	return withMember(m, "", "")
}

func curveKey(t *testing.T, curve elliptic.Curve) *ecdsa.PublicKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &key.PublicKey
}

// What becomes of each key of a set is the same by every door: the plan and the run of
// import-from, the API and key import, each as a dry run and for good. The good keys come
// in, and what does not is named.
func TestDoorsAgree(t *testing.T) {
	env := served(t)
	ask := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ec, other, there := curveKey(t, elliptic.P256()), curveKey(t, elliptic.P256()), curveKey(t, elliptic.P256())
	rs := func(kid string, members ...string) string {
		return doorKey(t, signing.Public(), kid, "RS256", members...)
	}
	es := func(kid string, members ...string) string { return doorKey(t, ec, kid, "ES256", members...) }
	stranger := `{"kty":"oct","k":"AAAA","kid":"s"}`
	const in, left, refused = "in", "left", "refused"
	for i, c := range []struct {
		name string
		keys []string
		want []string // of each key; twins of one that comes in are "in"

		repeated bool // none comes in, and one is there
	}{
		{"a good key and a weak one of one kid", []string{rs("k"), doorKey(t, weak.Public(), "k", "RS256")}, []string{in, refused}, false},
		{"a weak key and a good one of one kid", []string{doorKey(t, weak.Public(), "k", "RS256"), es("k")}, []string{refused, in}, false},
		{"two good keys of one kid", []string{es("k"), rs("k"), es("fine")}, []string{refused, refused, in}, false},
		{"two good keys of one kid and a weak one", []string{doorKey(t, weak.Public(), "k", "RS256"), es("k"), rs("k"), es("fine")}, []string{refused, refused, refused, in}, false},
		{"a stranger of the same kid", []string{strings.Replace(stranger, `"s"`, `"k"`, 1), es("k")}, []string{left, in}, false},
		{"an alg that is not supported, of the same kid", []string{doorKey(t, other, "k", "ES256K"), es("k")}, []string{refused, in}, false},
		{"e = 3", []string{rs("three", "e", `"Aw"`), es("fine"), stranger}, []string{refused, in, left}, false},
		{"even e", []string{rs("even", "e", `"AQAC"`), es("fine")}, []string{refused, in}, false},
		{"RSA 1024", []string{doorKey(t, weak.Public(), "weak", "RS256"), rs("fine")}, []string{refused, in}, false},
		{"padded", []string{es("padded", "x", `"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4="`), rs("fine")}, []string{refused, in}, false},
		{"off the curve", []string{es("off", "x", `"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"`), rs("fine")}, []string{refused, in}, false},
		{"empty n", []string{rs("empty", "n", `""`), es("fine")}, []string{refused, in}, false},
		{"no RSA alg", []string{rs("none", "alg", ""), es("fine")}, []string{refused, in}, false},
		{"another alg", []string{rs("wrong", "alg", `"ES256"`), es("fine")}, []string{refused, in}, false},
		{"misspelled use", []string{es("use", "use", `"SIG"`), rs("fine")}, []string{refused, in}, false},
		{"a number for a use", []string{es("use", "use", `7`), rs("fine")}, []string{refused, in}, false},
		{"a long kid", []string{es(strings.Repeat("k", 257)), rs("fine")}, []string{refused, in}, false},
		{"no JWK", []string{`null`, `7`, `{}`, es("fine")}, []string{refused, refused, refused, in}, false},
		{"a member twice", []string{`{"kid":"a",` + es("b")[1:], rs("fine")}, []string{refused, refused}, false}, // no two readers have to agree on such a file
		{"for several algorithms", []string{rs("k"), rs("k", "alg", `"PS512"`), rs("k", "e", `"Aw"`)}, []string{in, in, refused}, false},
		{"several algorithms, one of them wrong", []string{rs("k"), rs("k", "alg", `"ES256"`)}, []string{in, refused}, false},
		{"a private key for encryption", []string{es("enc", "use", `"enc"`, "d", `"AQ"`), rs("fine")}, []string{left, in}, false},
		{"a private key of another curve", []string{rs("fine"), es("k1", "crv", `"secp256k1"`, "d", `"AQ"`)}, []string{in, left}, false},
		{"for several algorithms, and the tenant has another key of the kid", []string{rs("there"), rs("there", "alg", `"PS512"`), es("fine")}, []string{refused, refused, in}, false},
		{"twice, and it was compromised", []string{doorKey(t, other, "new", "ES256"), es("fine"), doorKey(t, other, "new", "ES256")}, []string{refused, in, refused}, false},
		{"twice, and it is there", []string{doorKey(t, there, "there", "ES256"), doorKey(t, there, "there", "ES256"), es("fine")}, []string{left, left, in}, false},
		{"no kid", []string{es("", "kid", ""), es("", "kid", "")}, []string{in, in}, false},
		{"a key that is there", []string{doorKey(t, there, "there", "ES256"), es("fine")}, []string{left, in}, false},
		{"another key that is there", []string{es("there"), es("fine")}, []string{refused, in}, false},
		{"a key that is revoked", []string{doorKey(t, other, "compromised", "ES256"), es("fine")}, []string{refused, in}, false},
		{"a key that was compromised", []string{doorKey(t, other, "new", "ES256"), es("fine")}, []string{refused, in}, false},
		{"weak keys alone", []string{rs("three", "e", `"Aw"`), doorKey(t, weak.Public(), "weak", "RS256")}, []string{refused, refused}, false},
		{"strangers alone", []string{stranger}, []string{left}, false},
		{"a set again", []string{doorKey(t, there, "there", "ES256"), doorKey(t, there, "there", "ES256")}, []string{left, left}, true},
		{"revoked at its issuer", []string{es("gone", "revoked", `{"revoked_at":1,"reason":"compromised"}`), rs("fine")}, []string{left, in}, false},
		{"expired at its issuer", []string{es("old", "exp", "1600000000"), rs("fine", "exp", "4102444800")}, []string{left, in}, false},
		{"expired at its issuer alone", []string{es("old", "exp", "1600000000")}, []string{left}, false},
		{"all expired at their issuer, beside a stranger", []string{stranger, es("old", "exp", "1600000000"), rs("older", "exp", "1500000000")}, []string{left, left, left}, false},
		{"a set again, the others expired at their issuer", []string{doorKey(t, there, "there", "ES256"), es("old", "exp", "1600000000")}, []string{left, left}, true},
		{"expired at its issuer, and it was compromised", []string{doorKey(t, other, "new", "ES256", "exp", "1600000000"), doorKey(t, other, "compromised", "ES256", "exp", "1600000000"), rs("fine")}, []string{left, left, in}, false},
		{"a set again, expired at its issuer", []string{doorKey(t, there, "there", "ES256", "exp", "1600000000"), stranger}, []string{left, left}, true},
		{"a set again, beside a stranger", []string{stranger, doorKey(t, there, "there", "ES256")}, []string{left, left}, true},
		{"a set again, beside a weak key", []string{doorKey(t, there, "there", "ES256"), rs("three", "e", `"Aw"`)}, []string{left, refused}, true},
		{"a set again, beside another key of a kid in use", []string{doorKey(t, there, "there", "ES256"), es("compromised")}, []string{left, refused}, true},
		{"a set again, for one algorithm more", []string{doorKey(t, signing.Public(), "rs-there", "RS256"), doorKey(t, signing.Public(), "rs-there", "PS256")}, []string{refused, refused}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "set.json")
			set := `{"keys":[` + strings.Join(c.keys, ",") + `]}`
			if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
				t.Fatal(err)
			}
			good := !slices.Contains(c.want, refused) && (slices.Contains(c.want, in) || c.repeated)
			private := strings.Contains(set, `"d":`)
			soon := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
			reasons := map[int]string{} // by key, as the first door says
			doors := map[string]func(tenant string) (got, why []string, ok bool){
				"import-from --dry-run": func(tenant string) (got, why []string, ok bool) {
					return planOutcomes(t, keyward(t, env, "import-from", "jwk-file", file, "--tenant="+tenant, "--as=verify-only", "--json", "--dry-run"))
				},
				"import-from": func(tenant string) (got, why []string, ok bool) {
					return planOutcomes(t, keyward(t, env, "import-from", "jwk-file", file, "--tenant="+tenant, "--as=verify-only", "--json", "--yes"))
				},
				"key import --dry-run": func(tenant string) (got, why []string, ok bool) {
					r := keyward(t, env, "key", "import", "--jwks="+file, "--tenant="+tenant, "--json", "--dry-run")
					got, why = listOutcomes(r.stdout, len(c.keys))
					return got, why, r.code == exitOK
				},
				"key import": func(tenant string) (got, why []string, ok bool) {
					r := keyward(t, env, "key", "import", "--jwks="+file, "--tenant="+tenant, "--json")
					got, why = listOutcomes(r.stdout, len(c.keys))
					return got, why, r.code == exitOK
				},
			}
			for _, dry := range []bool{true, false} {
				doors[fmt.Sprintf("the API, dry_run %t", dry)] = func(tenant string) (got, why []string, ok bool) {
					body, _ := json.Marshal(map[string]any{"public_key": set, "dry_run": dry, "expires_at": soon})
					status, answer := ask.post(t, "/v1/tenants/"+tenant+"/keys/import", string(body))
					got, why = listOutcomes(answer, len(c.keys))
					return got, why, status < http.StatusBadRequest && !slices.Contains(got, refused)
				}
			}
			n := 0
			for name, door := range doors {
				tenant := fmt.Sprintf("doors-%d-%d", i, n)
				n++
				ask.ask(t, "POST", "/v1/tenants", `{"slug":"`+tenant+`","policies":[{"alg":"ES256","default":true}]}`, true)
				for _, jwk := range map[string]string{"there": doorKey(t, there, "there", "ES256"), "compromised": doorKey(t, other, "compromised", "ES256"), "rs-there": doorKey(t, signing.Public(), "rs-there", "RS256")} {
					body, _ := json.Marshal(map[string]any{"public_key": json.RawMessage(jwk), "expires_at": soon})
					ask.ask(t, "POST", "/v1/tenants/"+tenant+"/keys/import", string(body), true)
				}
				ask.ask(t, "POST", "/v1/tenants/"+tenant+"/keys/compromised/revoke", `{"reason":"compromised"}`, true)
				before := len(imported(t, env, tenant))
				got, why, ok := door(tenant)
				for i, outcome := range got {
					if outcome == in {
						continue
					}
					if reasons[i] == "" {
						reasons[i] = why[i]
					}
					if why[i] == "" || why[i] != reasons[i] {
						t.Errorf("%s says of key %d %q, another door %q", name, i, why[i], reasons[i])
					}
				}
				if private && !strings.HasPrefix(name, "import-from") { // only import-from takes private keys apart
					if came := len(imported(t, env, tenant)) - before; ok || got != nil || came != 0 {
						t.Errorf("%s: %t, %q, %d keys came in; want a refusal of the whole set", name, ok, got, came)
					}
					continue
				}
				if ok != good || got != nil && !slices.Equal(got, c.want) || got == nil && (slices.Contains(c.want, in) || c.repeated) {
					t.Errorf("%s: %t, %q; want %t, %q", name, ok, got, good, c.want)
				}
				want := 0
				if !strings.Contains(name, "dry") || strings.HasSuffix(name, "false") {
					kids := map[string]bool{}
					for i, outcome := range c.want {
						var k struct{ KID, X string }
						if outcome == in && json.Unmarshal([]byte(c.keys[i]), &k) == nil {
							kids[k.KID] = true
						}
					}
					want = len(kids)
				}
				if came := len(imported(t, env, tenant)) - before; came != want {
					t.Errorf("%s: %d keys came in, want %d", name, came, want)
				}
			}
		})
	}
}

// planOutcomes returns what becomes of each key of a plan, and why.
func planOutcomes(t *testing.T, r result) (all, why []string, ok bool) {
	t.Helper()
	var said struct{ Keys []stepReport }
	if r.stdout == "" { // a file that is no key set has no plan
		return nil, nil, r.code == exitOK
	}
	if err := json.Unmarshal([]byte(r.stdout), &said); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	for _, s := range said.Keys {
		why = append(why, strings.TrimPrefix(s.Note, "it has no kid at the source; this is its thumbprint; "))
		switch {
		case s.Becomes == "deprecated" || strings.Contains(s.Note, "lists this key twice"):
			all = append(all, "in")
		case s.Becomes == "there":
			all = append(all, "left")
		default:
			all = append(all, s.Becomes)
		}
		if s.Becomes != "deprecated" && s.Note == "" {
			t.Errorf("%s is %s without a reason", s.KID, s.Becomes)
		}
	}
	return all, why, r.code == exitOK
}

// listOutcomes returns what becomes of each of n keys by an answer of the API, and why; nil
// if it is not a list.
func listOutcomes(answer string, n int) (all, why []string) {
	var list client.KeyList
	if json.Unmarshal([]byte(answer), &list) != nil || list.Items == nil {
		return nil, nil
	}
	why = make([]string, n)
	for range n {
		all = append(all, "in")
	}
	for _, k := range list.Skipped {
		why[k.Index] = k.Reason
		if all[k.Index] = "left"; k.Refused {
			all[k.Index] = "refused"
		}
	}
	return all, why
}

// A tenant's own limits are in the plan: as many keys as it may have, and a second person.
func TestLimitsOfTheTenantAreInThePlan(t *testing.T) {
	env := deployed(t)
	env["KEYWARD_TENANT_MAX_KEYS"] = "100"
	served := servedOn(t, env)
	ask := &recorder{url: served["KEYWARD_URL"], key: served["KEYWARD_API_KEY"]}
	ask.ask(t, "POST", "/v1/tenants", `{"slug":"full","policies":[{"alg":"ES256","default":true,"max_published_keys":64},{"alg":"ES384","max_published_keys":64}]}`, true)
	file := filepath.Join(t.TempDir(), "set.json")
	write := func(n int) {
		var all []string
		for i := range n {
			curve, alg := elliptic.P256(), "ES256"
			if i%2 == 1 {
				curve, alg = elliptic.P384(), "ES384"
			}
			all = append(all, doorKey(t, curveKey(t, curve), fmt.Sprintf("k-%d", i), alg))
		}
		if err := os.WriteFile(file, []byte(`{"keys":[`+strings.Join(all, ",")+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	move := func(flag string) ([]string, []string, bool) {
		return planOutcomes(t, keyward(t, served, "import-from", "jwk-file", file, "--tenant=full", "--json", flag))
	}
	write(97) // with four keys of its own, the tenant would have 101
	for _, flag := range []string{"--dry-run", "--yes"} {
		if got, _, ok := move(flag); ok || len(got) != 97 || slices.Contains(got, "in") {
			t.Errorf("%s: %t, %q", flag, ok, got)
		}
	}
	write(1)
	ask.ask(t, "POST", "/v1/tenants", `{"slug":"careful"}`, true)
	ask.ask(t, "PATCH", "/v1/tenants/careful", `{"approval_required":["import"]}`, true)
	for _, flag := range []string{"--dry-run", "--yes"} {
		keyward(t, served, "import-from", "jwk-file", file, "--tenant=careful", flag).want(t, exitFailed, "requires an approval for every import")
	}
	write(96)
	if n := len(imported(t, served, "full")); n != 0 {
		t.Errorf("%d keys", n)
	}
	for _, flag := range []string{"--dry-run", "--yes"} {
		if got, _, ok := move(flag); !ok || len(got) != 96 || slices.Contains(got, "refused") {
			t.Errorf("%s: %t, %q", flag, ok, got)
		}
	}
}
