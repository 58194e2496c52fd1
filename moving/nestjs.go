package moving

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
)

// nestKey is an entry of metadata.json; times are milliseconds.
type nestKey struct {
	KID       string  `json:"kid"`
	Status    string  `json:"status"`
	ExpiresAt float64 `json:"expiresAt"`
	KeyPath   *string `json:"keyPath"`       // null: the file was purged
	Older     *string `json:"publicKeyPath"` // its name before version 0.2
}

// NestJWKS reads the key directory of nestjs-jwks: metadata.json, and <kid>.pem
// with each public key. nestjs-jwks keeps private keys in memory only, so all
// keys are for verification. The metadata have no algorithm.
func NestJWKS(dir string, s Settings) ([]Key, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer root.Close()
	text, err := readIn(root, "metadata.json")
	if err != nil {
		return nil, err
	}
	var metadata struct {
		Keys []nestKey `json:"keys"`
	}
	if err := json.Unmarshal(text, &metadata); err != nil || metadata.Keys == nil || len(metadata.Keys) > maxKeys {
		return nil, fmt.Errorf("%w: metadata.json has no list of keys, or too many keys", ErrFormat)
	}
	var keys []Key
	for i := len(metadata.Keys) - 1; i >= 0; i-- { // newest first
		keys = append(keys, metadata.Keys[i].toKey(root, s))
	}
	return keys, nil
}

// fileName matches the kids of nestjs-jwks that name a file: it makes UUIDs.
var fileName = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,128}$`)

// toKey reads the key's file beside metadata.json, because keyPath is a path on
// the machine of nestjs-jwks.
func (n nestKey) toKey(root *os.Root, s Settings) Key {
	k := Key{KID: n.KID, State: n.Status, ExpiresAt: unixMilli(n.ExpiresAt)}
	switch {
	case n.Status != "active" && n.Status != "deprecated":
		k.SkipReason = "its tokens do not verify at the source either"
		return k
	case n.KeyPath == nil && n.Older == nil || !fileName.MatchString(n.KID):
		k.RefuseReason = "there is no file for it"
		return k
	}
	text, err := readIn(root, n.KID+".pem")
	if err == nil {
		var read Key
		read, err = parsePEM(text)
		k.Public, k.parsed = read.Public, read.parsed
		clear(read.Private)
	}
	if err != nil {
		k.RefuseReason = n.KID + ".pem: " + err.Error()
	}
	if n.Status == "active" {
		k.Note = "its private key exists only in the memory of nestjs-jwks"
	}
	k.chooseAlgorithm(s)
	return k
}

// readIn reads a file inside root; links may not lead out of it.
func readIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer f.Close()
	return readAll(f)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	defer f.Close()
	return readAll(f)
}

func readAll(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSource+1))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if len(text) > maxSource {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrFormat, maxSource)
	}
	return text, nil
}
