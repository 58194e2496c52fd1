package moves

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/db/dbtest"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/seal"
	"github.com/keyward/keyward/keys/signing"
)

// PostgreSQL restarts twice, once kindly and once killed, while tokens are
// signed, keys rotate and the worker works. Whatever fails fails as
// unavailable, nothing is lost, and all of it goes on without a restart.
func TestPostgreSQLRestartsUnderLoad(t *testing.T) {
	server := dbtest.NewServer(t)
	uri := "file:" + filepath.Join(t.TempDir(), "master.json")
	if _, err := seal.Init(t.Context(), uri); err != nil {
		t.Fatal(err)
	}
	p := newProcessOn(t, server.DSN(), uri)
	policy := asDefault(jose.ES256)
	policy.MaxPublishedKeys = 64
	made := p.tenant(t, "acme", policy)

	var load sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	rounds := make(chan struct{}, 1)
	again := func(name string, do func() error) {
		load.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && !errors.Is(err, ErrUnavailable) {
					t.Errorf("%s: %v", name, err)
					return
				}
				select {
				case rounds <- struct{}{}:
				default:
				}
			}
		})
	}
	again("sign", func() error { _, err := p.signer.SignToken(context.Background(), "acme", signing.Order{}); return err })
	again("work", func() error { _, err := p.store.RunDue(context.Background(), robot, 10); return err })
	again("list", func() error { _, err := p.store.List(context.Background(), made.ID, Filter{Limit: 5}); return err })
	rotated := 0
	again("rotate", func() error {
		time.Sleep(10 * time.Millisecond) // leaves room below max_published_keys
		if rotated >= 40 {
			return nil
		}
		_, err := p.store.Rotate(context.Background(), tester, made.ID, RotateRequest{})
		if err == nil {
			rotated++
		}
		return err
	})
	for _, restart := range []func(){server.Restart, func() { server.Kill(); server.Start() }} {
		<-rounds
		restart()
		<-p.connected
	}
	stop()
	load.Wait()
	p.sign(t, "acme")
	p.only(t, made.ID, keys.Active)
	p.only(t, made.ID, keys.Standby)
	p.intact(t, made.ID)
}
