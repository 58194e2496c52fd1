package moves

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keystest"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
)

// words are the 8-byte words of a private key as a traceback would print
// arguments.
func words(t *testing.T, p keys.Private) (words []string) {
	t.Helper()
	var raw []byte
	switch k := keystest.Signer(p).(type) {
	case *ecdsa.PrivateKey:
		raw, _ = k.Bytes()
	case ed25519.PrivateKey:
		raw = k.Seed()
	case *rsa.PrivateKey:
		raw = k.D.Bytes()
	}
	for ; len(raw) >= 8; raw = raw[8:] {
		words = append(words, fmt.Sprintf("%x", binary.LittleEndian.Uint64(raw)), fmt.Sprintf("%x", binary.BigEndian.Uint64(raw)))
	}
	return words
}

// holders are everything in a process that has a secret somewhere below it.
func (p *process) holders(t *testing.T, privates []keys.Private) map[string]any {
	t.Helper()
	held := map[string]any{"signer": p.signer, "custody": p.custody, "store": p.store, "generator": p.store.cfg.Generator, "config": p.store.cfg}
	for _, private := range privates {
		held["private "+string(private.Alg())] = private
		held["candidate "+string(private.Alg())] = candidate{private: private}
		held["pointer "+string(private.Alg())] = &private
	}
	acme, _, err := p.snapshots.Get(t.Context(), "ec")
	if err != nil {
		t.Fatal(err)
	}
	sealers, err := p.custody.Sealers(t.Context(), acme.TenantID)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sealers {
		held["data key"], held["sealer"] = s.Key, s
	}
	ring, err := seal.Open(t.Context(), p.master)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ring.Key(t.Context(), ring.Newest())
	if err != nil {
		t.Fatal(err)
	}
	held["master key"], held["opened"] = m, map[string]any{"opened": m}
	return held
}

// staleArgument matches an argument that a traceback marks as unreliable: the
// function has not stored it yet, so that the runtime prints the stack's content
// from earlier calls. crypto/ed25519 leaves the seed there at each signature (it
// compares its cached key with the caller's), and nothing but the runtime can
// erase it; SECURITY.md says so. All other arguments are searched.
var staleArgument = regexp.MustCompile(`0x[0-9a-f]+\?`)

// Whatever is printed, logged or marshaled, and whatever Go itself shows of a
// process at work (goroutines, profiles, panics), no private key is in it.
func TestNothingShowsAPrivateKey(t *testing.T) {
	p := newProcess(t)
	var privates []keys.Private
	p.store.cfg.Generator.onKey = func(made keys.Private, err error) {
		if learn(made, err); err == nil {
			privates = append(privates, made)
		}
	}
	for alg, slug := range map[jose.SignatureAlgorithm]string{jose.ES256: "ec", jose.EdDSA: "okp", jose.RS256: "rsa"} {
		p.tenant(t, slug, asDefault(alg))
	}
	ctx, stop := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for _, slug := range []string{"ec", "okp", "rsa"} {
		p.sign(t, slug)
		busy.Go(func() {
			for ctx.Err() == nil {
				_, _ = p.signer.SignToken(context.Background(), slug, signing.Order{})
			}
		})
	}
	var out bytes.Buffer
	for range 20 { // of a process at work
		var dump bytes.Buffer
		stacks := make([]byte, 1<<20)
		dump.Write(stacks[:runtime.Stack(stacks, true)])
		for _, name := range []string{"goroutine", "heap", "mutex", "block"} {
			for detail := 1; detail <= 2; detail++ {
				_ = pprof.Lookup(name).WriteTo(&dump, detail)
			}
		}
		out.Write(staleArgument.ReplaceAll(dump.Bytes(), []byte("_?")))
	}
	stop()
	busy.Wait()
	for name, held := range p.holders(t, privates) {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%q"} {
			fmt.Fprintf(&out, verb+"\n", held)
		}
		for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(h).Info(name, "held", held, slog.Group("g", "held", []any{held}))
		}
		text, err := json.Marshal(held)
		fmt.Fprintln(&out, string(text), err)
		fmt.Fprintln(&out, panicked(held))
	}
	for _, private := range privates {
		for _, err := range faults(t, private) {
			fmt.Fprintf(&out, "%v %+v %#v\n", err, err, err)
		}
		for _, secret := range append(secrets(t, private), words(t, private)...) {
			if strings.Contains(out.String(), secret) {
				t.Errorf("%s: the private key is shown", private.Alg())
			}
		}
	}
	if n := strings.Count(out.String(), "[redacted]"); n < 50 || !strings.Contains(out.String(), "SignToken") {
		t.Errorf("too little was looked at: %d redactions", n)
	}
}

// panicked is what a panic with a secret in scope, and in hand, tells.
func panicked(held any) (told string) {
	defer func() { told = fmt.Sprintf("%v\n%s", recover(), debug.Stack()) }()
	panic(fmt.Errorf("in the middle of things: %v", held))
}

// faults are the errors of everything that is given private key material.
func faults(t *testing.T, p keys.Private) (errs []error) {
	t.Helper()
	der, err := p.PKCS8()
	if err != nil {
		t.Fatal(err)
	}
	other := jose.ES384
	for at := 0; at < len(der); at += 7 {
		bent := bytes.Clone(der)
		bent[at] ^= 0x55
		_, err := keys.ParsePKCS8(p.Alg(), bent)
		_, cut := keys.ParsePKCS8(p.Alg(), der[:at])
		errs = append(errs, err, cut)
	}
	_, unfit := keys.ParsePKCS8(other, der)
	_, unfitKey := keys.NewPrivate(other, keystest.Signer(p))
	_, unknown := keys.ParsePKCS8("HS256", der)
	_, unequal := keys.ParsePair(p.Alg(), der, []byte(`{"kty":"oct","k":"AAAA"}`))
	return append(errs, unfit, unfitKey, unknown, unequal)
}

// secrets are a part of a private key in the forms in which it could be shown.
func secrets(t *testing.T, p keys.Private) []string {
	var raw []byte
	switch k := keystest.Signer(p).(type) {
	case *ecdsa.PrivateKey:
		raw, _ = k.Bytes()
	case ed25519.PrivateKey:
		raw = k.Seed()
	case *rsa.PrivateKey:
		raw = k.D.Bytes()
	default:
		t.Fatalf("%T", k)
	}
	part := raw[8:24]
	return []string{
		string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
		strings.Trim(fmt.Sprint(part), "[]"), base64.RawURLEncoding.EncodeToString(raw[9:24]), base64.RawStdEncoding.EncodeToString(raw[9:24]),
	}
}
