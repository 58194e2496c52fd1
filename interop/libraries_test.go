package interop

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

// The fourteen algorithms of Keyward.
var algorithms = []string{
	"ES256", "ES384", "ES512", "EdDSA", "Ed25519",
	"RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
	"ML-DSA-44", "ML-DSA-65", "ML-DSA-87",
}

// verify checks a token's signature, issuer and audience. It is one verifier
// with one cache.
type verify func(ctx context.Context, token string) error

// habit is what a verifier does about a kid that it does not know.
type habit int

const (
	refetches habit = iota // it looks at once
	coolsDown              // it looks unless it looked in the last 30 seconds
	waits                  // it looks when its set is old enough, whatever it meets
)

// library is a verifier nobody here wrote, as it is by default.
type library struct {
	name string
	node bool
	open func(t *testing.T, tn *tenant, alg string) verify
	// lacks are the algorithms it cannot verify in the versions of go.mod and
	// package.json. A test notices when it learns one.
	lacks []string

	// strict says that it refuses a whole set with a key of a type that it does not
	// know, instead of that key (RFC 7517 section 5).
	strict bool

	unknownKID habit
	// replaces says that fetching makes it forget what is no longer published.
	replaces bool
	// example is what Keyward calls it where it says how long verifiers trust a
	// revoked key; empty if it does not.
	example string
}

// cooldown is jose's: for so long after a fetch it does not fetch for a kid.
const cooldown = 30 * time.Second

// postQuantum are the algorithms of RFC 9964, with keys of type AKP.
var postQuantum = []string{"ML-DSA-44", "ML-DSA-65", "ML-DSA-87"}

var (
	nothingButRSAandEC = append([]string{"EdDSA", "Ed25519"}, postQuantum...)
	noNewNames         = append([]string{"Ed25519"}, postQuantum...)
)

var libraries = []library{
	{
		name: "go-oidc (discovery)", open: openExample(openOIDC), lacks: noNewNames,
		unknownKID: refetches, replaces: true, example: "coreos go-oidc RemoteKeySet",
	},
	{
		name: "go-oidc (jwks)", open: openExample(openOIDCKeySet), lacks: noNewNames,
		unknownKID: refetches, replaces: true, example: "coreos go-oidc RemoteKeySet",
	},
	{
		name: "keyfunc + golang-jwt", open: openExample(openKeyfunc), lacks: noNewNames,
		unknownKID: refetches, replaces: true, example: "MicahParks keyfunc",
	},
	{
		name: "jwx", open: openExample(openJWX), lacks: postQuantum, strict: true,
		unknownKID: waits, example: "lestrrat jwx jwk.Cache",
	},
	{
		name: "jose", node: true, open: openNode("jose"), lacks: postQuantum,
		unknownKID: coolsDown, replaces: true, example: "panva jose createRemoteJWKSet",
	},
	{
		name: "jwks-rsa + jsonwebtoken", node: true, open: openNode("jwks-rsa+jsonwebtoken"), lacks: nothingButRSAandEC,
		unknownKID: refetches, example: "node jwks-rsa",
	},
	{
		name: "jwks-rsa + jose", node: true, open: openNode("jwks-rsa+jose"), lacks: postQuantum,
		unknownKID: refetches, example: "node jwks-rsa",
	},
}

// openExample opens a verifier of the examples in readers/ for one algorithm.
func openExample(open func(context.Context, *tenant, []string) (verifySubject, error)) func(*testing.T, *tenant, string) verify {
	return func(t *testing.T, tn *tenant, alg string) verify {
		t.Helper()
		example, err := open(t.Context(), tn, []string{alg})
		if err != nil {
			t.Fatal(err)
		}
		return func(ctx context.Context, token string) error {
			_, err := example(ctx, token)
			return err
		}
	}
}

// present are the libraries that this machine can run.
func present() []library {
	return slices.DeleteFunc(slices.Clone(libraries), func(l library) bool { return l.node && clients == nil })
}

// verifier is an open library. Its cache is as old as opened says.
type verifier struct {
	library
	verify verify
	opened time.Time
}

type verifiers []verifier

// open makes a verifier of each library that knows alg, with an empty cache.
func open(t *testing.T, tn *tenant, alg string) (all verifiers) {
	t.Helper()
	for _, l := range present() {
		if !slices.Contains(l.lacks, alg) {
			all = append(all, verifier{l, l.open(t, tn, alg), time.Now()})
		}
	}
	return all
}

// accept demands that all verify the token.
func (vs verifiers) accept(t *testing.T, what string, tok token) {
	t.Helper()
	for _, v := range vs {
		if err := v.verify(t.Context(), tok.Token); err != nil {
			t.Errorf("%s refuses %s: %v", v.name, what, err)
		}
	}
}

// refuse demands that none does.
func (vs verifiers) refuse(t *testing.T, what string, tok token) {
	t.Helper()
	for _, v := range vs {
		switch err := v.verify(t.Context(), tok.Token); {
		case err == nil:
			t.Errorf("%s accepts %s", v.name, what)
		case errors.Is(err, errBroken) || t.Context().Err() != nil:
			t.Fatalf("%s could not be asked about %s: %v", v.name, what, err)
		}
	}
}

// those are the verifiers that are as asked.
func (vs verifiers) those(are func(verifier) bool) (some verifiers) {
	for _, v := range vs {
		if are(v) {
			some = append(some, v)
		}
	}
	return some
}
