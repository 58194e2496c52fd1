package keyfile

import (
	"crypto"
	"encoding/pem"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
)

// Labels of PEM blocks (RFC 7468, and for PKCS#1 and SEC 1 what openssl writes).
const (
	pemPKCS8       = "PRIVATE KEY"
	pemPKCS1       = "RSA PRIVATE KEY"
	pemSEC1        = "EC PRIVATE KEY"
	pemCurve       = "EC PARAMETERS" // openssl writes it before a SEC 1 key, which repeats it
	pemPublic      = "PUBLIC KEY"
	pemPublicPKCS1 = "RSA PUBLIC KEY"
)

const encryptedPEM = "is encrypted with a passphrase; decrypt it first with: openssl pkey -in key.pem -out plain.pem, and delete that file afterwards"

// BrokenPEM is why PEM is refused of which a block cannot be read.
const BrokenPEM = "has PEM that cannot be read: a line is broken or the END line is missing"

// privatePEM reads the one private key of a PEM file, beside which its public
// half may stand.
func privatePEM(text []byte) (Key, error) {
	blocks, err := pemBlocks(FieldPrivate, text)
	defer clearBlocks(blocks)
	if err != nil {
		return Key{}, err
	}
	var private, public []*pem.Block
	for _, b := range blocks {
		switch b.Type {
		case pemPKCS8, pemPKCS1, pemSEC1:
			private = append(private, b)
		case pemPublic, pemPublicPKCS1:
			public = append(public, b)
		}
	}
	switch {
	case len(private) == 0:
		return Key{}, tokens.Invalid(FieldPrivate, "holds no private key; a public one alone is imported as public_key, with expires_at")
	case len(private) > 1 || len(public) > 1:
		return Key{}, tokens.Invalid(FieldPrivate, "holds several keys; import one at a time")
	}
	key, err := privateDER(private[0].Type, private[0].Bytes)
	if err != nil {
		return Key{}, err
	}
	b, err := withHalf(key, public)
	b.restrict(private[0])
	return b, err
}

// restrict notes the algorithms of an RSASSA-PSS key.
func (b *Key) restrict(block *pem.Block) {
	if block.Type != pemPKCS8 && block.Type != pemPublic {
		return
	}
	if algs, restricted := pssOnly(block.Bytes); restricted {
		b.pss = append([]jose.SignatureAlgorithm{}, algs...)
	}
}

// withHalf checks the public key that came along with a private one.
func withHalf(key crypto.Signer, public []*pem.Block) (Key, error) {
	b := Key{Field: FieldPrivate, Private: key, Public: key.Public()}
	for _, block := range public {
		half, err := publicDER(FieldPrivate, block.Type, block.Bytes)
		if err != nil {
			return Key{}, err
		}
		if !keys.EqualPublic(half, b.Public) {
			return Key{}, errNotItsHalf
		}
	}
	return b, nil
}

func publicPEM(text []byte) (Key, error) {
	blocks, err := pemBlocks(FieldPublic, text)
	defer clearBlocks(blocks)
	if err != nil {
		return Key{}, err
	}
	for _, b := range blocks {
		if b.Type != pemPublic && b.Type != pemPublicPKCS1 {
			return Key{}, tokens.Invalid(FieldPublic, "holds a private key; take the public one out of it with: openssl pkey -in key.pem -pubout. To sign with it, send it as private_key")
		}
	}
	if len(blocks) > 1 {
		return Key{}, tokens.Invalid(FieldPublic, "holds several keys; import one at a time, or a JWK Set")
	}
	public, err := publicDER(FieldPublic, blocks[0].Type, blocks[0].Bytes)
	b := Key{Field: FieldPublic, Public: public}
	b.restrict(blocks[0])
	return b, err
}

// pemBlocks returns the blocks of a file that contain keys. It refuses a file
// with any other or a malformed block.
func pemBlocks(field string, text []byte) (blocks []*pem.Block, err error) {
	blocks, whole, encrypted := Blocks(text)
	for _, b := range blocks {
		if err := refuseBlock(field, b); err != nil {
			return blocks, err
		}
	}
	switch {
	case len(blocks) > MaxKeys:
		return blocks, tokens.Invalid(field, "holds several keys; import one at a time")
	case !whole && encrypted:
		return blocks, tokens.Invalid(field, encryptedPEM)
	case !whole:
		return blocks, tokens.Invalid(field, BrokenPEM)
	}
	return withoutCurves(field, blocks)
}

func withoutCurves(field string, blocks []*pem.Block) (keys []*pem.Block, err error) {
	for _, b := range blocks {
		if b.Type != pemCurve {
			keys = append(keys, b)
		}
	}
	if len(keys) == 0 {
		return nil, tokens.Invalid(field, "holds no key")
	}
	return keys, nil
}

// refuseBlock refuses a block without an unencrypted key. The error tells how
// to convert it.
func refuseBlock(field string, b *pem.Block) error {
	_, legacy := b.Headers["DEK-Info"] // RFC 1421 section 4.6.1.3
	switch b.Type {
	case "ENCRYPTED PRIVATE KEY":
		legacy = true
	case pemPKCS8, pemPKCS1, pemSEC1, pemPublic, pemPublicPKCS1, pemCurve:
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return tokens.Invalid(field, "holds a certificate; take its public key out with: openssl x509 -in cert.pem -noout -pubkey, and leave the certificate away")
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return tokens.Invalid(field, "holds a certificate request; take its public key out with: openssl req -in request.pem -noout -pubkey")
	case "OPENSSH PRIVATE KEY":
		return tokens.Invalid(field, "is in OpenSSH's own form; write a copy of it anew with: ssh-keygen -p -m PKCS8 -f copy-of-key")
	default:
		return tokens.Invalid(field, "has a PEM block of a type that is no key; accepted are private keys as PKCS#8, PKCS#1 or SEC 1 and public keys as SubjectPublicKeyInfo or PKCS#1")
	}
	if legacy || strings.Contains(b.Headers["Proc-Type"], "ENCRYPTED") {
		return tokens.Invalid(field, encryptedPEM)
	}
	return nil
}

// clearBlocks overwrites the decoded bytes with zeros.
func clearBlocks(blocks []*pem.Block) {
	for _, b := range blocks {
		clear(b.Bytes)
	}
}
