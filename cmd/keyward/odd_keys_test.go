package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
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

// oddKey is a JWK Set of one key that no system should write and some do.
type oddKey struct{ name, set string }

// oddKeys changes valid keys of every type, public and private, in one member each.
func oddKeys(t *testing.T) (all []oddKey) {
	t.Helper()
	signing, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	members := func(key any, alg string) map[string]json.RawMessage {
		text, err := (&jose.JSONWebKey{Key: key, KeyID: "odd", Algorithm: alg, Use: "sig"}).MarshalJSON()
		var m map[string]json.RawMessage
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	quote := func(text string) string { q, _ := json.Marshal(text); return string(q) }
	url := base64.RawURLEncoding.EncodeToString
	strange, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := other.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	common := map[string][]string{
		"kid":     {`""`, `null`, `7`, `"a\u0000b"`, `"a\nb"`, quote(strings.Repeat("k", 256)), quote(strings.Repeat("k", 257)), `" a "`, `"🔑/%2F?#"`, `["a"]`, `"a\ud800b"`, ``},
		"alg":     {`null`, `""`, `"HS256"`, `"none"`, `"RS256 "`, `"rs256"`, `7`, `"RSA-OAEP"`, `"ES256K"`, `"ES512"`, `["RS256"]`, ``},
		"use":     {`null`, `""`, `"enc"`, `"SIG"`, `7`, `"tls"`, `["sig"]`, ``},
		"key_ops": {`null`, `[]`, `["verify"]`, `["sign"]`, `["sign","verify"]`, `["encrypt"]`, `["verify","verify"]`, `"verify"`, `[7]`, `[null]`},
		"kty":     {`null`, `""`, `"oct"`, `"rsa"`, `"RSA "`, `7`, `"EC"`, `"OKP"`, ``},
		"x5c":     {`[]`, `null`, `["!"]`, `"x"`, `[7]`},
		"x5t":     {`"AAAA"`, `7`, `null`},
		"ext":     {`true`, `"true"`},
		"iat":     {`1`, `"1"`},
		"odd":     {`{"a":{"b":[1,2,{"c":null}]}}`, strings.Repeat("[", 200) + strings.Repeat("]", 200)},
		"d":       {`null`, `[]`},
		"p":       {`null`, `[]`},
		"Alg":     {`"RS512"`, `"ES384"`},
		"KID":     {`"other"`},
		"oth":     {`[]`, `null`, `[{"r":"AQ","d":"AQ","t":"AQ"}]`},
	}
	n, e := signing.N, big.NewInt(int64(signing.E))
	even := new(big.Int).Sub(n, big.NewInt(1))
	numbers := map[string]map[string][]string{
		"RSA": {
			"n": {
				`""`, `null`, `7`, quote(url(n.Bytes()) + "="), quote(base64.StdEncoding.EncodeToString(n.Bytes())), quote(" " + url(n.Bytes())), quote(url(append([]byte{0, 0}, n.Bytes()...))),
				quote(url(even.Bytes())), quote(url(n.Bytes()[:128])), quote(url(append(n.Bytes(), make([]byte, 300)...))), quote(url(strange.N.Bytes())), quote(url(n.Bytes()) + "!"), ``,
			},
			"e": {`""`, `"Aw"`, `"AQ"`, `"Ag"`, `"AAEAAQ"`, `"AQAB="`, `"AQABAQABAQAB"`, `65537`, quote(url(new(big.Int).Add(e, big.NewInt(1)).Bytes())), ``},
		},
		"EC": {
			"x":   {`""`, `"AA"`, quote(url(make([]byte, 32))), quote(url(append([]byte{0}, coordinate(curve.X)...))), quote(url(coordinate(other.X))), quote(url(curve.Curve.Params().P.Bytes())), ``},
			"y":   {`""`, quote(url(coordinate(other.Y))), `null`, ``},
			"crv": {`"P-384"`, `"secp256k1"`, `"p-256"`, `null`, `""`, `"Ed25519"`, ``},
		},
		"OKP": {
			"x":   {`""`, quote(url(make([]byte, 32))), quote(url(make([]byte, 31))), quote(url(make([]byte, 33))), `null`, ``},
			"crv": {`"Ed448"`, `"X25519"`, `"ed25519"`, `"P-256"`, `null`, ``},
		},
	}
	secrets := map[string]map[string][]string{
		"RSA": {"d": {`""`, `"AQ"`, quote(url(strange.D.Bytes())), `null`, `7`}, "p": {``, `"AQ"`, quote(url(signing.Primes[1].Bytes())), quote(url(strange.Primes[0].Bytes()))}, "qi": {``, `"AQ"`}, "dp": {``, `"Ag"`}},
		"EC":  {"d": {`""`, `"AQ"`, quote(url(scalar)), quote(url(make([]byte, 32))), quote(url(curve.Params().N.Bytes())), quote(url(curve.Params().P.Bytes())), `null`}},
		"OKP": {"d": {`""`, `"AQ"`, quote(url(make([]byte, 32))), quote(url(edwards)), `null`}},
	}
	for kty, key := range map[string]struct {
		private any
		alg     string
	}{"RSA": {signing, "RS256"}, "EC": {curve, "ES256"}, "OKP": {edwards, "EdDSA"}} {
		public := (&jose.JSONWebKey{Key: key.private}).Public().Key
		for _, half := range []any{public, key.private} {
			base, kind := members(half, key.alg), kty+" public"
			tables := []map[string][]string{numbers[kty]}
			if base["d"] != nil {
				kind, tables = kty+" private", append(tables, secrets[kty])
			}
			if kind == "EC public" || kind == "RSA private" {
				tables = append(tables, common)
			}
			for _, table := range tables {
				for member, values := range table {
					for _, value := range values {
						all = append(all, oddKey{fmt.Sprintf("%s %s=%.12s", kind, member, value), `{"keys":[` + withMember(base, member, value) + `]}`})
					}
				}
			}
			whole := withMember(base, "ext", "true")
			for name, set := range map[string]string{
				"alone": whole, "twice": `{"keys":[` + whole + `,` + whole + `]}`, "beside null": `{"keys":[null,` + whole + `]}`, "beside a text": `{"keys":["x",` + whole + `]}`,
				"an array": `[` + whole + `]`, "a map": `{"keys":{"odd":` + whole + `}}`, "nested": `{"keys":[{"keys":[` + whole + `]}]}`,
				"a member twice": `{"keys":[{"kid":"a",` + whole[1:] + `]}`, "more behind": `{"keys":[` + whole + `]} x`, "keys twice": `{"keys":[],"keys":[` + whole + `]}`,
				"another case": `{"Keys":[` + whole + `]}`,
			} {
				all = append(all, oddKey{kind + " " + name, set})
			}
		}
	}
	slices.SortFunc(all, func(a, b oddKey) int { return strings.Compare(a.name, b.name) })
	return all
}

func coordinate(x *big.Int) []byte { return x.FillBytes(make([]byte, 32)) }

// withMember returns a JWK with another value of a member; empty: without it.
func withMember(base map[string]json.RawMessage, member, value string) string {
	var out []string
	for name, raw := range base {
		if name != member {
			out = append(out, fmt.Sprintf("%q:%s", name, raw))
		}
	}
	if value != "" {
		out = append(out, fmt.Sprintf("%q:%s", member, value))
	}
	slices.Sort(out)
	return "{" + strings.Join(out, ",") + "}"
}

// Whatever a key looks like, the plan is the run, nothing is imported by a dry run, what
// is not imported has a reason, and what was imported can be listed and published.
func TestOddKeysArePlannedAsTheyRun(t *testing.T) {
	if testing.Short() {
		t.Skip("imports several hundred keys")
	}
	env := served(t)
	ask := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	ask.ask(t, "POST", "/v1/tenants", `{"slug":"judge","policies":[{"alg":"ES256","default":true},{"alg":"RS256"},{"alg":"EdDSA"}]}`, true) // stays without imports
	file := filepath.Join(t.TempDir(), "set.json")
	outcomes, judged := map[string]int{}, 0
	var tenant string
	read := func(flags ...string) (steps []stepReport, r result) {
		r = keyward(t, env, append([]string{"import-from", "jwk-file", file, "--tenant=" + tenant, "--json", "--as=verify-only"}, flags...)...)
		var said struct{ Keys []stepReport }
		_ = json.Unmarshal([]byte(r.stdout), &said) // a file that is no key set has no plan
		return said.Keys, r
	}
	for i, odd := range oddKeys(t) {
		if i%30 == 0 { // so that none is refused because there are too many
			tenant = fmt.Sprintf("odd-%d", i)
			ask.ask(t, "POST", "/v1/tenants", `{"slug":"`+tenant+`","policies":[{"alg":"ES256","default":true,"max_published_keys":64},{"alg":"RS256","max_published_keys":64},{"alg":"EdDSA","max_published_keys":64}]}`, true)
		}
		set := strings.ReplaceAll(odd.set, `"kid":"odd"`, fmt.Sprintf(`"kid":"odd-%d"`, i))
		if err := os.WriteFile(file, []byte(set), 0o600); err != nil {
			t.Fatal(err)
		}
		plan, dry := read("--dry-run")
		run, done := read("--yes")
		if dry.code != done.code || len(plan) != len(run) {
			t.Errorf("%s: the plan ends with %d and %d keys, the run with %d and %d: %s%s", odd.name, dry.code, len(plan), done.code, len(run), dry.stderr, done.stderr)
			continue
		}
		refused := len(plan) == 0
		for i, p := range plan {
			r := run[i]
			moves := r.Becomes == "deprecated" || r.Becomes == "standby"
			if p.KID != r.KID || p.Becomes != r.Becomes || p.Note != r.Note || r.Done != moves || r.Error != "" || p.Done {
				t.Errorf("%s: the plan %+v, the run %+v", odd.name, p, r)
			}
			if !moves && r.Note == "" && r.Becomes != "there" {
				t.Errorf("%s is %s without a reason", odd.name, r.Becomes)
			}
			refused = refused || r.Becomes == "refused"
			outcomes[r.Becomes]++
		}
		strangers := !slices.ContainsFunc(run, func(r stepReport) bool { return r.Becomes != "left" })
		if (done.code == exitOK) == (refused || strangers) {
			t.Errorf("%s: exit code %d of %+v: %s", odd.name, done.code, run, done.stderr)
		}
		if strings.Contains(odd.name, " public ") {
			judged++
			judgeByAPI(t, ask, odd.name, set, plan, dry.code)
			if judged%8 == 0 || outside[odd.name] {
				judgeByKeyImport(t, env, odd.name, file, plan, dry.code)
			}
		}
	}
	for _, becomes := range []string{"deprecated", "left", "refused"} {
		if outcomes[becomes] == 0 {
			t.Errorf("no key is %s", becomes)
		}
	}
	t.Logf("outcomes: %v, %d judged by the API", outcomes, judged)
	if judged == 0 {
		t.Error("the API judged no key")
	}
	if n := len(imported(t, env, tenant)); n == 0 {
		t.Error("the last tenant has no imported key")
	}
}

// outcomesOf counts what becomes of the keys of a plan: those that come in, those that are
// left behind and those that are refused. Entries of one key come in once.
func outcomesOf(plan []stepReport) (in, left, refused int) {
	for _, s := range plan {
		switch {
		case s.Becomes == "refused":
			refused++
		case s.Becomes == "left" && !strings.Contains(s.Note, "twice"):
			left++
		case s.Becomes != "left":
			in++
		}
	}
	return in, left, refused
}

// outcomesOfList counts the same of an answer of the API.
func outcomesOfList(list client.KeyList) (in, left, refused int) {
	for _, k := range list.Skipped {
		if k.Refused {
			refused++
		} else {
			left++
		}
	}
	return len(list.Items), left, refused
}

// judgeByAPI demands that the API judges a set of public keys as the plan does: the set
// alone, and its keys beside a good one, which none of them keeps out.
func judgeByAPI(t *testing.T, ask *recorder, name, set string, plan []stepReport, code int) {
	t.Helper()
	try := func(set string) (status int, list client.KeyList) {
		body, err := json.Marshal(map[string]any{"public_key": set, "dry_run": true, "expires_at": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)})
		if err != nil {
			t.Fatal(err)
		}
		status, answer := ask.post(t, "/v1/tenants/judge/keys/import", string(body))
		_ = json.Unmarshal([]byte(answer), &list)
		return status, list
	}
	status, list := try(set)
	if _, _, refused := outcomesOfList(list); (status == http.StatusOK && refused == 0) != (code == exitOK) {
		t.Errorf("%s: the plan ends with %d, the API answers %d and refuses %d: %+v", name, code, status, refused, plan)
	}
	rest, single := strings.CutPrefix(set, `{"keys":[`)
	if !single || len(plan) == 0 || strings.Contains(name, "member twice") {
		return
	}
	const good = `{"kty":"EC","crv":"P-256","alg":"ES256","kid":"good","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}` // RFC 7517 appendix A.1
	status, list = try(`{"keys":[` + good + `,` + rest)
	in, left, refused := outcomesOfList(list)
	planned, leftThere, refusedThere := outcomesOf(plan)
	if status != http.StatusOK || in != planned+1 || left != leftThere || refused != refusedThere {
		t.Errorf("%s: beside a good key by the API (%d) %d come in, %+v; in the plan %+v", name, status, in, list.Skipped, plan)
	}
}

// outside are the keys that key import tries although it tries few.
var outside = map[string]bool{"RSA public beside null": true, "EC public twice": true, "RSA public e=\"Aw\"": true, "RSA public e=\"AQ\"": true}

// judgeByKeyImport demands that the terminal judges a set of public keys as the plan does.
func judgeByKeyImport(t *testing.T, env environ, name, file string, plan []stepReport, code int) {
	t.Helper()
	r := keyward(t, env, "key", "import", "--tenant=judge", "--jwks="+file, "--dry-run", "--json")
	var list client.KeyList
	_ = json.Unmarshal([]byte(r.stdout), &list)
	in, _, refused := outcomesOfList(list)
	planned, _, refusedThere := outcomesOf(plan)
	if (r.code == exitOK) != (code == exitOK) || in != planned || in > 0 && refused != refusedThere {
		t.Errorf("%s: key import ends with %d and %d keys: %s%s; in the plan %+v", name, r.code, in, r.stdout, r.stderr, plan)
	}
}
