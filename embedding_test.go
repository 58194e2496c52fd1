package keyward_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/jwks"
	"github.com/keyward/keyward/jwks/jwkstest"
)

func Example() {
	kw, err := keyward.Open(context.Background(), keyward.Config{
		DatabaseURL: os.Getenv("DATABASE_URL"),
		MasterKey:   "file:/var/lib/myapp/master.json", CreateMasterKey: true,
		PublicURL: "https://keys.example.com",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer kw.Close()
	key, err := kw.CreateAPIKey(context.Background(), "platform_admin", "", "myapp")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("KEYWARD_API_KEY=" + key)
	log.Print(http.ListenAndServe("127.0.0.1:8080", kw))
}

// embedded opens Keyward as a program does that embeds it, behind a server.
func embedded(t *testing.T, database, master string, changes ...func(*keyward.Config)) (*keyward.Service, string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	url := "http://" + server.Listener.Addr().String()
	config := keyward.Config{DatabaseURL: database, MasterKey: master, CreateMasterKey: true, PublicURL: url, Log: slog.New(slog.DiscardHandler)}
	for _, change := range changes {
		change(&config)
	}
	kw, err := keyward.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kw.Close)
	server.Config.Handler = kw
	server.Start()
	t.Cleanup(server.Close)
	return kw, url
}

// One call migrates an empty database, serves the API and the JWKS and runs the worker;
// the next start finds everything again.
func TestEmbedding(t *testing.T) {
	database, master := dbtest.Empty(t), "file:"+filepath.Join(t.TempDir(), "master.json")
	kw, url := embedded(t, database, master)
	key, err := kw.CreateAPIKey(t.Context(), "platform_admin", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	zero := int64(0)
	made, err := c.CreateTenant(t.Context(), client.CreateTenantRequest{
		Slug: "acme", JWKSMaxAgeSeconds: &zero, JWKSStaleWhileRevalidateSeconds: &zero, ClockSkewSeconds: &zero,
		Policies: []client.CreatePolicyRequest{{
			Alg: "ES256", RotationIntervalSeconds: new(int64(2)), PublishLeadSeconds: new(int64(1)),
			GracePeriodSeconds: new(int64(600)), MaxTokenTTLSeconds: new(int64(60)), DefaultTokenTTLSeconds: new(int64(60)),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := c.SignToken(t.Context(), "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice","aud":"api"}`)})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := jwks.NewVerifier(jwks.VerifierConfig{Issuer: made.Issuer, Audience: []string{"api"}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Keys: jwks.Config{AllowHTTP: true}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := verifier.Verify(t.Context(), signed.Token); err != nil || got.Subject != "alice" {
		t.Errorf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rotated := false
	for e, err := range c.Events(ctx, "acme", "") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Action == "key.deprecated" && e.Actor.Type == "worker" {
			rotated = true
			break
		}
	}
	if !rotated {
		t.Error("the worker has rotated nothing")
	}
	if resp, err := http.Get(url + "/readyz"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("readiness: %v, %v", resp, err)
	}
	kw.Close()
	kw.Close()
	again, url := embedded(t, database, master)
	if c, err = client.New(url, key); err != nil {
		t.Fatal(err)
	}
	if kept, err := c.GetTenant(t.Context(), "acme"); err != nil || kept.ID != made.ID {
		t.Errorf("after a restart: %+v, %v", kept, err)
	}
	if key, err = again.CreateAPIKey(t.Context(), "tenant_signer", "acme", "test"); err != nil {
		t.Fatal(err)
	}
	if c, err = client.New(url, key); err != nil {
		t.Fatal(err)
	}
	if _, err := c.SignToken(t.Context(), "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"bob"}`)}); err != nil {
		t.Error(err)
	}
}

// Open names what is missing, and leaves nothing behind.
func TestEmbeddingRefuses(t *testing.T) {
	database, master := dbtest.Empty(t), "file:"+filepath.Join(t.TempDir(), "master.json")
	good := keyward.Config{DatabaseURL: database, MasterKey: master, PublicURL: "https://keys.example.com", Log: slog.New(slog.DiscardHandler)}
	for name, change := range map[string]func(*keyward.Config){
		"no database":    func(c *keyward.Config) { c.DatabaseURL = "" },
		"no master key":  func(c *keyward.Config) { c.MasterKey = "" },
		"no public URL":  func(c *keyward.Config) { c.PublicURL = "" },
		"a final slash":  func(c *keyward.Config) { c.PublicURL += "/" },
		"not in ASCII":   func(c *keyward.Config) { c.PublicURL = "https://schlüssel.example" },
		"a relative URL": func(c *keyward.Config) { c.PublicURL = "keys.example.com" },
		"no store":       func(c *keyward.Config) { c.Publish = "/srv/keys" },
		"no directory":   func(c *keyward.Config) { c.Publish = "file://" + filepath.Join(t.TempDir(), "gone") },
		"a file":         func(c *keyward.Config) { c.Publish = "file://" + os.Args[0] },
	} {
		c := good
		change(&c)
		if _, err := keyward.Open(t.Context(), c); !errors.Is(err, keyward.ErrConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unmigrated := good
	unmigrated.SkipMigrations, unmigrated.CreateMasterKey = true, true
	if _, err := keyward.Open(t.Context(), unmigrated); err == nil {
		t.Error("it opens a database without a schema")
	}
	if _, err := keyward.Open(t.Context(), keyward.Config{DatabaseURL: database, MasterKey: "file:/nonexistent/master.json", PublicURL: good.PublicURL, Log: good.Log}); err == nil {
		t.Error("it opens without a master key")
	}
}

// Workloads sign in to an embedded Keyward. Their issuers may be in private networks only if
// the program allows it, and so may webhooks.
func TestEmbeddingWorkloads(t *testing.T) {
	issuer := jwkstest.New("https://ci.example.com", jose.ES256)
	server := httptest.NewServer(issuer)
	t.Cleanup(server.Close)
	identity := client.CreateWorkloadIdentityRequest{
		Name: "ci", Issuer: issuer.URL, Audience: "keyward", JWKSURI: new(server.URL + "/jwks.json"), Role: "tenant_signer", Rules: []client.ClaimRule{{Claim: "sub", Equals: new("job")}},
	}
	for allowed, networks := range map[bool][]netip.Prefix{true: {netip.MustParsePrefix("127.0.0.0/8")}, false: nil} {
		kw, url := embedded(t, dbtest.Empty(t), "file:"+filepath.Join(t.TempDir(), "master.json"), func(c *keyward.Config) { c.AllowNetworks = networks })
		admin := adminOfAcme(t, kw, url)
		if _, err := admin.CreateTenantWebhook(t.Context(), "acme", client.CreateWebhookRequest{URL: server.URL + "/hook"}); (err == nil) != allowed {
			t.Errorf("allowed %t, a webhook: %v", allowed, err)
		}
		if _, err := admin.CreateWorkloadIdentity(t.Context(), "acme", identity); (err == nil) != allowed {
			t.Errorf("allowed %t, an identity: %v", allowed, err)
		}
		if !allowed {
			continue
		}
		for sub, want := range map[string]bool{"job": true, "other": false} {
			workload, err := client.New(url, issuer.Token("1", jwkstest.Claims{"sub": sub, "aud": "keyward"}))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := workload.SignToken(t.Context(), "acme", client.SignTokenRequest{Claims: client.JSONObject(`{"sub":"alice"}`)}); (err == nil) != want {
				t.Errorf("a token of %s: %v", sub, err)
			}
		}
	}
}

// adminOfAcme makes a tenant acme, and returns a client that administers it.
func adminOfAcme(t *testing.T, kw *keyward.Service, url string) *client.Client {
	t.Helper()
	key, err := kw.CreateAPIKey(t.Context(), "platform_admin", "", "test")
	if err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(url, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.CreateTenant(t.Context(), client.CreateTenantRequest{Slug: "acme"}); err != nil {
		t.Fatal(err)
	}
	return admin
}

// An embedded Keyward copies the public documents to where the program says, byte for byte
// as it serves them.
func TestEmbeddingPublishes(t *testing.T) {
	dir := t.TempDir()
	kw, url := embedded(t, dbtest.Empty(t), "file:"+filepath.Join(t.TempDir(), "master.json"), func(c *keyward.Config) { c.Publish = "file://" + dir })
	adminOfAcme(t, kw, url)
	const path = "/t/acme/.well-known/jwks.json"
	resp, err := http.Get(url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	served, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %v", resp.Status, err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		copied, err := os.ReadFile(dir + path)
		if string(copied) == string(served) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("published is %q, %v; served is %q", copied, err, served)
		}
	}
}
