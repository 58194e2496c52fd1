package jwkstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Claims of a token, besides those that [Issuer.Token] adds.
type Claims map[string]any

// Token signs a token with the key kid. iss is the issuer, iat now, exp in five
// minutes and typ "JWT", unless claims say otherwise; a claim that is nil is left
// out. It panics if there is no such key.
func (i *Issuer) Token(kid string, claims Claims) string {
	now := time.Now()
	all := Claims{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix()}
	for name, value := range claims {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return i.Sign(kid, map[string]any{"typ": "JWT"}, payload)
}

// Sign signs any payload with the key kid. alg and kid are added to the header if it
// has none; members that are nil are left out.
func (i *Issuer) Sign(kid string, header map[string]any, payload []byte) string {
	k := i.key(kid)
	all := map[string]any{"alg": k.alg, "kid": kid}
	for name, value := range header {
		if all[name] = value; value == nil {
			delete(all, name)
		}
	}
	head, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	input := encode(head) + "." + encode(payload)
	return input + "." + encode(k.sign([]byte(input)))
}

func (i *Issuer) key(kid string) key {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, k := range i.keys {
		if k.kid == kid {
			return k
		}
	}
	panic(fmt.Sprintf("jwkstest: there is no key %q", kid))
}

// sign is RFC 7518 section 3, RFC 8037 section 3.1 and RFC 9964.
func (k key) sign(input []byte) []byte {
	var opts crypto.SignerOpts = crypto.Hash(0)
	if hash := hashOf(k.alg); hash != 0 {
		h := hash.New()
		h.Write(input)
		input, opts = h.Sum(nil), hash
		if k.alg[0] == 'P' {
			opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
	}
	signature, err := k.private.Sign(rand.Reader, input, opts)
	if err != nil {
		panic(err)
	}
	if ec, ok := k.private.(*ecdsa.PrivateKey); ok {
		return flatSignature(signature, (ec.Curve.Params().BitSize+7)/8)
	}
	return signature
}

func hashOf(alg jose.SignatureAlgorithm) crypto.Hash {
	switch alg {
	case jose.RS256, jose.PS256, jose.ES256:
		return crypto.SHA256
	case jose.RS384, jose.PS384, jose.ES384:
		return crypto.SHA384
	case jose.RS512, jose.PS512, jose.ES512:
		return crypto.SHA512
	}
	return 0
}

// flatSignature returns R ‖ S (RFC 7518 section 3.4).
func flatSignature(der []byte, size int) []byte {
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		panic(err)
	}
	both := make([]byte, 2*size)
	rs.R.FillBytes(both[:size])
	rs.S.FillBytes(both[size:])
	return both
}

func mustGenerate(alg jose.SignatureAlgorithm) crypto.Signer {
	private, err := newKey(alg)
	if err != nil {
		panic(fmt.Sprintf("jwkstest: a key for %s: %v", alg, err))
	}
	return private
}

func newKey(alg jose.SignatureAlgorithm) (crypto.Signer, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.ES384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jose.ES512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case jose.EdDSA, "Ed25519":
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jose.MLDSA44:
		return mldsa.GenerateKey(mldsa.MLDSA44())
	case jose.MLDSA65:
		return mldsa.GenerateKey(mldsa.MLDSA65())
	case jose.MLDSA87:
		return mldsa.GenerateKey(mldsa.MLDSA87())
	}
	if hashOf(alg) == 0 {
		return nil, fmt.Errorf("unknown algorithm")
	}
	return rsa.GenerateKey(rand.Reader, 2048)
}
