package moving

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/keyward/keyward/keys/keyfile"
)

// parsePEM parses a PEM file with one key: SPKI or PKCS#1 (public), PKCS#8,
// PKCS#1 or SEC 1 (private). The returned private key is the PEM text, nil for
// a public key.
func parsePEM(text []byte) (public JWK, private Secret, err error) {
	text = keyfile.Text(text)
	block, err := onlyBlock(keyfile.Reflow(text))
	if err != nil {
		return public, nil, err
	}
	defer clear(block.Bytes)
	key, secret, err := parseBlock(block)
	if err != nil {
		return public, nil, err
	}
	if public, err = publicJWK(key); err != nil || !secret {
		return public, nil, err
	}
	return public, Secret(bytes.Clone(text)), nil
}

// onlyBlock returns the block with the private key, else the first public one.
func onlyBlock(text []byte) (found *pem.Block, err error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		private := strings.HasSuffix(block.Type, "PRIVATE KEY")
		switch {
		case strings.Contains(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, fmt.Errorf("%w: the PEM is encrypted; decrypt a copy with: openssl pkey -in key.pem -out plain.pem", ErrFormat)
		case private && found != nil && strings.HasSuffix(found.Type, "PRIVATE KEY"):
			return nil, fmt.Errorf("%w: the PEM holds several private keys", ErrFormat)
		case private || found == nil && strings.HasSuffix(block.Type, "PUBLIC KEY"):
			found = block
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%w: it has no key in PEM", ErrFormat)
	}
	return found, nil
}

func parseBlock(block *pem.Block) (public crypto.PublicKey, private bool, err error) {
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		err = ErrFormat
	}
	if err != nil { // its text may describe the key
		return nil, false, fmt.Errorf("%w: the key in the PEM cannot be read", ErrFormat)
	}
	if signer, private := key.(crypto.Signer); private {
		return signer.Public(), true, nil
	}
	return key, false, nil
}
