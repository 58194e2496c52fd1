package interop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/auth0/go-jwt-middleware/v2/validator"
	capjwt "github.com/hashicorp/cap/jwt"

	"github.com/keyward/keyward/interop/readers/cap"
	jwtmiddleware "github.com/keyward/keyward/interop/readers/go-jwt-middleware"
	gooidc "github.com/keyward/keyward/interop/readers/go-oidc"
	"github.com/keyward/keyward/interop/readers/jwx"
	"github.com/keyward/keyward/interop/readers/keyfunc"
	"github.com/keyward/keyward/interop/readers/kubernetes"
)

// reader is a verifier that nobody here wrote, set up by the example in its
// directory.
type reader struct {
	name string
	dir  string // below readers/
	file string // the example in it, which the run executes and docs/verifiers.md shows
	from string // where it comes from, for who lacks it

	// present is a command that succeeds where the reader is installed. Empty: it
	// is a module of go.mod.
	present []string
	open    func(t *testing.T, r *reader, tn *tenant, algorithms []string) session
	isParty bool // it signs people in, so open is nil

	needs string // what it has to be told
	cache string // how long it keeps a set, by its source or the example
	// coolsDown says that it fetches for an unknown kid unless it fetched in the last
	// 30 seconds.
	coolsDown bool
	conduct
}

// conduct is what a run of a reader shows.
type conduct struct {
	lacks []string // algorithms it does not verify
	// reads is the largest of the mixed sets in which it finds a key that it knows.
	reads string
	// refuses says that it refuses a token whose kid it does not know, and does not
	// fetch at once: as after two rotations within the lifetime of its cache.
	refuses bool
	// trusts says that it goes on to accept a key revoked in the mode standby.
	trusts bool
	// keeps says that it goes on to accept a key revoked in the mode fresh after it
	// has met a token of the key that took over.
	keeps bool
	// remembers says that then it goes on to accept a token that it has verified before,
	// though no other one of the revoked key.
	remembers bool
}

// The mixed sets, from the largest to the smallest: keys of all algorithms, without
// ML-DSA, and without EdDSA and Ed25519.
var mixedSets = []mixedSet{
	{"all", nil},
	{"no ML-DSA", postQuantum},
	{"EC and RSA", nothingButRSAandEC},
}

type mixedSet struct {
	name string
	lack []string
}

func (s mixedSet) has(alg string) bool { return !slices.Contains(s.lack, alg) }

const (
	needsJWKS      = "JWKS URL"
	needsDiscovery = "issuer (discovery)"
)

var (
	noPSSorOKP = append([]string{"PS256", "PS384", "PS512"}, nothingButRSAandEC...)
	// careful is what an example does that fetches by itself: at an unknown kid,
	// and what is older than 5 minutes.
	careful = conduct{lacks: noNewNames, reads: "all", trusts: true}
)

var foreignReaders = []*reader{
	{
		name: "go-oidc", dir: "go-oidc", file: "reader.go", from: "github.com/coreos/go-oidc/v3", open: openGo(openOIDC),
		needs: needsDiscovery, cache: "no limit",
		conduct: conduct{lacks: noNewNames, reads: "all", trusts: true},
	},
	{
		name: "keyfunc + golang-jwt", dir: "keyfunc", file: "reader.go", from: "github.com/MicahParks/keyfunc/v3", open: openGo(openKeyfunc),
		needs: needsJWKS, cache: "1 h",
		conduct: conduct{lacks: noNewNames, reads: "all", trusts: true},
	},
	{
		name: "jwx", dir: "jwx", file: "reader.go", from: "github.com/lestrrat-go/jwx/v3", open: openGo(openJWX),
		needs: needsJWKS, cache: "15 min, or `max-age` if longer",
		conduct: conduct{lacks: postQuantum, reads: "no ML-DSA", refuses: true, trusts: true, keeps: true},
	},
	{
		name: "HashiCorp cap", dir: "cap", file: "reader.go", from: "github.com/hashicorp/cap", open: openGo(byAlgorithm(func(ctx context.Context, tn *tenant, alg string) (verifySubject, error) {
			v, err := cap.NewVerifier(ctx, tn.issuer, audience, capjwt.Alg(alg))
			return v.Verify, err
		})),
		needs: needsDiscovery, cache: "no limit",
		conduct: conduct{lacks: noNewNames, reads: "all", trusts: true},
	},
	{
		name: "go-jwt-middleware", dir: "go-jwt-middleware", file: "reader.go", from: "github.com/auth0/go-jwt-middleware/v2", open: openGo(byAlgorithm(func(_ context.Context, tn *tenant, alg string) (verifySubject, error) {
			v, err := jwtmiddleware.NewVerifier(tn.issuer, audience, validator.SignatureAlgorithm(alg))
			return func(ctx context.Context, token string) (string, error) { return jwtmiddleware.Verify(ctx, v, token) }, err
		})),
		needs: needsDiscovery, cache: "5 min",
		conduct: conduct{lacks: noNewNames, reads: "no ML-DSA", refuses: true, trusts: true, keeps: true},
	},
	{
		name: "Kubernetes API server", dir: "kubernetes", file: "authentication.yaml", from: "k8s.io/apiserver", open: openKubernetes,
		needs: needsDiscovery + ", HTTPS", cache: "until an unknown kid comes after `max-age`",
		conduct: conduct{lacks: nothingButRSAandEC, reads: "no ML-DSA", refuses: true, trusts: true, keeps: true},
	},
	{
		name: "jose", dir: "jose", file: "reader.mjs", from: "npm: jose", open: openNodeReader("jose"),
		needs: needsJWKS, cache: "10 min", coolsDown: true,
		conduct: conduct{lacks: postQuantum, reads: "all", refuses: true, trusts: true},
	},
	{
		name: "jwks-rsa + jsonwebtoken", dir: "jwks-rsa", file: "reader.mjs", from: "npm: jwks-rsa, jsonwebtoken", open: openNodeReader("jwks-rsa,jsonwebtoken"),
		needs: needsJWKS, cache: "10 min for each key",
		conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true, keeps: true},
	},
	{
		name: "PyJWT", dir: "pyjwt", file: "reader.py", from: "Debian: python3-jwt, python3-cryptography", present: python("import jwt, cryptography"), open: openScript("drive.py", pythonPath, "PyJWT"),
		needs: needsJWKS, cache: "5 min", conduct: careful,
	},
	{
		name: "Authlib", dir: "authlib", file: "reader.py", from: "Debian: python3-authlib", present: python("import authlib.jose"), open: openScript("drive.py", pythonPath, "Authlib"),
		needs: needsJWKS, cache: "5 min", conduct: careful,
	},
	{
		name: "jwcrypto", dir: "jwcrypto", file: "reader.py", from: "Debian: python3-jwcrypto", present: python("import jwcrypto.jwt"), open: openScript("drive.py", pythonPath, "jwcrypto"),
		needs: needsJWKS, cache: "5 min", conduct: careful,
	},
	{
		name: "python-jose", dir: "python-jose", file: "reader.py", from: "Debian: python3-jose", present: python("import jose.jwt"), open: openScript("drive.py", pythonPath, "python-jose"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: noPSSorOKP, reads: "all", trusts: true},
	},
	{
		name: "ruby-jwt", dir: "ruby-jwt", file: "reader.rb", from: "Debian: ruby-jwt", present: []string{"ruby", "-e", "require 'jwt'"}, open: openScript("drive.rb", "ruby", "jwt"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "json-jwt", dir: "json-jwt", file: "reader.rb", from: "Debian: ruby-json-jwt", present: []string{"ruby", "-e", "require 'json/jwt'"}, open: openScript("drive.rb", "ruby", "json-jwt"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "Crypt::JWT", dir: "crypt-jwt", file: "reader.pl", from: "Debian: libcrypt-jwt-perl, libio-socket-ssl-perl", present: []string{"perl", "-MCrypt::JWT", "-MIO::Socket::SSL", "-e", "1"}, open: openScript("drive.pl", "perl", "Crypt::JWT"),
		needs: needsJWKS, cache: "5 min", conduct: careful,
	},
	{
		name: "latchset jose", dir: "latchset-jose", file: "reader.sh", from: "Debian: jose, jq, curl", present: []string{"sh", "-c", "command -v jose && command -v jq && command -v curl"}, open: openShell("jose"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "cjose", dir: "cjose", file: "reader.c", from: "Debian: libcjose-dev, libjansson-dev, pkg-config, gcc, curl", present: []string{"sh", "-c", "pkg-config --exists cjose jansson && command -v gcc && command -v curl"}, open: openC,
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "rhonabwy", dir: "rhonabwy", file: "reader.sh", from: "Debian: rnbyc, jq, curl", present: []string{"sh", "-c", "command -v rnbyc && command -v jq && command -v curl"}, open: openShell("rnbyc"),
		needs: needsJWKS, cache: "5 min", conduct: careful,
	},
	{
		name: "erlang-jose", dir: "erlang-jose", file: "reader.erl", from: "Debian: erlang-jose, erlang-jiffy, erlang-inets, erlang-ssl", present: []string{"erl", "-noshell", "-eval", "{module, _} = code:ensure_loaded(jose), {module, _} = code:ensure_loaded(jiffy), {module, _} = code:ensure_loaded(httpc), {module, _} = code:ensure_loaded(ssl), halt()."}, open: openScript("drive.escript", "escript", "jose"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: postQuantum, reads: "all", trusts: true},
	},
	{
		name: "HAProxy", dir: "haproxy", file: "haproxy.cfg", from: "Debian: haproxy", present: []string{sbin("haproxy"), "-v"}, open: openHAProxy,
		needs: "a PEM file for each key", cache: "until it is reloaded",
		conduct: conduct{lacks: noPSSorOKP, reads: "all", refuses: true, trusts: true, keeps: true},
	},
	{
		name: "mod_auth_openidc, resource server", dir: "mod_auth_openidc", file: "resource-server.conf", from: "Debian: apache2, libapache2-mod-auth-openidc",
		present: apacheWith("auth_openidc"), open: openApache("auth_openidc", "OIDCCABundlePath CABUNDLE"),
		needs: needsJWKS, cache: "1 h", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "mod_auth_openidc, relying party", dir: "mod_auth_openidc", file: "relying-party.conf", from: "Debian: apache2, libapache2-mod-auth-openidc",
		present: apacheWith("auth_openidc"), isParty: true,
		needs: needsDiscovery + " with the tenant's `metadata`: `authorization_endpoint`, `token_endpoint`", cache: "1 h",
		conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true},
	},
	{
		name: "mod_oauth2", dir: "mod_oauth2", file: "resource-server.conf", from: "Debian: apache2, libapache2-mod-oauth2",
		present: apacheWith("oauth2"), open: openApache("oauth2"),
		needs: needsJWKS, cache: "5 min", conduct: conduct{lacks: nothingButRSAandEC, reads: "all", trusts: true, remembers: true},
	},
}

// pythonPath is the interpreter that sees the packages of the system.
const pythonPath = "/usr/bin/python3"

func python(program string) []string { return []string{pythonPath, "-c", program} }

// apacheWith succeeds where Apache may be run with a module and a bundle of ours.
func apacheWith(module string) []string {
	return []string{"sh", "-c", "test -x " + sbin("apache2") + " && test -f " + apacheModules + "/mod_" + module + ".so && unshare -m true"}
}

// skipUnlessPresent says what is missing.
func (r *reader) skipUnlessPresent(t *testing.T) {
	t.Helper()
	if r.present == nil {
		return
	}
	if out, err := exec.CommandContext(t.Context(), r.present[0], r.present[1:]...).CombinedOutput(); err != nil {
		t.Skipf("%s is not installed (%s): %v %s", r.name, r.from, err, out)
	}
}

// openScript runs the example with an interpreter and a driver of readers/drive,
// which is told whose version to say.
func openScript(drive, interpreter, about string) func(*testing.T, *reader, *tenant, []string) session {
	return func(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
		dir, file := r.prepare(t, tn, algorithms)
		return startProcess(t, dir, interpreter, driver(t, drive), file, about)
	}
}

// openShell runs the example with bash.
func openShell(pkg string) func(*testing.T, *reader, *tenant, []string) session {
	return func(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
		dir, file := r.prepare(t, tn, algorithms)
		return startProcess(t, dir, "bash", driver(t, "drive.sh"), file, packaged(t, pkg))
	}
}

func openC(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
	dir, file := r.prepare(t, tn, algorithms)
	version := firstLine(t, "pkg-config", "--modversion", "cjose")
	flags := strings.Fields(firstLine(t, "pkg-config", "--cflags", "--libs", "cjose", "jansson"))
	args := append([]string{"-O1", "-Wall", "-Werror", `-DVERSION="` + version + `"`, "-o", filepath.Join(dir, "reader"), driver(t, "drive.c"), file}, flags...)
	if out, err := exec.CommandContext(t.Context(), "gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	return startProcess(t, dir, filepath.Join(dir, "reader"))
}

// openNodeReader runs the example beside the packages of node/.
func openNodeReader(packages string) func(*testing.T, *reader, *tenant, []string) session {
	return func(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
		if noNode != nil {
			t.Skip(noNode)
		}
		dir, file := r.prepare(t, tn, algorithms)
		modules, err := filepath.Abs(filepath.Join("node", "node_modules"))
		if err == nil {
			err = os.Symlink(modules, filepath.Join(dir, "node_modules"))
		}
		if err != nil {
			t.Fatal(err)
		}
		return startProcess(t, dir, "node", driver(t, "drive.mjs"), file, packages)
	}
}

// openGo opens a reader in this process. One that cannot be opened refuses all.
func openGo(open func(context.Context, *tenant, []string) (verifySubject, error)) func(*testing.T, *reader, *tenant, []string) session {
	return func(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
		verify, err := open(t.Context(), tn, algorithms)
		if err != nil {
			verify = func(context.Context, string) (string, error) { return "", err }
		}
		return session{version: required(t, r.from), verify: verify}
	}
}

func openOIDC(ctx context.Context, tn *tenant, _ []string) (verifySubject, error) {
	v, err := gooidc.NewVerifier(ctx, tn.issuer, audience)
	return func(ctx context.Context, token string) (string, error) { return gooidc.Verify(ctx, v, token) }, err
}

func openKeyfunc(ctx context.Context, tn *tenant, algorithms []string) (verifySubject, error) {
	v, err := keyfunc.NewVerifier(ctx, tn.jwks, tn.issuer, audience, algorithms...)
	return v.Verify, err
}

func openJWX(ctx context.Context, tn *tenant, _ []string) (verifySubject, error) {
	v, err := jwx.NewVerifier(ctx, tn.jwks, tn.issuer, audience)
	return v.Verify, err
}

// byAlgorithm opens a verifier for each algorithm, for readers that take one alone
// or refuse to start with one that they do not know.
func byAlgorithm(open func(context.Context, *tenant, string) (verifySubject, error)) func(context.Context, *tenant, []string) (verifySubject, error) {
	return func(ctx context.Context, tn *tenant, _ []string) (verifySubject, error) {
		var mu sync.Mutex
		verifiers := map[string]verifySubject{}
		return func(of context.Context, token string) (string, error) {
			alg := algorithmOf(token)
			mu.Lock()
			defer mu.Unlock()
			if verifiers[alg] == nil {
				verify, err := open(ctx, tn, alg)
				if err != nil {
					return "", err
				}
				verifiers[alg] = verify
			}
			return verifiers[alg](of, token)
		}, nil
	}
}

func openKubernetes(t *testing.T, r *reader, tn *tenant, algorithms []string) session {
	_, file := r.prepare(t, tn, algorithms)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return openGo(func(ctx context.Context, _ *tenant, _ []string) (verifySubject, error) {
		v, err := kubernetes.NewVerifier(ctx, text)
		return func(ctx context.Context, token string) (string, error) { return kubernetes.Verify(ctx, v, token) }, err
	})(t, r, tn, algorithms)
}

// required is the version of a module in go.mod.
func required(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(module) + ` v(\S+)$`).FindSubmatch(text)
	if version == nil {
		t.Fatalf("go.mod does not require %s", module)
	}
	return string(version[1])
}

// accepts says whether the session takes a token, and why not.
func (s session) accepts(t *testing.T, what string, tok token) bool {
	t.Helper()
	subject, err := s.verify(t.Context(), tok.Token)
	switch {
	case errors.Is(err, errBroken) || t.Context().Err() != nil:
		t.Fatalf("it could not be asked about %s: %v", what, err)
	case err == nil && subject != "alice":
		t.Errorf("%s: the subject is %q", what, subject)
	case err != nil:
		t.Logf("%s: %v", what, err)
	}
	return err == nil
}

func (s session) mustAccept(t *testing.T, what string, tok token) {
	t.Helper()
	if !s.accepts(t, what, tok) {
		t.Errorf("it refuses %s", what)
	}
}

func (s session) mustRefuse(t *testing.T, what string, tok token) {
	t.Helper()
	if s.accepts(t, what, tok) {
		t.Errorf("it accepts %s", what)
	}
}
