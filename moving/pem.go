package moving

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/keys/tokens"
)

// parsePEM parses the one key of a PEM file, as the import does: SPKI or PKCS#1 (public),
// PKCS#8, PKCS#1 or SEC 1 (private), beside which its public half may stand. Certificates
// are ignored.
func parsePEM(text []byte) (k Key, err error) {
	private, public, err := keyBlocks(keyfile.Text(text))
	defer func() {
		for _, b := range private {
			clear(b.Bytes)
		}
	}()
	if err != nil {
		return k, err
	}
	var only []byte
	for _, b := range append(private, public...) {
		only = append(only, pem.EncodeToMemory(b)...)
	}
	if len(private) > 0 {
		return privateKey(only)
	}
	set, err := keyfile.ParsePublic(only)
	if err != nil {
		return k, formatError("the key in the PEM", err)
	}
	return keyOf(set.Keys[0])
}

// privateKey parses a private key in PEM, which becomes the key's Private.
func privateKey(text Secret) (k Key, err error) {
	parsed, err := keyfile.ParsePrivate(text)
	if err != nil {
		clear(text)
		return k, formatError("the key in the PEM", err)
	}
	k, err = keyOf(parsed)
	k.Private = text
	return k, err
}

// privateFromSigner returns a private key as PKCS#8 in PEM.
func privateFromSigner(key crypto.PrivateKey) (k Key, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return k, fmt.Errorf("%w: a type of key that Keyward does not have", ErrFormat)
	}
	defer clear(der)
	return privateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// privateFromDER parses a private key as PKCS#8, PKCS#1 or SEC 1.
func privateFromDER(der []byte) (k Key, err error) {
	label := "PRIVATE KEY"
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil && key != nil {
		label = "RSA PRIVATE KEY"
	} else if key, err := x509.ParseECPrivateKey(der); err == nil && key != nil {
		label = "EC PRIVATE KEY"
	}
	return privateKey(pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der}))
}

// keyOf converts the public half of a parsed key.
func keyOf(parsed keyfile.Key) (k Key, err error) {
	k.parsed = parsed
	k.parsed.Private = nil
	k.Public, err = publicJWK(parsed.Public)
	return k, err
}

// keyError is an ErrFormat about one key.
type keyError struct{ thing, fault string }

// faultOf returns what is wrong with one key of a source, without quoting it.
func faultOf(err error) string {
	var key *keyError
	if errors.As(err, &key) {
		return key.fault
	}
	return err.Error()
}

func (e *keyError) Error() string { return ErrFormat.Error() + ": " + e.thing + " " + e.fault }

func (e *keyError) Unwrap() error { return ErrFormat }

// formatError returns an ErrFormat that says what is wrong with the named thing, without
// quoting it.
func formatError(thing string, err error) error {
	var claim *tokens.ClaimError
	if errors.As(err, &claim) {
		return &keyError{thing, claim.Message}
	}
	return &keyError{thing, "cannot be read"}
}

// keyBlocks returns the blocks of the one private key, and of the public ones. Of several
// keys none is taken: which of them the source used, a file does not say.
func keyBlocks(text []byte) (private, public []*pem.Block, err error) {
	blocks, whole, encrypted := keyfile.Blocks(text)
	for _, b := range blocks {
		encrypted = encrypted || strings.Contains(b.Type, "ENCRYPTED")
		switch {
		case b.Type == "OPENSSH PRIVATE KEY":
			return nil, nil, fmt.Errorf("%w: the key is in OpenSSH's own form; write a copy of it anew with: ssh-keygen -p -m PKCS8 -f copy-of-key", ErrFormat)
		case strings.HasSuffix(b.Type, "PRIVATE KEY"):
			private = append(private, b)
		case strings.HasSuffix(b.Type, "PUBLIC KEY"):
			public = append(public, b)
		}
	}
	switch {
	case encrypted:
		err = fmt.Errorf("%w: the PEM is encrypted; decrypt a copy with: openssl pkey -in key.pem -out plain.pem", ErrFormat)
	case !whole:
		err = fmt.Errorf("%w: it %s", ErrFormat, keyfile.BrokenPEM)
	case len(private) > 1:
		err = fmt.Errorf("%w: the PEM holds several private keys", ErrFormat)
	case len(private) == 0 && len(public) > 1:
		err = fmt.Errorf("%w: the PEM holds several public keys; import one at a time with keyward key import --pem, or all in a JWK Set", ErrFormat)
	case len(private)+len(public) == 0 && bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")):
		err = fmt.Errorf("%w: it holds a certificate; take its public key out with: openssl x509 -in cert.pem -noout -pubkey", ErrFormat)
	case len(private)+len(public) == 0 && bytes.HasPrefix(text, []byte{0x30}):
		err = fmt.Errorf("%w: it is binary: PKCS#12 is read by keyward import-from pkcs12; DER becomes PEM with: openssl pkey -inform DER -in key.der -out key.pem", ErrFormat)
	case len(private)+len(public) == 0:
		err = fmt.Errorf("%w: it has no key in PEM", ErrFormat)
	}
	return private, public, err
}
