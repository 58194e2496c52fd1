package moves

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/seal/kmstest"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// A KMS is asked once per tenant's data key and process, never per signature.
func TestKMSIsAskedOncePerDataKey(t *testing.T) {
	kms := kmstest.NewAWS(t)
	calls := func() [2]int { return [2]int{kms.Calls("encrypt"), kms.Calls("decrypt")} }
	p := newProcessOn(t, dbtest.New(t), kms.URI)
	before := calls()
	p.tenant(t, "acme")
	if got := calls(); got != [2]int{before[0] + 1, before[1]} {
		t.Errorf("a new tenant: calls went from %v to %v, want one to encrypt", before, got)
	}
	p.tenant(t, "other")
	started := calls()
	q := p.another(t)
	started[0]++    // it tries the key
	started[1] += 3 // and the key check, and opens the authority key, once in its life
	if got := calls(); got != started {
		t.Errorf("a start: %v calls, want %v", got, started)
	}
	for range 100 {
		q.sign(t, "acme")
	}
	if got := calls(); got != [2]int{started[0], started[1] + 1} {
		t.Errorf("100 signatures: calls went from %v to %v, want one to decrypt", started, got)
	}
	for range 10 { // as readiness does
		if err := q.custody.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
	started[1]++
	q.signer.Missed() // as when a listener was away: the private keys are opened again, the data key is not
	q.sign(t, "acme")
	q.sign(t, "other")
	if got := calls(); got != [2]int{started[0], started[1] + 2} {
		t.Errorf("another tenant: %v calls after %v", got, started)
	}
}

// While the KMS is away, what is open goes on, and the rest can be tried again.
func TestKMSAway(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcessOn(t, dbtest.New(t), kms.URI+"&timeout=100ms")
	p.tenant(t, "warm")
	p.tenant(t, "cold")
	p.cold()
	p.sign(t, "warm")
	away := kmstest.VaultFault(http.StatusServiceUnavailable, "Vault is sealed")
	kms.Instead(away, away, away, away, away, away)
	p.sign(t, "warm")
	if _, err := p.signer.SignToken(t.Context(), "cold", signing.Order{}); !errors.Is(err, ErrUnavailable) {
		t.Errorf("signing: %v", err)
	}
	_, err := p.store.CreateTenant(t.Context(), tester, tenant.Spec{Slug: "later", Caching: tenant.DefaultCaching})
	if !errors.Is(err, ErrUnavailable) {
		t.Errorf("creating: %v", err)
	}
	p.sign(t, "cold")
	p.tenant(t, "later")
}

// From a file to a KMS, to another KMS, and back to each, while tokens are
// signed; each process follows by itself.
func TestMasterKeyMovesToAKMSAndBack(t *testing.T) {
	aws, vault := kmstest.NewAWS(t), kmstest.NewVault(t)
	p := newProcess(t)
	file := p.master
	made := p.tenant(t, "acme")
	for i := range 20 {
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	other := p.another(t)
	var busy sync.WaitGroup
	stop := make(chan struct{})
	busy.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			other.cold()
			if _, err := other.signer.SignToken(t.Context(), "acme", signing.Order{}); err != nil {
				t.Errorf("signing meanwhile: %v", err)
				return
			}
		}
	})
	for _, to := range []string{aws.URI, vault.URI, vault.URI, aws.URI, file} {
		if r := p.rotateMaster(t, to); r.Rewrapped < 22 || r.Current.DataKeys != 22 || r.Current.Usable != nil || len(r.Retired) == 0 {
			t.Fatalf("to %s: %+v", to, r)
		}
		startProcess(t, p.dsn, to, p.clock).sign(t, "t7")
	}
	close(stop)
	busy.Wait()
	p.intact(t, made.ID)
}

// A rotation in place is the KMS's own, and the message says so; a file that
// is configured but was left is not returned to by accident.
func TestMasterRotateInPlaceOnAKMS(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcess(t)
	p.tenant(t, "acme")
	p.rotateMaster(t, kms.URI)
	for what, q := range map[string]*process{"still configured with the file": p, "configured with the KMS": startProcess(t, p.dsn, kms.URI, p.clock)} {
		_, err := q.custody.RotateMaster(t.Context(), tester, "", custody.RewrapOptions{})
		if !errors.Is(err, seal.ErrReadOnly) || !strings.Contains(err.Error(), "vault write -f transit/keys/keyward/rotate") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A key that may encrypt and not decrypt would take everything with it.
func TestMasterKeyDoesNotMoveToAKMSThatCannotDecrypt(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcess(t)
	p.tenant(t, "acme")
	well := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"data":{"ciphertext":"vault:v1:AAAA"}}`))
	}
	kms.Instead(well, kmstest.VaultFault(http.StatusForbidden, "permission denied"))
	if _, err := p.custody.RotateMaster(t.Context(), tester, kms.URI, custody.RewrapOptions{}); !errors.Is(err, seal.ErrDenied) {
		t.Errorf("got %v", err)
	}
	p.tenant(t, "later")
	p.rotateMaster(t, "file:"+filepath.Join(t.TempDir(), "next.json"))
}

// Who sets the variable adds the next version to its value, everywhere, and
// then has Keyward move to it.
func TestMasterKeyInAVariableRotates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.json")
	ring, err := seal.Init(t.Context(), "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	set := func() {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("KEYWARD_TEST_KEYSET", base64.StdEncoding.EncodeToString(data))
	}
	set()
	p := newProcessOn(t, dbtest.New(t), "env:KEYWARD_TEST_KEYSET")
	p.tenant(t, "acme")
	if _, err := p.custody.RotateMaster(t.Context(), tester, "env:KEYWARD_TEST_KEYSET", custody.RewrapOptions{}); !errors.Is(err, seal.ErrReadOnly) {
		t.Errorf("with the same value: %v", err)
	}
	next, err := ring.AddVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	set()
	if r := p.rotateMaster(t, "env:KEYWARD_TEST_KEYSET"); r.Current.Version != next || r.Rewrapped != 2 {
		t.Errorf("got %+v", r)
	}
	p.another(t).sign(t, "acme")
}
