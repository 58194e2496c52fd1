package moves

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/keyward/keyward/keys/custody"
	"github.com/keyward/keyward/keys/seal"
)

// A master key that wraps anything cannot be retired, and how much it wraps is
// said.
func TestMasterKeyInUseIsNotRetired(t *testing.T) {
	p := newProcess(t, func(c *configs) { c.custody.RewrapBatch, c.custody.RewrapParallel = 2, 1 })
	for i := range 5 {
		p.tenant(t, fmt.Sprintf("t%d", i))
	}
	before, err := p.custody.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.refuses(t, before[0], 6)
	ctx, crash := context.WithCancel(t.Context())
	defer crash()
	_, err = p.custody.RotateMaster(ctx, tester, "", custody.RewrapOptions{Progress: func(done, _ int64) { crash() }})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
	if n, err := p.custody.Pending(t.Context()); n != 4 || err != nil {
		t.Errorf("%d data keys pending, %v", n, err)
	}
	p.refuses(t, before[0], 4)
	p.rotateMaster(t, "")
	if n, err := p.custody.Pending(t.Context()); n != 0 || err != nil {
		t.Errorf("%d data keys pending, %v", n, err)
	}
	if k, err := p.custody.RetireMaster(t.Context(), before[0].URI, before[0].Version); err != nil || k.RetiredAt == nil {
		t.Errorf("got %+v, %v", k, err)
	}
	if _, err := p.custody.RetireMaster(t.Context(), "file:/elsewhere", before[0].Version); !errors.Is(err, seal.ErrUnknownVersion) {
		t.Errorf("a version of another place: %v", err)
	}
}

func (p *process) refuses(t *testing.T, k custody.MasterStatus, dataKeys int64) {
	t.Helper()
	_, err := p.custody.RetireMaster(t.Context(), "", k.Version)
	var wraps *custody.WrapsError
	if !errors.As(err, &wraps) || wraps.DataKeys != dataKeys || !strings.Contains(err.Error(), fmt.Sprintf("wraps %d data keys", dataKeys)) {
		t.Errorf("got %v, want a refusal that counts %d", err, dataKeys)
	}
}
