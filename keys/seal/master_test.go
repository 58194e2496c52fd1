package seal_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strconv"
	"testing"

	"github.com/google/uuid"

	"github.com/keyward/keyward/keys/seal"
)

func TestWrapAndUnwrap(t *testing.T) {
	m, k := newest(t, newRing(t)), newDataKey(t)
	wrapped, err := m.WrapDataKey(t.Context(), tenantA, 3, k)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, seal.Material(k)) {
		t.Fatal("the wrapped data key holds the data key")
	}
	again, err := m.UnwrapDataKey(t.Context(), tenantA, 3, wrapped)
	if err != nil {
		t.Fatal(err)
	}
	sealed, _ := k.Seal(tenantA, 3, "kid", private)
	if plain, err := again.Open(tenantA, 3, "kid", sealed); err != nil || !bytes.Equal(plain, private) {
		t.Errorf("the unwrapped data key is another one: %v", err)
	}
}

func TestWrappedDataKeySaysItsVersion(t *testing.T) {
	m := newest(t, newRing(t))
	wrapped, err := m.WrapDataKey(t.Context(), tenantA, 1, newDataKey(t))
	if err != nil {
		t.Fatal(err)
	}
	id := strconv.FormatUint(uint64(binary.BigEndian.Uint32(wrapped[1:5])), 10)
	if len(wrapped) != 65 || wrapped[0] != 1 || id != m.Version() {
		t.Errorf("%d bytes, version %s; want 65 and %s, as drawn", len(wrapped), id, m.Version())
	}
}

func TestUnwrapElsewhere(t *testing.T) {
	r := newRing(t)
	m := newest(t, r)
	addVersion(t, r)
	wrapped, err := m.WrapDataKey(t.Context(), tenantA, 1, newDataKey(t))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		m       *seal.MasterKey
		tenant  uuid.UUID
		version int32
	}{
		"other tenant":             {m, tenantB, 1},
		"other version":            {m, tenantA, 2},
		"other master key version": {newest(t, r), tenantA, 1},
		"other master key":         {newest(t, newRing(t)), tenantA, 1},
	} {
		_, err := c.m.UnwrapDataKey(t.Context(), c.tenant, c.version, wrapped)
		wantErr(t, what, err, seal.ErrCannotOpen)
	}
}

func TestUnwrapDamaged(t *testing.T) {
	m := newest(t, newRing(t))
	wrapped, err := m.WrapDataKey(t.Context(), tenantA, 1, newDataKey(t))
	if err != nil {
		t.Fatal(err)
	}
	damaged(wrapped, func(what string, b []byte) {
		k, err := m.UnwrapDataKey(t.Context(), tenantA, 1, b)
		if k != nil || !errors.Is(err, seal.ErrCannotOpen) {
			t.Errorf("%s %x: %v", what, b, err)
		}
	})
}

// Everything is presented as everything else, with ids made as alike as can be.
func TestCiphertextsStayInTheirColumn(t *testing.T) {
	ctx, m, k := t.Context(), newest(t, newRing(t)), newDataKey(t)
	next := seal.Successor{ID: tenantA, URI: "file:next", Version: "1"}
	made := map[string]func() ([]byte, error){
		"wrapped data key":   func() ([]byte, error) { return m.WrapDataKey(ctx, tenantA, 1, k) },
		"sealed private key": func() ([]byte, error) { return k.Seal(tenantA, 1, "kid", private) },
		"key check":          func() ([]byte, error) { return m.KeyCheck(ctx, tenantA) },
		"endorsement":        func() ([]byte, error) { return m.Endorse(ctx, next) },
	}
	opened := map[string]func(b []byte) error{
		"wrapped data key":   func(b []byte) error { _, err := m.UnwrapDataKey(ctx, tenantA, 1, b); return err },
		"sealed private key": func(b []byte) error { _, err := k.Open(tenantA, 1, "kid", b); return err },
		"key check":          func(b []byte) error { return m.VerifyKeyCheck(ctx, tenantA, b) },
		"endorsement":        func(b []byte) error { return m.VerifyEndorsement(ctx, next, b) },
	}
	for is, seals := range made {
		ciphertext, err := seals()
		if err != nil {
			t.Fatal(err)
		}
		for as, open := range opened {
			if err := open(ciphertext); (err == nil) != (is == as) {
				t.Errorf("%s presented as %s: %v", is, as, err)
			}
		}
	}
}

func TestKeyCheck(t *testing.T) {
	ctx, r := t.Context(), newRing(t)
	m := newest(t, r)
	check, err := m.KeyCheck(ctx, tenantA)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.VerifyKeyCheck(ctx, tenantA, check); err != nil {
		t.Error(err)
	}
	wantErr(t, "other row", m.VerifyKeyCheck(ctx, tenantB, check), seal.ErrWrongMasterKey)
	wantErr(t, "other master key", newest(t, newRing(t)).VerifyKeyCheck(ctx, tenantA, check), seal.ErrWrongMasterKey)
	addVersion(t, r)
	wantErr(t, "other version", newest(t, r).VerifyKeyCheck(ctx, tenantA, check), seal.ErrWrongMasterKey)
	damaged(check, func(what string, b []byte) {
		wantErr(t, what, m.VerifyKeyCheck(ctx, tenantA, b), seal.ErrWrongMasterKey)
	})
}

func TestEndorsement(t *testing.T) {
	ctx, m := t.Context(), newest(t, newRing(t))
	next := seal.Successor{ID: tenantA, URI: "file:next", Version: "12"}
	endorsement, err := m.Endorse(ctx, next)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.VerifyEndorsement(ctx, next, endorsement); err != nil {
		t.Error(err)
	}
	for what, other := range map[string]seal.Successor{
		"other row":      {ID: tenantB, URI: "file:next", Version: "12"},
		"other URI":      {ID: tenantA, URI: "file:mine", Version: "12"},
		"other version":  {ID: tenantA, URI: "file:next", Version: "13"},
		"cut otherwise":  {ID: tenantA, URI: "file:next1", Version: "2"},
		"without a name": {},
	} {
		wantErr(t, what, m.VerifyEndorsement(ctx, other, endorsement), seal.ErrWrongMasterKey)
	}
	forged, _ := newest(t, newRing(t)).Endorse(ctx, next)
	wantErr(t, "by another master key", m.VerifyEndorsement(ctx, next, forged), seal.ErrWrongMasterKey)
	damaged(endorsement, func(what string, b []byte) {
		wantErr(t, what, m.VerifyEndorsement(ctx, next, b), seal.ErrWrongMasterKey)
	})
}

// A call that was given up is no verdict on the key or the ciphertext.
func TestCancelledCallsSayNothingAboutTheKey(t *testing.T) {
	m, k := newest(t, newRing(t)), newDataKey(t)
	check, _ := m.KeyCheck(t.Context(), tenantA)
	wrapped, _ := m.WrapDataKey(t.Context(), tenantA, 1, k)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, "VerifyKeyCheck", m.VerifyKeyCheck(ctx, tenantA, check), context.Canceled)
	_, err := m.UnwrapDataKey(ctx, tenantA, 1, wrapped)
	wantErr(t, "UnwrapDataKey", err, context.Canceled)
	_, err = m.WrapDataKey(ctx, tenantA, 1, k)
	wantErr(t, "WrapDataKey", err, context.Canceled)
}
