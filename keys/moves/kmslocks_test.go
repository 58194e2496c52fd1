package moves

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal/kmstest"
	"github.com/keyward/keyward/tenant"
)

// change is one that needs a data key.
type change struct {
	name string
	do   func(ctx context.Context, p *process, made tenant.Tenant) error
}

// changesWithDataKeys are all that seal or open private keys.
func changesWithDataKeys(t *testing.T) []change {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	imported := PrivateImport{Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), Alg: jose.ES256}
	return []change{
		{"rotation", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.Rotate(ctx, tester, made.ID, RotateRequest{})
			return err
		}},
		{"fresh revocation", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.Revoke(ctx, tester, made.ID, p.only(t, made.ID, keys.Active), RevokeRequest{Reason: keys.Compromised, Mode: FreshTakesOver})
			return err
		}},
		{"revoke-all", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.RevokeAll(ctx, tester, made.ID, keys.Compromised, "")
			return err
		}},
		{"policy", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, _, err := p.store.PutPolicy(ctx, tester, made.ID, tenant.DefaultPolicy(jose.ES384))
			return err
		}},
		{"import", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.ImportPrivate(ctx, tester, made.ID, imported)
			return err
		}},
		{"export", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.ExportPrivate(ctx, tester, made.ID, "test")
			return err
		}},
		{"rotation of the data key", func(ctx context.Context, p *process, made tenant.Tenant) error {
			_, err := p.store.RotateDataKey(ctx, tester, made.ID)
			return err
		}},
		{"creation of a tenant", func(ctx context.Context, p *process, _ tenant.Tenant) error {
			_, err := p.store.CreateTenant(ctx, tester, tenant.Spec{Slug: "later", Caching: tenant.DefaultCaching})
			return err
		}},
		{"scheduled work", func(ctx context.Context, p *process, made tenant.Tenant) error {
			dbtest.Exec(t, p.dsn, "UPDATE policies SET due_at = now() - interval '1 s' WHERE tenant_id = $1", made.ID)
			_, err := p.store.RunDue(ctx, robot, 10)
			return err
		}},
	}
}

// While a KMS is asked no transaction is open, whatever the change is: so it holds no
// lock, however long the answer takes.
func TestNoTransactionIsOpenWhileAKMSIsAsked(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcessOn(t, dbtest.New(t), kms.URI)
	made := p.tenant(t, "acme")
	conn, err := pgx.Connect(t.Context(), p.dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var mu sync.Mutex
	asked, open := 0, 0
	kms.Watch(func(context.Context) {
		mu.Lock()
		defer mu.Unlock()
		asked++
		// Transactions of other batches of a re-wrap end while this answer is awaited; one
		// that waits for it does not.
		n := 1
		for began := time.Now(); n > 0 && time.Since(began) < 2*time.Second; {
			if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'`).Scan(&n); err != nil {
				t.Error(err)
				break
			}
		}
		open += n
	})
	changes := append(changesWithDataKeys(t), change{"rotation of the master key", func(_ context.Context, p *process, _ tenant.Tenant) error {
		p.rotateMaster(t, "file:"+filepath.Join(t.TempDir(), "next.json"))
		p.rotateMaster(t, kms.URI)
		return nil
	}})
	for _, c := range changes {
		p.cold()
		mu.Lock()
		asked, open = 0, 0
		mu.Unlock()
		if err := c.do(t.Context(), p, made); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		mu.Lock()
		if asked == 0 || open > 0 {
			t.Errorf("%s: the KMS was asked %d times, with %d transactions open", c.name, asked, open)
		}
		mu.Unlock()
	}
	kms.Watch(nil)
	p.intact(t, made.ID)
}

// While a KMS hangs, changes of the same tenant and of others go on in another process, and
// in the same one where their data keys are open.
func TestChangesGoOnWhileAKMSHangs(t *testing.T) {
	kms := kmstest.NewVault(t)
	warm := newProcessOn(t, dbtest.New(t), kms.URI)
	for i, c := range changesWithDataKeys(t) {
		made, other := warm.tenant(t, fmt.Sprintf("acme-%d", i)), warm.tenant(t, fmt.Sprintf("other-%d", i))
		cold := warm.another(t)
		for _, open := range []struct {
			*process
			id uuid.UUID
		}{{warm, made.ID}, {warm, other.ID}, {cold, other.ID}} {
			if _, err := open.store.Rotate(t.Context(), tester, open.id, RotateRequest{}); err != nil {
				t.Fatal(err)
			}
		}
		hanging, hung := hang(kms)
		ctx, giveUp := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.do(ctx, cold, made) }()
		select {
		case <-hung:
		case err := <-done:
			t.Fatalf("%s asked no KMS: %v", c.name, err)
		}
		for name, p := range map[string]*process{"in another process": warm, "in the same process": cold} {
			if _, err := p.store.Rotate(t.Context(), tester, other.ID, RotateRequest{}); err != nil {
				t.Errorf("%s: another tenant %s: %v", c.name, name, err)
			}
		}
		if _, err := warm.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
			t.Errorf("%s: the same tenant in another process: %v", c.name, err)
		}
		giveUp()
		hanging()
		<-done
		warm.intact(t, made.ID)
	}
}

// hang lets the KMS answer nothing until resume is called. hung is closed once it was asked.
func hang(kms *kmstest.Server) (resume func(), hung <-chan struct{}) {
	asked, over := make(chan struct{}), make(chan struct{})
	var once sync.Once
	kms.Watch(func(ctx context.Context) {
		once.Do(func() { close(asked) })
		select {
		case <-over:
		case <-ctx.Done():
		}
	})
	return func() { kms.Watch(nil); close(over) }, asked
}

// A process that follows to a new master key in a KMS that hangs goes on with the old one's
// data keys meanwhile.
func TestMasterKeyThatHangsStopsNoChange(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcess(t)
	made := p.tenant(t, "acme")
	q := p.another(t)
	q.sign(t, "acme")
	if _, err := q.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Fatal(err)
	}
	p.rotateMaster(t, kms.URI)
	resume, hung := hang(kms)
	refreshed := make(chan error, 1)
	go func() { refreshed <- q.custody.Refresh(context.WithoutCancel(t.Context())) }()
	<-hung
	if _, err := q.store.Rotate(t.Context(), tester, made.ID, RotateRequest{}); err != nil {
		t.Errorf("rotation: %v", err)
	}
	q.sign(t, "acme")
	resume()
	if err := <-refreshed; err != nil {
		t.Errorf("refresh: %v", err)
	}
}

// A revocation needs no KMS: without one the new standby is left to the worker.
func TestRevocationWithoutKMS(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcessOn(t, dbtest.New(t), kms.URI+"&timeout=50ms")
	made := p.tenant(t, "acme")
	old, next := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby)
	p.cold()
	resume, _ := hang(kms)
	out, err := p.store.Revoke(t.Context(), tester, made.ID, old, RevokeRequest{Reason: keys.Compromised, Mode: StandbyTakesOver})
	if err != nil || out.Active == nil || out.Active.KID != next || out.Standby != nil {
		t.Errorf("got %+v, %v", out, err)
	}
	if _, err := p.store.RotateDataKey(t.Context(), tester, made.ID); err == nil {
		t.Error("a data key was rotated without a KMS")
	}
	resume()
	p.clock.Advance(time.Second)
	p.tick(t)
	if standby := p.only(t, made.ID, keys.Standby); standby == next {
		t.Error("the worker has added no standby")
	}
	p.intact(t, made.ID)
}

// Two rotations of one data key at once: the second is planned again with the first one's
// result.
func TestDataKeyChangedMeanwhile(t *testing.T) {
	kms := kmstest.NewVault(t)
	p := newProcessOn(t, dbtest.New(t), kms.URI)
	made := p.tenant(t, "acme")
	q := p.another(t)
	resume, hung := hang(kms)
	done := make(chan struct{})
	var r DataKeyRotation
	var err error
	go func() { r, err = q.store.RotateDataKey(t.Context(), tester, made.ID); close(done) }()
	<-hung
	kms.Watch(nil) // for the other process
	first, firstErr := p.store.RotateDataKey(t.Context(), tester, made.ID)
	resume()
	<-done
	if firstErr != nil || err != nil || first.Version != 2 || r.Version != 3 {
		t.Errorf("the first made version %d (%v), the second %d (%v)", first.Version, firstErr, r.Version, err)
	}
	q.sign(t, "acme")
	p.intact(t, made.ID)
}

// A change that needs a KMS which hangs is refused as one to be tried again, whether the
// KMS's own timeout or the request's deadline comes first, and changes nothing.
func TestKMSThatHangsIsUnavailable(t *testing.T) {
	kms := kmstest.NewVault(t)
	for name, c := range map[string]struct{ kms, request time.Duration }{
		"timeout of the KMS":      {50 * time.Millisecond, time.Minute},
		"deadline of the request": {time.Minute, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProcessOn(t, dbtest.New(t), kms.URI+"&timeout="+c.kms.String())
			made := p.tenant(t, "acme")
			for _, change := range changesWithDataKeys(t) {
				if change.name == "scheduled work" { // it is postponed
					continue
				}
				p.cold()
				resume, _ := hang(kms)
				ctx, cancel := context.WithTimeout(t.Context(), c.request)
				err := change.do(ctx, p, made)
				cancel()
				resume()
				if !errors.Is(err, ErrUnavailable) || errors.Is(err, custody.ErrDataKey) {
					t.Errorf("%s: %v", change.name, err)
				}
			}
			p.intact(t, made.ID)
		})
	}
}
