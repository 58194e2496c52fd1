package seal_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/mac"

	"github.com/keyward/keyward/keys/seal"
)

// FuzzKeyset: no file content makes reading it panic, an error is always
// ErrNotMasterKey, and it never repeats the content.
func FuzzKeyset(f *testing.F) {
	r := newRing(f)
	addVersion(f, r)
	content, err := os.ReadFile(strings.TrimPrefix(r.URI(), "file:"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	f.Add([]byte(tinkKeyset(f, mac.HMACSHA256Tag256KeyTemplate())))
	f.Add([]byte(tinkKeyset(f, aead.XChaCha20Poly1305KeyTemplate())))
	f.Add([]byte(`{"primaryKeyId":1,"key":[{"keyData":null,"status":"ENABLED","keyId":1}]}`))
	f.Add([]byte(`{"encryptedKeyset":"AAAA"}`))
	f.Add([]byte("not the words of any error of ours"))
	f.Fuzz(func(t *testing.T, content []byte) {
		versions, err := seal.ParseKeyset(bytes.Clone(content))
		if (err == nil) != (len(versions) > 0) {
			t.Fatalf("%d versions and error %v", len(versions), err)
		}
		if err != nil && (!errors.Is(err, seal.ErrNotMasterKey) || len(content) > 30 && strings.Contains(err.Error(), string(content))) {
			t.Fatal(err)
		}
	})
}

// FuzzOpen: nothing but the ciphertext itself, in its own place, opens.
func FuzzOpen(f *testing.F) {
	k, sealed := seal.DataKeyOf([32]byte{1}), fromHex(f, storedPrivateKey) // the same in all processes
	f.Add(int32(7), "kid", sealed)
	f.Add(int32(2), "kid", sealed)
	f.Add(int32(7), "kid", sealed[:29])
	f.Add(int32(7), "", []byte{1})
	f.Add(int32(7), "", []byte{})
	f.Fuzz(func(t *testing.T, version int32, kid string, b []byte) {
		plain, err := k.Open(tenantA, version, kid, b)
		if version == 7 && kid == "kid" && bytes.Equal(b, sealed) {
			if err != nil || !bytes.Equal(plain, private) {
				t.Fatalf("%q, %v", plain, err)
			}
			return
		}
		if plain != nil || !errors.Is(err, seal.ErrCannotOpen) {
			t.Fatalf("opened %q, %v", plain, err)
		}
	})
}

// FuzzURI: no URI makes opening it panic or fail with anything but an error
// that says what is wrong with it, and a URI opens as its one spelling does.
func FuzzURI(f *testing.F) {
	for _, uri := range []string{"file:a", "file:///a/../b", "file://host/a", "file:%41", "v://u:p@h/k?q", ":", "file:a%2Fb", "env:A", "hcvault://h/m/keys/k?tls=off&timeout=1s", "aws-kms://arn:aws:kms:r:111122223333:key/k", "gcp-kms://projects/p/locations/l/keyRings/r/cryptoKeys/k"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		one, err := seal.Canonical(uri)
		if err != nil {
			if !errors.Is(err, seal.ErrBadURI) && !errors.Is(err, seal.ErrUnknownScheme) {
				t.Fatal(err)
			}
			return
		}
		if again, err := seal.Canonical(one); err != nil || again != one {
			t.Fatalf("%q is %q, which is %q, %v", uri, one, again, err)
		}
	})
}
