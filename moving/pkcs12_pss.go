package moving

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha1" // #nosec G505 -- of the derivation that the file names
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"hash"
	"strings"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
)

// oidRSAPSS is the type of RSASSA-PSS keys (RFC 4055), which the library of PKCS#12 does
// not decode.
var oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}

var (
	oidPBES2  = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}
	oidPBKDF2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12}
)

// pbkdf2Hashes are the hash functions of PBKDF2, by the identifier of their HMAC.
var pbkdf2Hashes = map[string]func() hash.Hash{
	"": sha1.New, "1.2.840.113549.2.7": sha1.New, "1.2.840.113549.2.8": sha256.New224, "1.2.840.113549.2.9": sha256.New,
	"1.2.840.113549.2.10": sha512.New384, "1.2.840.113549.2.11": sha512.New,
}

// aesKeySizes are the lengths of keys of AES in CBC mode, in bytes.
var aesKeySizes = map[string]int{"2.16.840.1.101.3.4.1.2": 16, "2.16.840.1.101.3.4.1.22": 24, "2.16.840.1.101.3.4.1.42": 32}

var errNotPBES2 = errors.New("another encryption than PBES2 with AES")

// readPSS sets the entry's key if the bag has an RSASSA-PSS key, or the reason why it is
// refused.
func (e *pkcs12Entry) readPSS(b safeBag, password string) {
	der, err := b.privateKeyInfo(password)
	if err != nil {
		e.refuse = "it is an RSASSA-PSS key in an encryption that is not read here; take it out with: openssl pkcs12 -in store.p12 -nocerts -nodes -out key.pem, import that with keyward key import --pem, and delete it"
		return
	}
	e.pss = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	clear(der)
}

// privateKeyInfo returns the PKCS#8 of a bag.
func (b safeBag) privateKeyInfo(password string) ([]byte, error) {
	if b.ID.Equal(oidKeyBag) {
		return append([]byte(nil), b.Value.Bytes...), nil
	}
	var shrouded struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	if _, err := asn1.Unmarshal(b.Value.Bytes, &shrouded); err != nil {
		return nil, err
	}
	return decryptPBES2(shrouded.Algorithm, shrouded.Data, password)
}

// decryptPBES2 decrypts PBES2 with PBKDF2 and AES in CBC mode (RFC 8018), which keytool and
// openssl write.
func decryptPBES2(id pkix.AlgorithmIdentifier, data []byte, password string) ([]byte, error) {
	var scheme struct{ KDF, Encryption pkix.AlgorithmIdentifier }
	var kdf struct {
		Salt       []byte
		Iterations int
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	var iv []byte
	if !id.Algorithm.Equal(oidPBES2) {
		return nil, errNotPBES2
	}
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &scheme); err != nil || !scheme.KDF.Algorithm.Equal(oidPBKDF2) {
		return nil, errNotPBES2
	}
	_, err := asn1.Unmarshal(scheme.KDF.Parameters.FullBytes, &kdf)
	_, faulty := asn1.Unmarshal(scheme.Encryption.Parameters.FullBytes, &iv)
	function, size := pbkdf2Hashes[kdf.PRF.Algorithm.String()], aesKeySizes[scheme.Encryption.Algorithm.String()]
	if err != nil || faulty != nil || function == nil || size == 0 || kdf.Iterations < 1 || len(iv) != aes.BlockSize || len(data) == 0 || len(data)%aes.BlockSize != 0 {
		return nil, errNotPBES2
	}
	key, err := pbkdf2.Key(function, password, kdf.Salt, kdf.Iterations, size)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	plain := make([]byte, len(data))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, data)
	padding := int(plain[len(plain)-1])
	if padding == 0 || padding > aes.BlockSize {
		return nil, errNotPBES2
	}
	return plain[:len(plain)-padding], nil
}

// isPSS reports whether the library could not decode a key because it is an RSASSA-PSS key.
func isPSS(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), "unknown algorithm: "+oidRSAPSS.String())
}

// certifies reports whether a certificate is for an RSASSA-PSS key, whose public half
// package x509 does not parse.
func (e *pkcs12Entry) certifies(c *x509.Certificate) bool {
	own, err := keyfile.ParsePrivate(e.pss)
	if err != nil {
		return false
	}
	set, err := keyfile.ParsePublic(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: c.RawSubjectPublicKeyInfo}))
	return err == nil && keys.EqualPublic(own.Public, set.Keys[0].Public)
}
