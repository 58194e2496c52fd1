package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keyward/keyward/client"
)

// movingCase is a file of moving/testdata/cases: what a real system wrote.
type movingCase struct {
	file   string
	source string   // of import-from
	plan   []string // "kid becomes algorithms", in any order
	code   int      // exit code of plan and run
	api    int      // status of the API for the file itself
	alg    string   // for the API, of a private key
	thumbs bool     // kids are thumbprints
}

var movingCases = []movingCase{
	{"cognito.json", "jwk-file", []string{"J4j+I06r0I0vpYnBNucugV8xAPV5/Xv4uYrrpwwSNK0= deprecated RS256", "abcdefghijklmnopqrsexample= deprecated RS256"}, exitOK, 201, "", false},
	{"forgerock-kc15616.json", "jwk-file", []string{
		"RId+oQm2IhmkUI1wTQUBPQm7jXY= deprecated RS256,RS512,RS384", "RId+oQm2IhmkUI1wTQUBPQm7jXY= left RS512", "RId+oQm2IhmkUI1wTQUBPQm7jXY= left RS384",
	}, exitOK, 201, "", false},
	{"kid-per-alg.json", "jwk-file", []string{"plain-kid deprecated RS256,RS512,RS384", "plain-kid left RS512", "plain-kid left RS384"}, exitOK, 201, "", false},
	{"hydra1.json", "hydra", []string{
		"public:b1a2c3d4-0000-4000-8000-1234567890ab standby RS256", "public:b1a2c3d4-0000-4000-8000-1234567890ab left RS256",
	}, exitOK, 400, "", false}, // a set with private keys is no file of public ones
	{"hydra1-private-jwk.json", "hydra", []string{"public:b1a2c3d4-0000-4000-8000-1234567890ab standby RS256"}, exitOK, 201, "RS256", false},
	{"dup2.json", "jwk-file", []string{"shared refused ES256", "shared refused ES256"}, exitFailed, 400, "", false},
	{"leadzero.json", "jwk-file", []string{"lz deprecated RS256", "sz deprecated ES256"}, exitOK, 201, "", false},
	{"leadzero-nokid.json", "jwk-file", []string{"kid deprecated RS256"}, exitOK, 201, "", true},
	{"ms2254.json", "jwk-file", []string{"7f4ms2254 deprecated RS256"}, exitOK, 201, "", false},
	{"ms2254-two.json", "jwk-file", []string{"other deprecated ES256", "7f4ms2254b deprecated RS256"}, exitOK, 201, "", false},
	{"ms-private.json", "jwk-file", []string{"mspriv standby RS256"}, exitOK, 201, "RS256", false},
	{"bom-jwks.json", "jwk-file", []string{"bom deprecated ES256"}, exitOK, 201, "", false},
	{"rsa-pss.pem", "oauth2-server", []string{"kid standby PS256"}, exitOK, 201, "PS256", true},
	{"rsa-pss.pub.pem", "oauth2-server", []string{"kid deprecated PS256"}, exitOK, 201, "", true},
	{"win-bom.pem", "oauth2-server", []string{"kid standby ES256"}, exitOK, 201, "ES256", true},
}

// One judge for the dry run, the run and the API: what the plan says is what happens, and
// a second run has nothing to do.
func TestMovingCases(t *testing.T) {
	env := served(t)
	ask := &recorder{url: env["KEYWARD_URL"], key: env["KEYWARD_API_KEY"]}
	files, err := os.ReadDir("../../moving/testdata/cases")
	if err != nil || len(files) != len(movingCases) {
		t.Errorf("%d files and %d cases: %v", len(files), len(movingCases), err)
	}
	for i, c := range movingCases {
		t.Run(c.file, func(t *testing.T) {
			for _, slug := range []string{fmt.Sprintf("run-%d", i), fmt.Sprintf("api-%d", i)} {
				ask.ask(t, "POST", "/v1/tenants", `{"slug":"`+slug+`","policies":[{"alg":"ES256","default":true},{"alg":"RS256"},{"alg":"PS256"}]}`, true)
			}
			c.check(t, env, ask, fmt.Sprintf("run-%d", i), fmt.Sprintf("api-%d", i))
		})
	}
	t.Run("key import", func(t *testing.T) { keyImportOfSets(t, env, ask) })
	t.Run("key import of private JWKs", func(t *testing.T) { keyImportOfPrivateJWKs(t, env, ask) })
}

// keyImportOfPrivateJWKs demands that a private JWK that names its algorithm needs no flag,
// alone or as the one key of a set.
func keyImportOfPrivateJWKs(t *testing.T, env environ, ask *recorder) {
	ask.ask(t, "POST", "/v1/tenants", `{"slug":"private"}`, true)
	for i, form := range []string{"%s", `{"keys":[%s]}`} {
		jwk := fmt.Sprintf(`{"kty":"EC","crv":"P-256","kid":"own-%d","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"`, i) // RFC 7517 appendix A.2
		for alg, code := range map[string]int{`,"alg":"ES384"}`: exitFailed, `}`: exitFailed, `,"alg":"ES256"}`: exitOK} {
			file := filepath.Join(t.TempDir(), "key.json")
			if err := os.WriteFile(file, []byte(fmt.Sprintf(form, jwk+alg)), 0o600); err != nil {
				t.Fatal(err)
			}
			if r := keyward(t, env, "key", "import", "--tenant=private", "--jwks="+file, "--dry-run"); r.code != code {
				t.Errorf("%s: exit code %d: %s", alg, r.code, r.stderr)
			}
		}
	}
}

// keyImportOfSets demands that key import fails, by name, if tokens of a key will not
// verify, takes the good keys all the same, and takes lists and nulls of .NET for absent.
func keyImportOfSets(t *testing.T, env environ, ask *recorder) {
	ask.ask(t, "POST", "/v1/tenants", `{"slug":"sets"}`, true)
	key := func(kid, alg, more string) string {
		return `{"kty":"EC","crv":"P-256","alg":"` + alg + `","kid":"` + kid + `","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"` + more + `}`
	}
	for i, c := range []struct {
		set, stderr string
		code, keys  int
	}{
		{`{"keys":[` + key("a", "ES256", `,"d":null,"oth":[]`) + `,{"kty":"oct","kid":"b","k":"AA"}]}`, "b was skipped", exitOK, 1},
		{`{"keys":[` + key("c", "ES256", `,"key_ops":["sign"]`) + `,` + key("d", "ES256K", "") + `]}`, "d is REFUSED", exitFailed, 2},
		{`{"keys":[{"kty":"oct","kid":"b","k":"AA"}]}`, "shared secret", exitFailed, 2},
	} {
		file := filepath.Join(t.TempDir(), "set.json")
		if err := os.WriteFile(file, []byte(c.set), 0o600); err != nil {
			t.Fatal(err)
		}
		r := keyward(t, env, "key", "import", "--tenant=sets", "--jwks="+file)
		if got := len(imported(t, env, "sets")); r.code != c.code || !strings.Contains(r.stderr, c.stderr) || got != c.keys {
			t.Errorf("%d: exit code %d, %d keys: %s", i, r.code, got, r.stderr)
		}
	}
}

func (c movingCase) check(t *testing.T, env environ, ask *recorder, tenant, other string) {
	file := filepath.Join("../../moving/testdata/cases", c.file)
	move := func(flags ...string) (plan []stepReport, r result) {
		r = keyward(t, env, append([]string{"import-from", c.source, file, "--tenant=" + tenant, "--json"}, flags...)...)
		var said struct{ Keys []stepReport }
		if err := json.Unmarshal([]byte(r.stdout), &said); err != nil {
			t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
		}
		return said.Keys, r
	}
	before := imported(t, env, tenant)
	plan, r := move("--dry-run")
	c.compare(t, "plan", plan)
	if r.code != c.code || len(imported(t, env, tenant)) != len(before) {
		t.Errorf("the dry run exits with %d, or changed something", r.code)
	}
	done, r := move("--yes")
	c.compare(t, "run", done)
	var wanted []string
	for _, s := range done {
		moves := s.Becomes == "standby" || s.Becomes == "deprecated"
		if s.Done != moves || s.Error != "" {
			t.Errorf("%+v", s)
		}
		if moves {
			wanted = append(wanted, s.KID+" "+s.Becomes+" "+strings.Join(orOne(s.Algs, s.Alg), ","))
		}
	}
	got := imported(t, env, tenant)
	if slices.Sort(wanted); r.code != c.code || !slices.Equal(got, wanted) {
		t.Errorf("exit code %d, the tenant has %q, the run said %q", r.code, got, wanted)
	}
	again, r := move("--yes")
	for _, s := range again {
		if s.Done || r.code != c.code || c.code == exitOK && s.Becomes != "there" && s.Becomes != "left" {
			t.Errorf("exit code %d; again: %+v", r.code, s)
		}
	}
	c.byAPI(t, env, ask, file, other)
}

// byAPI imports the file itself by the API, after a dry run.
func (c movingCase) byAPI(t *testing.T, env environ, ask *recorder, file, tenant string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	request := map[string]any{"public_key": string(text), "expires_at": time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)}
	if c.alg != "" {
		request = map[string]any{"private_key": string(text), "alg": c.alg}
	}
	for _, dry := range []bool{true, false} {
		request["dry_run"] = dry
		body, err := json.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		status, answer := ask.post(t, "/v1/tenants/"+tenant+"/keys/import", string(body))
		want := c.api
		if dry && want == 201 {
			want = 200
		}
		if status != want {
			t.Errorf("dry run %t: the API answers %d: %s", dry, status, answer)
		}
		if got := len(imported(t, env, tenant)); (got > 0) != (status == 201) {
			t.Errorf("dry run %t, status %d, and %d keys imported", dry, status, got)
		}
	}
}

// compare compares a plan with the case's.
func (c movingCase) compare(t *testing.T, what string, steps []stepReport) {
	t.Helper()
	var got []string
	for _, s := range steps {
		if c.thumbs && len(s.KID) == 43 {
			s.KID = "kid"
		}
		got = append(got, s.KID+" "+s.Becomes+" "+strings.Join(orOne(s.Algs, s.Alg), ","))
	}
	want := slices.Clone(c.plan)
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

func orOne(all []string, one string) []string {
	if len(all) == 0 {
		return []string{one}
	}
	return all
}

// imported returns "kid state algorithms" of the tenant's imported keys, sorted.
func imported(t *testing.T, env environ, tenant string) (all []string) {
	t.Helper()
	r := keyward(t, env, "key", "list", "--tenant="+tenant, "--json", "--limit=500")
	r.want(t, exitOK)
	var list client.KeyList
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Items {
		if k.Origin == client.KeyOriginImported {
			all = append(all, k.KID+" "+string(k.State)+" "+strings.ReplaceAll(algorithmsText(k), ", ", ","))
		}
	}
	slices.Sort(all)
	return all
}

// post sends a request and returns the status of the answer and its body.
func (r *recorder) post(t *testing.T, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}
