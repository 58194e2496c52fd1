package moving

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/sha1" // #nosec G505 -- names certificates as .NET does
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/keyward/keyward/internal/plural"
)

// Values of PKCS12Options.KIDFrom.
const (
	KIDThumbprint  = "thumbprint"  // RFC 7638, SHA-256
	KIDAlias       = "alias"       // the entry's name, as Nimbus and Spring do
	KIDCertificate = "certificate" // SHA-1 of the certificate in upper-case hexadecimal, as .NET does
)

// PKCS12Options are the options of PKCS12.
type PKCS12Options struct {
	Password string
	KIDFrom  string // KIDThumbprint, KIDAlias or KIDCertificate
	KID      string // of the only key; empty: as KIDFrom says

	patience time.Duration // 0: pkcs12Patience
}

// pkcs12Patience is how long a file may take to open. It says itself how often its
// password is hashed, inside of encrypted parts too.
const pkcs12Patience = time.Minute

// PKCS12 reads the private keys of a PKCS#12 file (RFC 7292), which keytool, openssl and
// Windows write. The first one signs.
func PKCS12(path string, o PKCS12Options, s Settings) ([]Key, error) {
	file, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(file)
	if bytes.HasPrefix(file, []byte{0xfe, 0xed, 0xfe, 0xed}) || bytes.HasPrefix(file, []byte{0xce, 0xce, 0xce, 0xce}) {
		return nil, fmt.Errorf("%w: it is a keystore in Java's own form; convert it with: keytool -importkeystore -srckeystore old.jks -destkeystore new.p12 -deststoretype PKCS12", ErrFormat)
	}
	if bytes.Contains(file, []byte("-----BEGIN ")) {
		return nil, fmt.Errorf("%w: it is PEM and not PKCS#12: import it with keyward key import --pem", ErrFormat)
	}
	entries, err := openPKCS12(file, o.Password, cmp.Or(o.patience, pkcs12Patience))
	if err != nil {
		return nil, err
	}
	usable := 0
	for _, e := range entries {
		if e.private != nil || e.pss != nil {
			usable++
		}
	}
	if o.KID != "" && usable > 1 {
		return nil, fmt.Errorf("%w: it has %s, so they cannot all have the kid given", ErrFormat, plural.Count(usable, "private key"))
	}
	var keys []Key
	for i, e := range entries {
		keys = append(keys, e.toKey(fmt.Sprintf("keys[%d]", i), o, s))
	}
	return keys, nil
}

// toKey returns the entry's key. place names it if it has neither kid nor alias.
func (e pkcs12Entry) toKey(place string, o PKCS12Options, s Settings) (k Key) {
	var err error
	if e.private == nil && e.pss == nil {
		return Key{KID: cmp.Or(e.alias, place), State: cmp.Or(e.state, "private"), SkipReason: e.skip, Stranger: e.skip != "", RefuseReason: e.refuse}
	}
	if e.pss != nil {
		k, err = privateKey(e.pss)
	} else {
		k, err = privateFromSigner(e.private)
	}
	k.State = "private"
	if err != nil {
		k.KID, k.RefuseReason = cmp.Or(e.alias, place), faultOf(err)
		return k
	}
	if k.KID, err = e.kid(k, o); err != nil {
		k.KID, k.RefuseReason = cmp.Or(e.alias, place), err.Error()
	}
	k.chooseAlgorithm(s)
	return k
}

// pkcs12Entry is a private key of a file, with its certificate if there is one.
type pkcs12Entry struct {
	alias        string
	keyID        string            // that its certificate has as well
	private      crypto.PrivateKey // nil: pss has it, or skip or refuse says why it cannot be had
	pss          Secret            // an RSASSA-PSS key in PEM
	certificate  *x509.Certificate
	state        string // empty: private
	skip, refuse string
}

func (e pkcs12Entry) kid(k Key, o PKCS12Options) (string, error) {
	switch {
	case o.KID != "":
		return o.KID, nil
	case o.KIDFrom == KIDAlias && e.alias == "":
		return "", errors.New("it has no alias: give --kid")
	case o.KIDFrom == KIDAlias:
		return e.alias, nil
	case o.KIDFrom == KIDCertificate && e.certificate == nil:
		return "", errors.New("it has no certificate: give --kid")
	case o.KIDFrom == KIDCertificate:
		return certificateHash(e.certificate), nil
	}
	return k.Public.Thumbprint(), nil
}

// certificateHash returns the name of a certificate in .NET.
func certificateHash(c *x509.Certificate) string {
	sum := sha1.Sum(c.Raw) // #nosec G401 -- a name, not a proof
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// openPKCS12 decodes a file, or gives it up after patience. What is given up goes on in
// the background with a copy of the file.
func openPKCS12(file []byte, password string, patience time.Duration) ([]pkcs12Entry, error) {
	type result struct {
		entries []pkcs12Entry
		err     error
	}
	opened, file := make(chan result, 1), bytes.Clone(file)
	go func() {
		defer clear(file)
		entries, err := pkcs12Entries(file, password)
		opened <- result{entries, err}
	}()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case r := <-opened:
		return r.entries, r.err
	case <-late.C:
		return nil, fmt.Errorf("%w: it does not open within %v: the iterations of its key derivation are too many", ErrFormat, patience)
	}
}

// pkcs12Entries decodes a file. ToPEM alone reads several keys and their names, but fails
// for the whole file if it does not know the type of one.
func pkcs12Entries(file []byte, password string) ([]pkcs12Entry, error) {
	//lint:ignore SA1019 nothing else reads all keys of a file; see above
	blocks, err := pkcs12.ToPEM(file, password)
	defer func() {
		for _, b := range blocks {
			if b.Type == "PRIVATE KEY" { // a parsed certificate refers to its bytes
				clear(b.Bytes)
			}
		}
	}()
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword) && password == "":
		return nil, fmt.Errorf("%w: it needs a password: give --password-file", ErrFormat)
	case errors.Is(err, pkcs12.ErrIncorrectPassword):
		return nil, fmt.Errorf("%w: the password does not open it", ErrFormat)
	case err == nil:
		if entries := entriesOf(blocks); len(entries) > 0 {
			return entries, nil
		}
	}
	entries, err := entriesOneByOne(file, password)
	if err != nil || len(entries) == 0 {
		return nil, fmt.Errorf("%w: it is no PKCS#12 file with private keys that Keyward can read; take a key out with: openssl pkcs12 -in store.p12 -nocerts -nodes -out key.pem, import that with keyward key import --pem, and delete it", ErrFormat)
	}
	return entries, nil
}

func entriesOf(blocks []*pem.Block) (entries []pkcs12Entry) {
	var certificates []namedCertificate
	for _, b := range blocks {
		if certificate, err := x509.ParseCertificate(b.Bytes); err == nil {
			certificates = append(certificates, namedCertificate{b.Headers["friendlyName"], b.Headers["localKeyId"], certificate})
		}
	}
	for _, b := range blocks {
		if b.Type != "PRIVATE KEY" {
			continue
		}
		var signer crypto.Signer
		if key, err := x509.ParsePKCS1PrivateKey(b.Bytes); err == nil {
			signer = key
		} else if key, err := x509.ParseECPrivateKey(b.Bytes); err == nil {
			signer = key
		} else {
			return nil
		}
		entries = append(entries, pkcs12Entry{alias: b.Headers["friendlyName"], keyID: b.Headers["localKeyId"], private: signer})
	}
	return withCertificates(entries, certificates)
}
