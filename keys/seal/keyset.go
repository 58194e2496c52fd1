package seal

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

// parseKeyset reads a Tink keyset in JSON. The parser's own words are dropped:
// they quote the keyset.
func parseKeyset(data []byte) (*keyset.Handle, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrNotMasterKey)
	}
	h, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(data)))
	if err != nil {
		return nil, fmt.Errorf("%w: want a cleartext Tink keyset in JSON with a primary key", ErrNotMasterKey)
	}
	return h, nil
}

// formatKeyset is the reverse of parseKeyset.
func formatKeyset(h *keyset.Handle) ([]byte, error) {
	var out bytes.Buffer
	if err := insecurecleartextkeyset.Write(h, keyset.NewJSONWriter(&out)); err != nil {
		return nil, fmt.Errorf("write keyset: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// versionsOf returns the enabled keys in their order, but the primary last.
func versionsOf(h *keyset.Handle) ([]version, error) {
	var versions []version
	var primary version
	for i := range h.Len() {
		entry, err := h.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("%w: key %d of the keyset is unreadable", ErrNotMasterKey, i)
		}
		if entry.KeyStatus() != keyset.Enabled {
			continue
		}
		v, err := versionOf(entry)
		if err != nil {
			return nil, err
		}
		if entry.IsPrimary() {
			primary = v
			continue
		}
		versions = append(versions, v)
	}
	if primary.aead == nil {
		return nil, fmt.Errorf("%w: its keyset has no primary key", ErrNotMasterKey)
	}
	return append(versions, primary), nil
}

// versionOf wants AES256-GCM with Tink's prefix, because the prefix carries
// the version: a ciphertext then says which version it needs.
func versionOf(entry *keyset.Entry) (version, error) {
	wrong := fmt.Errorf("%w: key %d is not of Tink's type AES256_GCM", ErrNotMasterKey, entry.KeyID())
	key, ok := entry.Key().(*aesgcm.Key)
	if !ok {
		return version{}, wrong
	}
	want, err := aes256GCM()
	if err != nil {
		return version{}, err
	}
	if !want.Equal(key.Parameters()) {
		return version{}, wrong
	}
	aead, err := aesgcm.NewAEAD(key)
	if err != nil {
		return version{}, wrong
	}
	return version{name: versionName(entry.KeyID()), aead: local{aead}}, nil
}

func versionName(id uint32) string { return strconv.FormatUint(uint64(id), 10) }

func aes256GCM() (*aesgcm.Parameters, error) {
	return aesgcm.NewParameters(aesgcm.ParametersOpts{
		KeySizeInBytes: 32, IVSizeInBytes: 12, TagSizeInBytes: 16, Variant: aesgcm.VariantTink,
	})
}

// withNewKey returns h (nil: an empty keyset) with a fresh primary key, and
// the name of that version.
func withNewKey(h *keyset.Handle) (*keyset.Handle, string, error) {
	params, err := aes256GCM()
	if err != nil {
		return nil, "", err
	}
	m := keyset.NewManager()
	if h != nil {
		m = keyset.NewManagerFromHandle(h)
	}
	id, err := m.AddNewKeyFromParameters(params)
	if err != nil {
		return nil, "", fmt.Errorf("new key: %w", err)
	}
	if err := m.SetPrimary(id); err != nil {
		return nil, "", fmt.Errorf("new primary key: %w", err)
	}
	h, err = m.Handle()
	return h, versionName(id), err
}

// withoutKey returns h without one version.
func withoutKey(h *keyset.Handle, name string) (*keyset.Handle, error) {
	for i := range h.Len() {
		entry, err := h.Entry(i)
		if err != nil || versionName(entry.KeyID()) != name {
			continue
		}
		if entry.IsPrimary() {
			return nil, ErrNewestVersion
		}
		m := keyset.NewManagerFromHandle(h)
		if err := m.Delete(entry.KeyID()); err != nil {
			return nil, err
		}
		return m.Handle()
	}
	return nil, ErrUnknownVersion
}

// local is an AEAD in this process: it is done before a context could end.
type local struct{ tink.AEAD }

func (l local) EncryptWithContext(_ context.Context, plain, ad []byte) ([]byte, error) {
	return l.Encrypt(plain, ad)
}

func (l local) DecryptWithContext(_ context.Context, ciphertext, ad []byte) ([]byte, error) {
	plain, err := l.Decrypt(ciphertext, ad)
	if err != nil {
		return nil, ErrCannotOpen
	}
	return plain, nil
}
