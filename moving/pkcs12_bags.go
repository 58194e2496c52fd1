package moving

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"slices"
	"strings"
	"unicode/utf16"

	"software.sslmate.com/src/go-pkcs12"
)

// Structures of RFC 7292 section 4, as far as they are read or written here.
type (
	pfx struct {
		Version  int
		AuthSafe contentInfo
		Mac      macData `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	macData struct {
		Mac struct {
			Algorithm pkix.AlgorithmIdentifier
			Digest    []byte
		}
		Salt       []byte
		Iterations int `asn1:"optional,default:1"`
	}
	safeBag struct {
		ID         asn1.ObjectIdentifier
		Value      asn1.RawValue  `asn1:"tag:0,explicit"`
		Attributes []bagAttribute `asn1:"set,optional"`
	}
	bagAttribute struct {
		ID     asn1.ObjectIdentifier
		Values asn1.RawValue `asn1:"set"`
	}
)

var (
	oidData         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidFriendlyName = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	oidLocalKeyID   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 21}
	oidKeyBag       = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}
	oidShroudedBag  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 2}
	oidCertBag      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidSecretBag    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 5}
	oidX509         = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidSHA256       = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// entriesOneByOne decodes a file whose password is right and that the library does not
// decode whole, because one key is of a type that it does not know: each key is put into
// a file of its own. It finds the keys that stand outside of encrypted parts, where all
// programs put them. A key that cannot be decoded is an entry with the reason.
func entriesOneByOne(file []byte, password string) (entries []pkcs12Entry, err error) {
	parts, err := contentsOf(file)
	if err != nil {
		return nil, err
	}
	filler, err := certificateBag()
	if err != nil {
		return nil, err
	}
	var certificates []namedCertificate
	for _, part := range parts {
		bags, err := part.bags(password)
		if err != nil {
			certificates = append(certificates, certificatesIn(part, password, filler)...)
			continue
		}
		for _, bag := range bags {
			switch {
			case bag.ID.Equal(oidKeyBag), bag.ID.Equal(oidShroudedBag):
				entries = append(entries, bag.entry(password, filler))
			case bag.ID.Equal(oidSecretBag):
				entries = append(entries, pkcs12Entry{alias: bag.name(), skip: "is a shared secret: Keyward supports key pairs only"})
			case bag.ID.Equal(oidCertBag):
				if c := bag.certificate(); c != nil {
					certificates = append(certificates, namedCertificate{bag.name(), bag.keyID(), c})
				}
			}
		}
	}
	return withCertificates(entries, certificates), nil
}

// namedCertificate is a certificate with its alias and the identifier that it shares with
// its key, if they are known.
type namedCertificate struct {
	alias, keyID string
	*x509.Certificate
}

// isOf reports whether a certificate that does not match a key belongs to it all the same:
// to one that could not be decoded.
func (c namedCertificate) isOf(e pkcs12Entry) bool {
	if c.alias == "" && c.keyID == "" {
		return e.certificate == nil // perhaps
	}
	return e.certificate == nil && (c.alias != "" && c.alias == e.alias || c.keyID != "" && c.keyID == e.keyID)
}

// withCertificates gives each key its certificate. A certificate that belongs to no key,
// and is not of the chain of another, is an entry of its own, as keytool -importcert adds
// it: such a file may have the old keys of its owner, or just roots that it trusts.
func withCertificates(entries []pkcs12Entry, certificates []namedCertificate) []pkcs12Entry {
	taken := map[string]bool{}
	for i := range entries {
		e := &entries[i]
		if e.findCertificate(certificates); e.certificate != nil {
			taken[string(e.certificate.Raw)] = true
		}
	}
	keys := entries
	for _, c := range certificates {
		issuer := slices.ContainsFunc(certificates, func(o namedCertificate) bool {
			return bytes.Equal(o.RawIssuer, c.RawSubject) && !bytes.Equal(o.RawIssuer, o.RawSubject)
		})
		if !taken[string(c.Raw)] && !issuer && !slices.ContainsFunc(keys, c.isOf) {
			entries = append(entries, pkcs12Entry{
				alias: cmp.Or(c.alias, certificateHash(c.Certificate)), state: "certificate",
				skip: "is a certificate without a private key; to verify tokens of its key, take that out with: openssl x509 -in cert.pem -noout -pubkey, and import it with keyward key import --pem",
			})
		}
		taken[string(c.Raw)] = true
	}
	return entries
}

// contentsOf returns the parts of a file.
func contentsOf(file []byte) (parts []contentInfo, err error) {
	var whole pfx
	if _, err := asn1.Unmarshal(file, &whole); err != nil {
		return nil, err
	}
	var safe []byte
	if _, err := asn1.Unmarshal(whole.AuthSafe.Content.Bytes, &safe); err != nil {
		return nil, err
	}
	_, err = asn1.Unmarshal(safe, &parts)
	return parts, err
}

// bags returns the bags of a part that is not encrypted, or by PBES2.
func (c contentInfo) bags(password string) (bags []safeBag, err error) {
	var contents []byte
	if c.Type.Equal(oidData) {
		_, err = asn1.Unmarshal(c.Content.Bytes, &contents)
	} else {
		var encrypted struct {
			Version int
			Content struct {
				Type      asn1.ObjectIdentifier
				Algorithm pkix.AlgorithmIdentifier
				Data      []byte `asn1:"tag:0,optional"`
			}
		}
		if _, err = asn1.Unmarshal(c.Content.Bytes, &encrypted); err == nil {
			contents, err = decryptPBES2(encrypted.Content.Algorithm, encrypted.Content.Data, password)
		}
	}
	if err != nil {
		return nil, err
	}
	_, err = asn1.Unmarshal(contents, &bags)
	return bags, err
}

// certificate returns the certificate of a bag, nil if it has none.
func (b safeBag) certificate() *x509.Certificate {
	var content struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}
	if _, err := asn1.Unmarshal(b.Value.Bytes, &content); err != nil || !content.ID.Equal(oidX509) {
		return nil
	}
	c, err := x509.ParseCertificate(content.Data)
	if err != nil {
		return nil
	}
	return c
}

// entry decodes the key of a bag. filler is a bag with any certificate, without which the
// library decodes no key.
func (b safeBag) entry(password string, filler safeBag) pkcs12Entry {
	e := pkcs12Entry{alias: b.name(), keyID: b.keyID()}
	b.Attributes = nil
	passwords := [][]byte{bmpString(password)}
	if password == "" {
		passwords = append(passwords, nil) // some programs encode it like this
	}
	err := error(nil)
	for _, encoded := range passwords {
		var alone []byte
		if alone, err = singlePart([]safeBag{b, filler}, encoded); err != nil {
			break
		}
		e.private, _, _, err = pkcs12.DecodeChain(alone, password)
		clear(alone)
		if err == nil {
			break
		}
	}
	_, agreement := e.private.(*ecdh.PrivateKey)
	switch {
	case isPSS(err):
		e.readPSS(b, password)
	case agreement:
		e.private, e.skip = nil, "is for key agreement, not for signatures"
	case err != nil && (strings.Contains(err.Error(), "unknown algorithm") || strings.Contains(err.Error(), "unknown elliptic curve")):
		e.skip = "has a type or a curve that Keyward does not support"
	case err != nil:
		e.refuse = "it cannot be decoded: its encryption or its form is not supported"
	}
	return e
}

// name returns the friendlyName of a bag, which keytool calls alias.
func (b safeBag) name() string {
	text := b.attribute(oidFriendlyName)
	var units []uint16
	for i := 0; i+1 < len(text); i += 2 {
		units = append(units, binary.BigEndian.Uint16(text[i:]))
	}
	return string(utf16.Decode(units))
}

// keyID returns the localKeyId of a bag, which a key and its certificate share.
func (b safeBag) keyID() string { return hex.EncodeToString(b.attribute(oidLocalKeyID)) }

// attribute returns the value of an attribute of a bag, nil if it has none.
func (b safeBag) attribute(id asn1.ObjectIdentifier) []byte {
	for _, a := range b.Attributes {
		var value asn1.RawValue
		if _, err := asn1.Unmarshal(a.Values.Bytes, &value); err == nil && a.ID.Equal(id) {
			return value.Bytes
		}
	}
	return nil
}

// unusedKey is an Ed25519 key of zeros (RFC 8410 section 7): the library reads no file
// without a key.
var unusedKey = append([]byte{0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20}, make([]byte, 32)...)

// certificatesIn returns the certificates of a part in an older encryption, which only the
// library decrypts, without their names. Without certificates keys have no kid of .NET,
// which is said of each.
func certificatesIn(part contentInfo, password string, filler safeBag) (all []namedCertificate) {
	unused := safeBag{ID: oidKeyBag, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: unusedKey}}
	rest, err := dataContent([]safeBag{unused, filler})
	if err != nil {
		return nil
	}
	alone, err := buildPFX([]contentInfo{part, rest}, bmpString(password))
	if err != nil {
		return nil
	}
	_, first, others, err := pkcs12.DecodeChain(alone, password)
	if err != nil {
		return nil
	}
	for _, c := range append([]*x509.Certificate{first}, others...)[:len(others)] { // the last one is the filler
		all = append(all, namedCertificate{Certificate: c})
	}
	return all
}

// certificateBag returns a bag with a certificate that nobody uses.
func certificateBag() (b safeBag, err error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return b, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		return b, err
	}
	value, err := asn1.Marshal(struct {
		ID   asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}{oidX509, der})
	return safeBag{ID: oidCertBag, Value: asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value}}, err
}

// singlePart returns a file with bags in one part.
func singlePart(bags []safeBag, password []byte) ([]byte, error) {
	part, err := dataContent(bags)
	if err != nil {
		return nil, err
	}
	return buildPFX([]contentInfo{part}, password)
}

func dataContent(bags []safeBag) (c contentInfo, err error) {
	contents, err := asn1.Marshal(bags)
	if err != nil {
		return c, err
	}
	return dataOf(contents)
}

// dataOf wraps octets as content of the type data (RFC 2315 section 8).
func dataOf(octets []byte) (c contentInfo, err error) {
	wrapped, err := asn1.Marshal(octets)
	return contentInfo{oidData, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: wrapped}}, err
}

// buildPFX returns a file of parts with a message authentication code: HMAC-SHA-256 by the
// key of RFC 7292 appendix B.2, which for one round and as many bytes as the hash has is
// one hash.
func buildPFX(parts []contentInfo, password []byte) ([]byte, error) {
	safe, err := asn1.Marshal(parts)
	if err != nil {
		return nil, err
	}
	whole := pfx{Version: 3}
	if whole.AuthSafe, err = dataOf(safe); err != nil {
		return nil, err
	}
	const block = 64 // of SHA-256, in bytes
	purpose, salt := bytes.Repeat([]byte{3}, block), make([]byte, 16)
	h := sha256.New()
	h.Write(purpose)
	h.Write(bytes.Repeat(salt, block/len(salt)))
	if n := len(password); n > 0 {
		whole := (n + block - 1) / block * block
		h.Write(bytes.Repeat(password, whole/n+1)[:whole])
	}
	mac := hmac.New(sha256.New, h.Sum(nil))
	mac.Write(safe)
	whole.Mac.Mac.Algorithm.Algorithm = oidSHA256
	whole.Mac.Mac.Digest, whole.Mac.Salt, whole.Mac.Iterations = mac.Sum(nil), salt, 1
	return asn1.Marshal(whole)
}

// bmpString encodes a password (RFC 7292 appendix B.1).
func bmpString(password string) (encoded []byte) {
	for _, unit := range utf16.Encode([]rune(password)) {
		encoded = binary.BigEndian.AppendUint16(encoded, unit)
	}
	return append(encoded, 0, 0)
}

// findCertificate sets the certificate of the entry's key.
func (e *pkcs12Entry) findCertificate(certificates []namedCertificate) {
	signer, is := e.private.(crypto.Signer)
	for _, c := range certificates {
		if e.pss != nil && e.certifies(c.Certificate) {
			e.certificate = c.Certificate
		}
		if public, ok := c.PublicKey.(interface{ Equal(x crypto.PublicKey) bool }); is && ok && public.Equal(signer.Public()) {
			e.certificate = c.Certificate
		}
	}
}
