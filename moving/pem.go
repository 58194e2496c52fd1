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
// PKCS#8, PKCS#1 or SEC 1 (private). Certificates beside it are ignored.
func parsePEM(text []byte) (k Key, err error) {
	text = keyfile.Text(text)
	block, err := onlyBlock(keyfile.Reflow(text))
	if err != nil {
		return k, err
	}
	defer clear(block.Bytes)
	only := pem.EncodeToMemory(block)
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
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
	for _, alg := range parsed.Restricted() {
		k.only = append(k.only, string(alg))
	}
	k.Public, err = publicJWK(parsed.Public)
	return k, err
}

// formatError returns an ErrFormat that says what is wrong with the named thing, without
// quoting it.
func formatError(thing string, err error) error {
	var claim *tokens.ClaimError
	if errors.As(err, &claim) {
		return fmt.Errorf("%w: %s %s", ErrFormat, thing, claim.Message)
	}
	return fmt.Errorf("%w: %s cannot be read", ErrFormat, thing)
}

// onlyBlock returns the block with the private key, else the first public one.
func onlyBlock(text []byte) (found *pem.Block, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		private := strings.HasSuffix(block.Type, "PRIVATE KEY")
		switch {
		case strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, fmt.Errorf("%w: the PEM is encrypted; decrypt a copy with: openssl pkey -in key.pem -out plain.pem", ErrFormat)
		case block.Type == "OPENSSH PRIVATE KEY":
			return nil, fmt.Errorf("%w: the key is in OpenSSH's own form; write a copy of it anew with: ssh-keygen -p -m PKCS8 -f copy-of-key", ErrFormat)
		case private && found != nil && strings.HasSuffix(found.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("%w: the PEM holds several private keys", ErrFormat)
		case private || found == nil && strings.HasSuffix(block.Type, "PUBLIC KEY"):
			found = block
		}
	}
	if found == nil && bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) {
		return nil, fmt.Errorf("%w: it holds a certificate; take its public key out with: openssl x509 -in cert.pem -noout -pubkey", ErrFormat)
	}
	if found == nil {
		return nil, fmt.Errorf("%w: it has no key in PEM", ErrFormat)
	}
	return found, nil
}
