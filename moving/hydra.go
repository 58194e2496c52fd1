package moving

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/keyward/keyward/keys/keyfile"
)

// Hydra reads a key set of Ory Hydra from a file or from the admin API, as GET
// /admin/keys/{set} returns it (Hydra 1: GET /keys/{set}): a JWK Set with private members,
// newest key first. Hydra signs with the newest. With system secrets, the newest first,
// the file has the column keydata of the table hydra_jwk, one key a line.
func Hydra(ctx context.Context, source string, secrets []string, s Settings) (keys []Key, err error) {
	var text []byte
	if isURL(source) {
		text, err = fetchDocument(ctx, source, 0)
	} else {
		text, err = readFile(source)
	}
	if err != nil {
		return nil, err
	}
	defer clear(text)
	if len(secrets) > 0 {
		if text, err = decryptHydra(text, secrets); err != nil {
			return nil, err
		}
		defer clear(text)
	}
	if keys, err = parseSet(text, s, privateOrPublic); err != nil {
		return nil, err
	}
	for i := range keys {
		keys[i].joinPair()
	}
	return keys, nil
}

// joinPair renames the private half of a pair of Hydra 1: it has each key as private:x
// and as public:x, and its tokens name the latter.
func (k *Key) joinPair() {
	if name, half := strings.CutPrefix(k.KID, "private:"); half && k.Private != nil {
		k.KID, k.Note = "public:"+name, joinNotes(k.Note, "tokens name its public half, so it takes that kid")
	}
}

// joinPairs joins the pairs of Hydra 1 in a file that need not be Hydra's: only those of
// which both halves are there.
func joinPairs(keys []Key) {
	for i := range keys {
		k := &keys[i]
		name, half := strings.CutPrefix(k.KID, "private:")
		if half && slices.ContainsFunc(keys, func(o Key) bool { return o.KID == "public:"+name && o.Public.Thumbprint() == k.Public.Thumbprint() }) {
			k.joinPair()
		}
	}
}

// decryptHydra returns the JWK Set of rows of hydra_jwk. Each is a JWK in AES-256-GCM,
// nonce first, in base64url with padding; the key is the SHA-256 hash of a system secret.
func decryptHydra(rows []byte, secrets []string) ([]byte, error) {
	var ciphers []cipher.AEAD
	for _, secret := range secrets {
		key := sha256.Sum256([]byte(secret))
		block, err := aes.NewCipher(key[:])
		if err != nil {
			return nil, err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		ciphers = append(ciphers, gcm)
	}
	var keys [][]byte
	for line := range bytes.Lines(keyfile.Text(rows)) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		row, err := base64.URLEncoding.AppendDecode(nil, line)
		if err != nil {
			return nil, fmt.Errorf("%w: line %d is no keydata of hydra_jwk", ErrFormat, len(keys)+1)
		}
		key, ok := openHydra(row, ciphers)
		if !ok {
			return nil, fmt.Errorf("%w: line %d is not encrypted with these system secrets", ErrFormat, len(keys)+1)
		}
		defer clear(key)
		keys = append(keys, key)
	}
	return joinJWKs(keys), nil
}

// openHydra decrypts a row with the secret that it was encrypted with.
func openHydra(row []byte, ciphers []cipher.AEAD) ([]byte, bool) {
	for _, gcm := range ciphers {
		if len(row) < gcm.NonceSize() {
			return nil, false
		}
		if key, err := gcm.Open(nil, row[:gcm.NonceSize()], row[gcm.NonceSize():], nil); err == nil {
			return key, true
		}
	}
	return nil, false
}

// joinJWKs returns a JWK Set of JWKs.
func joinJWKs(keys [][]byte) []byte {
	set := append([]byte(`{"keys":[`), bytes.Join(keys, []byte(","))...)
	return append(set, "]}"...)
}
