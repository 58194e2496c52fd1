package keyfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"

	"github.com/go-jose/go-jose/v4"
)

// oidRSAPSS is id-RSASSA-PSS (RFC 4055 section 1.2): the key may sign with PSS only.
var oidRSAPSS = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}

var oidMGF1 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 8} // RFC 4055 section 2.2

// pssHashes maps hash functions to their algorithm (RFC 7518 section 3.5) and the length of
// its salt.
var pssHashes = map[string]struct {
	alg  jose.SignatureAlgorithm
	salt int
}{
	"2.16.840.1.101.3.4.2.1": {jose.PS256, 32}, "2.16.840.1.101.3.4.2.2": {jose.PS384, 48}, "2.16.840.1.101.3.4.2.3": {jose.PS512, 64},
}

// pssAlgorithms returns the algorithms that an RSASSA-PSS key may sign with: all if it
// has no parameters, else the one of its hash function if that has the same mask and no
// shorter salt than the key demands (RFC 4055 section 3.1), or none.
func pssAlgorithms(id pkix.AlgorithmIdentifier) []jose.SignatureAlgorithm {
	if len(id.Parameters.FullBytes) == 0 || id.Parameters.Tag == asn1.TagNull {
		return []jose.SignatureAlgorithm{jose.PS256, jose.PS384, jose.PS512}
	}
	var params struct {
		Hash    pkix.AlgorithmIdentifier `asn1:"optional,explicit,tag:0"` // absent: SHA-1
		Mask    pkix.AlgorithmIdentifier `asn1:"optional,explicit,tag:1"` // absent: MGF1 with SHA-1
		Salt    int                      `asn1:"optional,explicit,tag:2,default:20"`
		Trailer int                      `asn1:"optional,explicit,tag:3,default:1"`
	}
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &params); err != nil {
		return nil
	}
	use, known := pssHashes[params.Hash.Algorithm.String()]
	var mask pkix.AlgorithmIdentifier
	_, err := asn1.Unmarshal(params.Mask.Parameters.FullBytes, &mask)
	if err != nil || !known || !params.Mask.Algorithm.Equal(oidMGF1) || !mask.Algorithm.Equal(params.Hash.Algorithm) || params.Salt > use.salt || params.Trailer != 1 {
		return nil
	}
	return []jose.SignatureAlgorithm{use.alg}
}

// pssOnly returns the algorithms of an RSASSA-PSS key in DER, a PrivateKeyInfo or a
// SubjectPublicKeyInfo; restricted is false for every other key.
func pssOnly(der []byte) (algs []jose.SignatureAlgorithm, restricted bool) {
	var private pkcs8
	var public struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	id := &private.Algorithm
	if _, err := asn1.Unmarshal(der, &private); err != nil {
		if _, err := asn1.Unmarshal(der, &public); err != nil {
			return nil, false
		}
		id = &public.Algorithm
	}
	clear(private.PrivateKey)
	if !id.Algorithm.Equal(oidRSAPSS) {
		return nil, false
	}
	return pssAlgorithms(*id), true
}
