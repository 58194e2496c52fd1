package seal_test

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/keyward/keyward/keys/seal"
)

func TestSealAndOpen(t *testing.T) {
	k := newDataKey(t)
	rapid.Check(t, func(t *rapid.T) {
		tenant := uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "tenant"))
		version := rapid.Int32().Draw(t, "version")
		kid := rapid.String().Draw(t, "kid")
		plain := rapid.SliceOf(rapid.Byte()).Draw(t, "plain")
		sealed, err := k.Seal(tenant, version, kid, plain)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+29 || sealed[0] != 1 {
			t.Fatalf("sealed %d bytes to %x: not the layout drawn", len(plain), sealed)
		}
		got, err := k.Open(tenant, version, kid, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("opened %x, %v; want %x", got, err, plain)
		}
	})
}

func TestSealTwiceDiffers(t *testing.T) {
	k := newDataKey(t)
	a, _ := k.Seal(tenantA, 1, "kid", private)
	b, _ := k.Seal(tenantA, 1, "kid", private)
	if bytes.Equal(a, b) || bytes.Contains(a, private) {
		t.Error("sealing is not randomised, or not encryption")
	}
}

func TestOpenElsewhere(t *testing.T) {
	k := newDataKey(t)
	sealed, err := k.Seal(tenantA, 1, "kid", private)
	if err != nil {
		t.Fatal(err)
	}
	for what, open := range map[string]func() ([]byte, error){
		"other tenant":   func() ([]byte, error) { return k.Open(tenantB, 1, "kid", sealed) },
		"other version":  func() ([]byte, error) { return k.Open(tenantA, 2, "kid", sealed) },
		"other kid":      func() ([]byte, error) { return k.Open(tenantA, 1, "kid2", sealed) },
		"no kid":         func() ([]byte, error) { return k.Open(tenantA, 1, "", sealed) },
		"other data key": func() ([]byte, error) { return newDataKey(t).Open(tenantA, 1, "kid", sealed) },
	} {
		plain, err := open()
		if plain != nil || err != seal.ErrCannotOpen { //nolint:errorlint // nothing more may be said
			t.Errorf("%s: %q, %v", what, plain, err)
		}
	}
}

func TestOpenDamaged(t *testing.T) {
	k := newDataKey(t)
	sealed, err := k.Seal(tenantA, 1, "kid", private)
	if err != nil {
		t.Fatal(err)
	}
	damaged(sealed, func(what string, b []byte) {
		plain, err := k.Open(tenantA, 1, "kid", b)
		if plain != nil || err != seal.ErrCannotOpen { //nolint:errorlint // nothing more may be said
			t.Errorf("%s %x: %q, %v", what, b, plain, err)
		}
	})
}

func TestDestroyedDataKeyDoesNothing(t *testing.T) {
	k, m := newDataKey(t), newest(t, newRing(t))
	sealed, _ := k.Seal(tenantA, 1, "kid", private)
	k.Destroy()
	k.Destroy()
	_, err := k.Seal(tenantA, 1, "kid", private)
	wantErr(t, "Seal", err, seal.ErrDestroyed)
	_, err = k.Open(tenantA, 1, "kid", sealed)
	wantErr(t, "Open", err, seal.ErrDestroyed)
	_, err = m.WrapDataKey(t.Context(), tenantA, 1, k)
	wantErr(t, "WrapDataKey", err, seal.ErrDestroyed)
}

// A cache may destroy a key somebody uses. What was sealed meanwhile must have
// been sealed by the real key, never by one half zeroed.
func TestDestroyWhileInUse(t *testing.T) {
	m := newest(t, newRing(t))
	for range 50 {
		k := newDataKey(t)
		wrapped, err := m.WrapDataKey(t.Context(), tenantA, 1, k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := m.UnwrapDataKey(t.Context(), tenantA, 1, wrapped)
		if err != nil {
			t.Fatal(err)
		}
		var users sync.WaitGroup
		started := make(chan struct{}, 4)
		for range 4 {
			users.Go(func() { useUntilDestroyed(t, k, again, started) })
		}
		<-started
		k.Destroy()
		users.Wait()
	}
}

func useUntilDestroyed(t *testing.T, k, again *seal.DataKey, started chan<- struct{}) {
	for i := 0; ; i++ {
		sealed, err := k.Seal(tenantA, 1, "kid", private)
		if i == 0 {
			started <- struct{}{}
		}
		if errors.Is(err, seal.ErrDestroyed) {
			return
		}
		if plain, err := again.Open(tenantA, 1, "kid", sealed); err != nil || !bytes.Equal(plain, private) {
			t.Errorf("sealed by something else: %v", err)
			return
		}
	}
}

func TestDestroyZeroes(t *testing.T) {
	k, zeroes := newDataKey(t), make([]byte, 32)
	material := seal.Material(k)
	if bytes.Equal(material, zeroes) {
		t.Fatal("a fresh data key is all zeroes")
	}
	k.Destroy()
	if !bytes.Equal(material, zeroes) {
		t.Error("Destroy left key bytes in memory")
	}
}
