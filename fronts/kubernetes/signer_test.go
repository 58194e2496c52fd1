package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	externaljwt "k8s.io/externaljwt/apis/v1"

	"github.com/keyward/keyward"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
)

// cluster is a running Keyward, a tenant for a Kubernetes cluster, and the signer in front.
type cluster struct {
	*apiServer
	admin  *client.Client
	server *httptest.Server
	key    string // of the role tenant_signer
	issuer string
	socket string
}

// startKeyward runs Keyward with the tenant k8s.
func startKeyward(t *testing.T, tenant client.CreateTenantRequest) *cluster {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	kw, err := keyward.Open(t.Context(), keyward.Config{
		DatabaseURL: dbtest.Empty(t), MasterKey: "file:" + filepath.Join(t.TempDir(), "master.json"), CreateMasterKey: true,
		PublicURL: url, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kw.Close)
	server.Config.Handler = kw
	server.Start()
	t.Cleanup(server.Close)
	secret, err := kw.CreateAPIKey(t.Context(), "platform_admin", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(url, secret)
	if err != nil {
		t.Fatal(err)
	}
	tenant.Slug, tenant.Policies[0].Default = "k8s", new(true)
	made, err := admin.CreateTenant(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	secret, err = kw.CreateAPIKey(t.Context(), "tenant_signer", "k8s", "cluster")
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{admin: admin, server: server, key: secret, issuer: made.Issuer}
}

// start runs the program as an operator does and connects to it as kube-apiserver does.
func (c *cluster) start(t *testing.T, flags ...string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "signer") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	c.socket = filepath.Join(dir, "k.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"--tenant", "k8s", "--socket", c.socket}, flags...), c.environment, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the signer ended with %v", err)
		}
	})
	conn, err := grpc.NewClient("unix:"+c.socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c.apiServer = &apiServer{signer: externaljwt.NewExternalJWTSignerClient(conn), issuer: c.issuer}
	startup, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	if err := c.sync(startup); err != nil {
		select {
		case err := <-ended:
			ended <- nil
			t.Fatal(err)
		default:
			t.Fatal(err)
		}
	}
}

func (c *cluster) environment(name string) string {
	return map[string]string{"KEYWARD_URL": c.server.URL, "KEYWARD_API_KEY": c.key}[name]
}

// apiServer does what kube-apiserver does with an external signer, as strictly.
type apiServer struct {
	signer externaljwt.ExternalJWTSignerClient
	issuer string

	mu   sync.Mutex
	keys map[string]*externaljwt.Key
	hint int64
	at   time.Time
}

// sync reads the keys.
func (a *apiServer) sync(ctx context.Context) error {
	set, err := a.signer.FetchKeys(ctx, &externaljwt.FetchKeysRequest{})
	if err != nil {
		return err
	}
	if set.RefreshHintSeconds <= 0 || len(set.Keys) == 0 || set.DataTimestamp.CheckValid() != nil {
		return fmt.Errorf("kube-apiserver refuses the key set %v", set)
	}
	keys := map[string]*externaljwt.Key{}
	for _, key := range set.Keys {
		if len(key.KeyId) == 0 || len(key.KeyId) > 1024 || len(key.Key) == 0 {
			return fmt.Errorf("kube-apiserver refuses the key %v", key)
		}
		if _, err := x509.ParsePKIXPublicKey(key.Key); err != nil {
			return err
		}
		keys[key.KeyId] = key
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys, a.hint, a.at = keys, set.RefreshHintSeconds, set.DataTimestamp.AsTime()
	return nil
}

// find returns a key, for which an unknown kid is looked up once more.
func (a *apiServer) find(ctx context.Context, kid string) (*externaljwt.Key, error) {
	for range 2 {
		a.mu.Lock()
		key := a.keys[kid]
		a.mu.Unlock()
		if key != nil {
			return key, nil
		}
		if err := a.sync(ctx); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("no key %s", kid)
}

// claims are those of a bound service account token.
func (a *apiServer) claims(lifetime time.Duration) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": a.issuer, "sub": "system:serviceaccount:default:build", "aud": []string{"https://kubernetes.default.svc"},
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lifetime).Unix(), "jti": "a0e2d1d6-73a4-4f2a-9a38-2f34a3a3a1f0",
		"kubernetes.io": map[string]any{
			"namespace": "default", "serviceaccount": map[string]any{"name": "build", "uid": "7d6f"},
			"pod": map[string]any{"name": "build-<1>", "uid": "91cc"},
		},
	}
}

// token has claims signed and refuses the header that kube-apiserver refuses.
func (a *apiServer) token(ctx context.Context, claims map[string]any) (string, error) {
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	payload := base64.RawURLEncoding.EncodeToString(text)
	signed, err := a.signer.Sign(ctx, &externaljwt.SignJWTRequest{Claims: payload})
	if err != nil {
		return "", err
	}
	text, err = base64.RawURLEncoding.DecodeString(signed.Header)
	if err != nil {
		return "", err
	}
	var header struct{ Alg, Kid, Typ string }
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&header); err != nil || decoder.Decode(new(any)) != io.EOF {
		return "", fmt.Errorf("header %s: %w", text, err)
	}
	if header.Typ != "JWT" || header.Kid == "" || len(header.Kid) > 1024 || !slices.Contains(algorithms, header.Alg) || signed.Signature == "" {
		return "", fmt.Errorf("kube-apiserver refuses the header %s", text)
	}
	key, err := a.find(ctx, header.Kid)
	if err != nil || key.ExcludeFromOidcDiscovery {
		return "", fmt.Errorf("key %v: %w", key, err)
	}
	return signed.Header + "." + payload + "." + signed.Signature, nil
}

// verify authenticates a token by the keys that the signer gave.
func (a *apiServer) verify(ctx context.Context, token string) error {
	jws, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.ES384, jose.ES512})
	if err != nil {
		return err
	}
	key, err := a.find(ctx, jws.Signatures[0].Header.KeyID)
	if err != nil {
		return err
	}
	public, err := x509.ParsePKIXPublicKey(key.Key)
	if err != nil {
		return err
	}
	_, err = jws.Verify(public)
	return err
}

func policy(alg client.Alg, longest int64) client.CreatePolicyRequest {
	return client.CreatePolicyRequest{Alg: alg, MaxTokenTTLSeconds: new(longest), DefaultTokenTTLSeconds: new(int64(300)), GracePeriodSeconds: new(longest + 60)}
}

// Tokens of every algorithm that kube-apiserver accepts are signed and verified; the keys of
// other algorithms stay away from it. The hint is the tenant's max-age.
func TestSigner(t *testing.T) {
	c := startKeyward(t, client.CreateTenantRequest{JWKSMaxAgeSeconds: new(int64(120)), Policies: []client.CreatePolicyRequest{
		policy("ES256", 7200), policy("ES384", 7200), policy("ES512", 7200), policy("RS256", 7200), policy("PS256", 7200), policy("EdDSA", 7200), policy("ML-DSA-44", 7200),
	}})
	for _, alg := range algorithms {
		t.Run(alg, func(t *testing.T) {
			c.start(t, "--alg", alg)
			about, err := c.signer.Metadata(t.Context(), &externaljwt.MetadataRequest{})
			if err != nil || about.MaxTokenExpirationSeconds != 7140 {
				t.Fatalf("metadata %v, %v", about, err)
			}
			claims := c.claims(7140 * time.Second)
			token, err := c.token(t.Context(), claims)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.verify(t.Context(), token); err != nil {
				t.Error(err)
			}
			if header, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[0]); !strings.Contains(string(header), `"`+alg+`"`) {
				t.Errorf("header %s", header)
			}
			// A clock ahead of Keyward's by less than the skew costs no token.
			claims["iat"], claims["exp"] = time.Now().Unix()+30, time.Now().Unix()+7140+30
			if _, err := c.token(t.Context(), claims); err != nil {
				t.Error(err)
			}
			if c.hint != 120 || len(c.keys) != 2*len(algorithms) || time.Since(c.at) > time.Hour {
				t.Errorf("hint %d, %d keys, of %v; want 120, an active and a standby key for each algorithm", c.hint, len(c.keys), c.at)
			}
		})
	}
}

// While keys rotate, no token fails, neither when it is made nor until it expires.
func TestRotationUnderLoad(t *testing.T) {
	c := startKeyward(t, client.CreateTenantRequest{Policies: []client.CreatePolicyRequest{policy("ES256", 7200)}})
	c.start(t)
	const rotations, clients = 5, 4
	done := make(chan struct{})
	tokens := make([][]string, clients)
	var group sync.WaitGroup
	for i := range clients {
		group.Go(func() {
			for last := false; !last; {
				select {
				case <-done:
					last = true // one more after the last rotation
				default:
				}
				token, err := c.token(t.Context(), c.claims(time.Hour))
				if err == nil {
					err = c.verify(t.Context(), token)
				}
				if err != nil {
					t.Error(err)
					return
				}
				tokens[i] = append(tokens[i], token)
			}
		})
	}
	for range rotations {
		if _, err := c.admin.RotateKeys(t.Context(), "k8s", client.RotateRequest{}); err != nil {
			t.Error(err)
		}
	}
	close(done)
	group.Wait()
	if t.Failed() {
		return
	}
	if err := c.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	kids := map[string]bool{}
	for _, token := range slices.Concat(tokens...) {
		if err := c.verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		kids[strings.Split(token, ".")[0]] = true
	}
	if len(kids) < 2 {
		t.Errorf("all of the tokens have the same header: no rotation was seen")
	}
}

// A revoked key is no longer among the keys that kube-apiserver gets.
func TestRevocation(t *testing.T) {
	c := startKeyward(t, client.CreateTenantRequest{Policies: []client.CreatePolicyRequest{policy("ES256", 7200)}})
	c.start(t)
	token, err := c.token(t.Context(), c.claims(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.admin.RevokeActiveKey(t.Context(), "k8s", nil, client.RevokeActiveKeyJSONRequestBody{Reason: "compromised"}); err != nil {
		t.Fatal(err)
	}
	if err := c.sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.verify(t.Context(), token); err == nil {
		t.Error("a token of a revoked key is accepted")
	}
	if token, err = c.token(t.Context(), c.claims(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := c.verify(t.Context(), token); err != nil {
		t.Error(err)
	}
}

// What Keyward refuses reaches kube-apiserver with the reason.
func TestRefusals(t *testing.T) {
	c := startKeyward(t, client.CreateTenantRequest{Policies: []client.CreatePolicyRequest{policy("ES256", 7200), policy("ES384", 300), policy("EdDSA", 7200)}})
	c.start(t)
	for name, change := range map[string]func(claims map[string]any){
		"issuer": func(claims map[string]any) { claims["iss"] = "https://kubernetes.default.svc" },
		"exp":    func(claims map[string]any) { claims["exp"] = time.Now().Add(365 * 24 * time.Hour).Unix() },
	} {
		claims := c.claims(time.Hour)
		change(claims)
		if _, err := c.token(t.Context(), claims); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.signer.Sign(t.Context(), &externaljwt.SignJWTRequest{Claims: "e30"}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no claims: %v", err)
	}
	for flags, want := range map[string]string{
		"--alg=EdDSA": "does not accept", "--alg=RS256": "none of the algorithm RS256", "--alg=ES384": "must be 660 or more", "--tenant=other": "tenant_not_found",
	} {
		args := []string{"--tenant", "k8s", "--socket", filepath.Join(t.TempDir(), "s"), flags}
		if err := run(t.Context(), args, c.environment, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", flags, err, want)
		}
	}
	if _, err := c.admin.UpdateTenant(t.Context(), "k8s", client.UpdateTenantRequest{Status: new(client.TenantStatus("suspended"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.token(t.Context(), c.claims(time.Hour)); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a suspended tenant: %v", err)
	}
}

// While Keyward does not answer, kube-apiserver can start: it gets the last keys with their
// time, for as long as stale-if-error says, and no signature.
func TestOutage(t *testing.T) {
	for keep, want := range map[int64]codes.Code{86400: codes.OK, 0: codes.Unavailable} {
		t.Run(fmt.Sprint("stale-if-error ", keep), func(t *testing.T) {
			c := startKeyward(t, client.CreateTenantRequest{JWKSStaleIfErrorSeconds: new(keep), Policies: []client.CreatePolicyRequest{policy("ES256", 7200)}})
			c.start(t)
			token, err := c.token(t.Context(), c.claims(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			at := c.at
			c.server.Close()
			if _, err := c.token(t.Context(), c.claims(time.Hour)); status.Code(err) != codes.Unavailable {
				t.Errorf("sign: %v", err)
			}
			err = c.sync(t.Context())
			if status.Code(err) != want {
				t.Fatalf("fetch keys: %v, want %v", err, want)
			}
			if want != codes.OK {
				return
			}
			if c.hint != retryHint || !c.at.Equal(at) {
				t.Errorf("hint %d and time %v, want %d and %v", c.hint, c.at, retryHint, at)
			}
			if err := c.verify(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
}

// Only the owner may connect to the socket. One that a dead process left is replaced; one
// that is served, or a file, is not.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "signer")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s")
	first, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if second, err := listen(path); err == nil {
		second.Close()
		t.Fatal("a socket that is served was replaced")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	first.Close()
	second, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listen(path); err == nil {
		t.Error("a file was replaced")
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		t.Error("a file was removed")
	}
	if _, err := listen("@keyward"); err == nil {
		t.Error("a socket that everybody can connect to")
	}
}

// systemd hears that the service has started when kube-apiserver can connect, and not before.
func TestServiceManagerIsNotified(t *testing.T) {
	c := startKeyward(t, client.CreateTenantRequest{Policies: []client.CreatePolicyRequest{policy("ES256", 7200)}})
	dir, err := os.MkdirTemp("", "signer")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "n"))
	c.start(t)
	state := make([]byte, 100)
	n, err := manager.Read(state)
	if err != nil || string(state[:n]) != "READY=1" {
		t.Errorf("the service manager heard %q (%v)", state[:n], err)
	}
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// The credential comes from a variable or from a file that a variable names.
func TestAPIKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("kw_1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ key, file, want string }{{"kw_2", "", "kw_2"}, {"", path, "kw_1"}, {"kw_2", path, ""}, {"", path + "x", ""}} {
		got, err := apiKey(func(name string) string {
			return map[string]string{"KEYWARD_API_KEY": test.key, "KEYWARD_API_KEY_FILE": test.file}[name]
		})
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%+v: %q, %v", test, got, err)
		}
	}
}
