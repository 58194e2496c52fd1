package moves

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/tenant"
)

// together calls do n times at once and returns the errors.
func together(n int, do func(i int) error) []error {
	var (
		wg    sync.WaitGroup
		errs  = make([]error, n)
		start = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func succeeded(errs []error) (n int) {
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	return n
}

func TestFiftyCreationsOfOneSlug(t *testing.T) {
	a := newProcess(t)
	b := a.another(t)
	errs := together(50, func(i int) error {
		p := []*process{a, b}[i%2]
		_, err := p.store.CreateTenant(context.Background(), tester, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching})
		return err
	})
	if n := succeeded(errs); n != 1 {
		t.Errorf("%d creations of one slug succeeded", n)
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, tenant.ErrSlugTaken) {
			t.Errorf("refused with %v", err)
		}
	}
	made, err := a.tenants.Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	a.only(t, made.ID, keys.Active)
	a.only(t, made.ID, keys.Standby)
	a.intact(t, made.ID)
}

func TestFiftyRotationsAndRevocationsOnTwoProcesses(t *testing.T) {
	a := newProcess(t)
	b := a.another(t)
	policy := tenant.DefaultPolicy(jose.ES256)
	policy.MaxPublishedKeys = 64
	made := a.tenant(t, "acme", policy)
	victims := append(a.in(t, made.ID, keys.Active), a.in(t, made.ID, keys.Standby)...)
	errs := together(50, func(i int) error {
		p, ctx := []*process{a, b}[i%2], context.Background()
		if i < 10 {
			_, err := p.store.Revoke(ctx, tester, made.ID, victims[i%len(victims)], RevokeRequest{Reason: keys.Compromised})
			return err
		}
		_, err := p.store.Rotate(ctx, tester, made.ID, RotateRequest{})
		return err
	})
	for i, err := range errs[:10] {
		if err != nil && !errors.Is(err, keys.ErrInvalidTransition) {
			t.Errorf("revocation %d: %v", i, err)
		}
	}
	if n := succeeded(errs[:10]); n != len(victims) {
		t.Errorf("%d revocations of %d keys succeeded", n, len(victims))
	}
	for i, err := range errs[10:] {
		if err != nil {
			t.Errorf("rotation %d: %v", i, err)
		}
	}
	a.only(t, made.ID, keys.Active)
	a.only(t, made.ID, keys.Standby)
	if got := len(a.in(t, made.ID, "")); got < 2+40 {
		t.Errorf("%d keys after 40 rotations: an update was lost", got)
	}
	a.intact(t, made.ID)
}

func TestTwoWorkersAtOnce(t *testing.T) {
	a := newProcess(t)
	b := a.another(t)
	var made []tenant.Tenant
	for i := range 40 {
		made = append(made, a.tenant(t, fmt.Sprintf("t%d", i)))
	}
	a.clock.Advance(31 * 24 * time.Hour)
	errs := together(8, func(i int) error {
		p := []*process{a, b}[i%2]
		for {
			done, err := p.store.RunDue(context.Background(), robot, 7)
			if err != nil || done.Tenants == 0 {
				return err
			}
		}
	})
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range made {
		a.only(t, m.ID, keys.Active)
		a.only(t, m.ID, keys.Standby)
		a.only(t, m.ID, keys.Deprecated)
		a.intact(t, m.ID)
	}
}

// A rotation that dies at any of its statements is whole or absent: each round
// lets one more statement through before the backend is killed.
func TestRotationKilledAtEveryStatement(t *testing.T) {
	p := newProcess(t)
	policy := tenant.DefaultPolicy(jose.ES256)
	policy.MaxPublishedKeys = 64
	made := p.tenant(t, "acme", policy)
	dbtest.Exec(t, p.dsn, `
		CREATE SEQUENCE killer;
		GRANT ALL ON killer TO PUBLIC;
		CREATE TABLE kill_at (n bigint);
		GRANT SELECT ON kill_at TO PUBLIC;
		INSERT INTO kill_at VALUES (0);
		CREATE FUNCTION kill_now() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF nextval('killer') = (SELECT n FROM kill_at) THEN
				PERFORM pg_terminate_backend(pg_backend_pid());
			END IF;
			RETURN NULL;
		END $$;
		ALTER FUNCTION kill_now() SECURITY DEFINER;
		CREATE TRIGGER kill AFTER INSERT OR UPDATE ON keys FOR EACH ROW EXECUTE FUNCTION kill_now();
		CREATE TRIGGER kill AFTER INSERT ON audit_events FOR EACH ROW EXECUTE FUNCTION kill_now();
		CREATE TRIGGER kill AFTER UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION kill_now();
		CREATE TRIGGER kill AFTER UPDATE ON policies FOR EACH ROW EXECUTE FUNCTION kill_now();
	`)
	killed := 0
	for n := 1; ; n++ {
		dbtest.Exec(t, p.dsn, fmt.Sprintf("ALTER SEQUENCE killer RESTART; UPDATE kill_at SET n = %d", n))
		active, standby, events := p.only(t, made.ID, keys.Active), p.only(t, made.ID, keys.Standby), len(p.actions(t, made))
		_, err := p.store.Rotate(t.Context(), tester, made.ID, RotateRequest{})
		p.intact(t, made.ID)
		if err == nil {
			break // n is beyond the last statement
		}
		killed++
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("killed at %d: %v", n, err)
		}
		if p.only(t, made.ID, keys.Active) != active || p.only(t, made.ID, keys.Standby) != standby || len(p.actions(t, made)) != events {
			t.Fatalf("killed at %d: half a rotation is left", n)
		}
	}
	if killed < 7 {
		t.Errorf("killed %d times only", killed)
	}
}

// A tenant whose data key does not open is put off and keeps nobody else from
// rotating; no key is made in place of those that cannot be read.
func TestDamagedTenantIsPutOff(t *testing.T) {
	p := newProcess(t)
	damaged, healthy := p.tenant(t, "damaged"), p.tenant(t, "healthy")
	dbtest.Exec(t, p.dsn, "UPDATE data_keys SET wrapped = set_byte(wrapped, 20, get_byte(wrapped, 20) # 1) WHERE tenant_id = '"+damaged.ID.String()+"'")
	q := p.another(t)
	active, standby := q.only(t, damaged.ID, keys.Active), q.only(t, damaged.ID, keys.Standby)
	q.clock.Advance(31 * 24 * time.Hour)
	q.tick(t)
	q.only(t, healthy.ID, keys.Deprecated)
	if q.only(t, damaged.ID, keys.Active) != active || q.only(t, damaged.ID, keys.Standby) != standby {
		t.Error("the damaged tenant moved")
	}
	if _, err := q.store.Rotate(t.Context(), tester, damaged.ID, RotateRequest{}); !errors.Is(err, custody.ErrDataKey) {
		t.Errorf("rotating by hand: %v", err)
	}
	if _, err := q.signer.SignToken(t.Context(), "damaged", signing.Order{}); err == nil {
		t.Error("a token was signed")
	}
	if _, err := q.signer.SignToken(t.Context(), "healthy", signing.Order{}); err != nil {
		t.Errorf("another tenant cannot sign: %v", err)
	}
}

// Creations of one Idempotency-Key make one tenant.
func TestIdempotentCreation(t *testing.T) {
	p := newProcess(t)
	once := tenant.Once{CredentialID: "c", Key: "k", RequestHash: make([]byte, 32)}
	var first atomic.Int64
	answers := make([]tenant.Answer, 20)
	errs := together(20, func(i int) error {
		a, replayed, err := p.tenants.RunOnce(context.Background(), once, func(ctx context.Context) (tenant.Answer, error) {
			made, err := p.store.CreateTenant(ctx, tester, tenant.Spec{Slug: "acme", Caching: tenant.DefaultCaching})
			return tenant.Answer{Status: 201, Body: made.ID[:]}, err
		})
		if err == nil && !replayed {
			first.Add(1)
		}
		answers[i] = a
		return err
	})
	if n := succeeded(errs); n != 20 || first.Load() != 1 {
		t.Fatalf("%d created, %d answered: %v", first.Load(), n, errs)
	}
	made, err := p.tenants.Get(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Status != 201 || !bytes.Equal(a.Body, made.ID[:]) {
			t.Errorf("%d: %+v", i, a)
		}
	}
}
