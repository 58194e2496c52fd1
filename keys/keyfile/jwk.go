package keyfile

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/strictjson"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/tokens"
)

// foreignJWK reads members of a JWK. It keeps its first fault in err; later
// results are then invalid.
type foreignJWK struct {
	field   string
	members map[string]json.RawMessage
	err     error
}

func privateJWK(raw []byte) (Key, error) {
	members, err := strictjson.ParseObject(raw)
	if err != nil {
		return Key{}, tokens.Invalid(FieldPrivate, err.Error())
	}
	if _, set := members["keys"]; set {
		return Key{}, tokens.Invalid(FieldPrivate, "is a JWK Set; import one of its keys at a time")
	}
	j := &foreignJWK{field: FieldPrivate, members: members}
	if !j.has("d") && !j.has("k") && !j.has("priv") {
		return Key{}, tokens.Invalid(FieldPrivate, "is a public JWK; it is imported as public_key, with expires_at")
	}
	return j.parseKey(true)
}

func publicJWKs(raw []byte) (Set, error) {
	members, err := strictjson.ParseObject(raw)
	if err != nil {
		return Set{}, tokens.Invalid(FieldPublic, err.Error())
	}
	if list, set := members["keys"]; set {
		return keysOfSet(list)
	}
	b, err := (&foreignJWK{field: FieldPublic, members: members}).parseKey(false)
	return Set{Keys: []Key{b}}, err
}

// keysOfSet reads the signature keys of a JWK Set. It skips what is none, and refuses a
// key that cannot be imported, by itself and with the reason (RFC 7517 section 5). A set
// that has a private key, of any kind and use, is refused whole: it was not meant to be
// sent. A shared secret (oct) is skipped.
func keysOfSet(list json.RawMessage) (Set, error) {
	var items []json.RawMessage
	const field = FieldPublic + ".keys"
	if err := json.Unmarshal(list, &items); err != nil || items == nil {
		return Set{}, tokens.Invalid(field, "must be an array of JWKs")
	}
	if len(items) > MaxKeys {
		return Set{}, tokens.Invalid(field, fmt.Sprintf("must have at most %d keys", MaxKeys))
	}
	set := Set{IsSet: true}
	for i, item := range items {
		j := &foreignJWK{field: fmt.Sprintf("%s[%d]", field, i)}
		members, err := strictjson.ParseObject(item)
		if j.members = members; err != nil {
			set.Refuse(i, "", tokens.Invalid(j.field, err.Error()))
			continue
		}
		if member := j.privateMember(); member != "" {
			return Set{}, tokens.Invalid(j.field+"."+member, isPrivate)
		}
		switch got, kid := j.judge(), j.text("kid"); {
		case got.Stranger != "":
			set.skip(i, kid, got.Stranger, j)
		case got.Err != nil:
			set.Refuse(i, kid, got.Err)
		default:
			got.Key.Index = i
			set.Keys = append(set.Keys, got.Key)
		}
	}
	if len(set.Keys) == 0 {
		return Set{}, cmp.Or(set.fault, tokens.Invalid(field, "has no key for signatures"))
	}
	return set, nil
}

// Judgement is what becomes of a JWK by itself, whatever comes with it and whatever the
// tenant has.
type Judgement struct {
	Key      Key    // if it has neither of the others
	Stranger string // why Keyward has no use for it, as [Labels.Stranger] says
	Err      error  // why it is refused: [*tokens.ClaimError], without key material
}

// JudgePublic judges the public half of a JWK, as an import of a JWK Set does. It looks at
// no private member.
func JudgePublic(raw []byte) Judgement {
	members, err := strictjson.ParseObject(raw)
	if err != nil {
		return Judgement{Err: tokens.Invalid(FieldPublic, err.Error())}
	}
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool {
		return slices.Contains(privateMembers, strings.ToLower(name))
	})
	return (&foreignJWK{field: FieldPublic, members: members}).judge()
}

// judge judges a public JWK.
func (j *foreignJWK) judge() Judgement {
	labels := j.labels()
	switch reason, unsupported := labels.Stranger(), labels.Unsupported(); {
	case j.err != nil:
		return Judgement{Err: j.err}
	case reason == "" && j.isRevoked():
		return Judgement{Stranger: revoked}
	case reason != "":
		return Judgement{Stranger: reason}
	case unsupported != "":
		return Judgement{Err: tokens.Invalid(j.field, unsupported)}
	}
	key, err := j.parseKey(false)
	return Judgement{Key: key, Err: err}
}

// parseKey reads the key, its kid and its alg.
func (j *foreignJWK) parseKey(private bool) (Key, error) {
	j.checkUse(private)
	b := Key{Field: j.field, KID: j.text("kid"), Alg: jose.SignatureAlgorithm(j.text("alg")), Expires: j.expiry()}
	if j.isRevoked() {
		j.fail("", revoked)
	}
	switch KeyType(j.text("kty")) {
	case "EC":
		j.readEC(&b, private)
	case "OKP":
		j.readOKP(&b, private)
	case "RSA":
		j.readRSA(&b, private)
	case "AKP":
		j.readAKP(&b, private)
	case "oct":
		j.fail("kty", "is oct, a shared secret; only asymmetric keys are imported, because a verifier must not be able to sign")
	default:
		j.fail("kty", "must be EC, OKP, RSA or AKP")
	}
	if j.err != nil {
		return Key{}, j.err
	}
	return b, nil
}

// isPrivate refuses a private member of what is sent as a public key.
const isPrivate = "is private; send the public members alone, or the whole key as private_key to sign with it"

// privateMember returns a private member of the key; empty if it has none. Names of another
// case are private too: .NET's JsonWebKey calls it D, and what is secret must not be taken
// for nothing.
func (j *foreignJWK) privateMember() string {
	for _, name := range slices.Sorted(maps.Keys(j.members)) {
		if slices.Contains(privateMembers, strings.ToLower(name)) && j.has(name) {
			return name
		}
	}
	return ""
}

// privateMembers are those of the private half of a key pair (RFC 7518 sections 6.2.2 and
// 6.3.2, RFC 8037 section 2, RFC 9964).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "priv"}

// checkPrimes refuses RSA keys of more than two primes.
func (j *foreignJWK) checkPrimes() {
	if j.has("oth") {
		j.fail("oth", "must be absent: RSA keys of more than two primes are not imported")
	}
}

// checkUse refuses keys for uses other than signatures (RFC 7517 sections 4.2
// and 4.3), and private members in a public key.
func (j *foreignJWK) checkUse(private bool) {
	if use := j.text("use"); use != "" && use != "sig" {
		j.fail("use", fmt.Sprintf("must be sig, not %.20q: the key is not for signatures", use))
	}
	ops, given := j.keyOperations()
	switch signs, verifies := slices.Contains(ops, "sign"), slices.Contains(ops, "verify"); {
	case given && private && !signs:
		j.fail("key_ops", "must name sign")
	case given && !signs && !verifies: // some issuers publish the key_ops of the private half
		j.fail("key_ops", "must name verify")
	}
	j.checkPrimes()
	if member := j.privateMember(); !private && member != "" {
		j.fail(member, isPrivate)
	}
}

// labels returns what the key says of its kind and purpose.
func (j *foreignJWK) labels() Labels {
	ops, _ := j.keyOperations()
	return Labels{KTY: KeyType(j.text("kty")), CRV: j.text("crv"), Use: j.text("use"), Alg: j.text("alg"), KeyOps: ops}
}

const contradicts = "has members that contradict each other"

// readEC reads the members of an EC key (RFC 7518 section 6.2).
func (j *foreignJWK) readEC(b *Key, private bool) {
	curve := curveNamed(j.text("crv"))
	if curve == nil {
		j.fail("crv", "must be P-256, P-384 or P-521")
		return
	}
	size := (curve.Params().BitSize + 7) / 8 // RFC 7518 section 6.2.1.2
	x, y := j.coordinate("x", size), j.coordinate("y", size)
	if j.err != nil {
		return
	}
	public, err := ecdsa.ParseUncompressedPublicKey(curve, append(append([]byte{4}, x...), y...))
	if err != nil {
		j.fail("x", "and y are no point of the curve")
		return
	}
	b.Public = public
	if !private {
		return
	}
	d := j.coordinate("d", size)
	defer clear(d)
	if j.err != nil {
		return
	}
	key, err := ecdsa.ParseRawPrivateKey(curve, d)
	if err != nil {
		j.fail("d", "is not in the range of the curve")
		return
	}
	if !key.PublicKey.Equal(public) {
		j.fail("", contradicts+": x and y are not the public half of d")
		return
	}
	b.Private = key
}

// curveNamed returns the curve that an algorithm signs on, nil if none does.
func curveNamed(crv string) elliptic.Curve {
	for _, alg := range keys.Algorithms() {
		if curve := keys.Curve(alg); curve != nil && curve.Params().Name == crv {
			return curve
		}
	}
	return nil
}

// coordinate returns a number padded to size bytes. Leading zeros may be
// missing, because some libraries omit them against RFC 7518 section 6.2.1.2
// and the value is the same.
func (j *foreignJWK) coordinate(name string, size int) []byte {
	b := j.octets(name)
	for len(b) > size && b[0] == 0 {
		b = b[1:]
	}
	if len(b) > size {
		j.fail(name, "is too long for the curve")
	}
	if j.err != nil {
		return nil
	}
	defer clear(b)
	full := make([]byte, size)
	copy(full[size-len(b):], b)
	return full
}

const unsoundEd25519 = "no point of the curve, or one of small order, whose signatures anybody can make"

// readOKP reads the members of an Ed25519 key (RFC 8037 section 2).
func (j *foreignJWK) readOKP(b *Key, private bool) {
	switch j.text("crv") {
	case "Ed25519":
	case "X25519", "X448":
		j.fail("", cannotSign)
	default:
		j.fail("crv", "must be Ed25519")
	}
	x := j.octets("x")
	switch {
	case j.err != nil:
	case len(x) != ed25519.PublicKeySize:
		j.fail("x", "must be 32 bytes")
	case !soundEd25519(x):
		j.fail("x", "is "+unsoundEd25519)
	}
	if j.err != nil {
		return
	}
	b.Public = ed25519.PublicKey(x)
	if !private {
		return
	}
	d := j.octets("d")
	defer clear(d)
	if j.err == nil && len(d) != ed25519.SeedSize {
		j.fail("d", "must be 32 bytes")
	}
	if j.err != nil {
		return
	}
	key := ed25519.NewKeyFromSeed(d)
	if !keys.EqualPublic(key.Public(), b.Public) {
		j.fail("", contradicts+": x is not the public half of d")
		return
	}
	b.Private = key
}

// readAKP reads the members of an ML-DSA key (RFC 9964), whose private half is
// the seed of FIPS 204 section 5.1.
func (j *foreignJWK) readAKP(b *Key, private bool) {
	params, known := keys.MLDSA(b.Alg)
	if !known {
		j.fail("alg", "must be ML-DSA-44, ML-DSA-65 or ML-DSA-87")
		return
	}
	pub := j.octets("pub")
	if j.err != nil {
		return
	}
	public, err := mldsa.NewPublicKey(params, pub)
	if err != nil {
		j.fail("pub", fmt.Sprintf("must be %d bytes", params.PublicKeySize()))
		return
	}
	b.Public = public
	if !private {
		return
	}
	seed := j.octets("priv")
	defer clear(seed)
	if j.err == nil && len(seed) != mldsa.PrivateKeySize {
		j.fail("priv", "must be 32 bytes: the seed, not the expanded key")
	}
	if j.err != nil {
		return
	}
	key, err := mldsa.NewPrivateKey(params, seed)
	if err != nil {
		j.fail("priv", "cannot be used as a seed")
		return
	}
	if !key.PublicKey().Equal(public) {
		j.fail("", contradicts+": pub is not the public half of priv")
		return
	}
	b.Private = key
}

// readRSA reads the members of an RSA key (RFC 7518 section 6.3).
func (j *foreignJWK) readRSA(b *Key, private bool) {
	n, e := j.number("n"), j.number("e")
	if j.err == nil {
		j.err = strongRSA(j.field, n, e)
	}
	if j.err != nil {
		return
	}
	public := rsa.PublicKey{N: n, E: int(e.Int64())}
	b.Public = &public
	if !private {
		return
	}
	key := &rsa.PrivateKey{PublicKey: public, D: j.number("d"), Primes: []*big.Int{j.number("p"), j.number("q")}}
	if j.err != nil {
		return
	}
	if key.Validate() != nil {
		j.fail("", contradicts+": n, e, d, p and q are not of one key")
		return
	}
	key.Precompute()
	j.checkCRT(key)
	b.Private = key
}

// checkCRT checks dp, dq and qi, which only speed up signing, if they are
// present.
func (j *foreignJWK) checkCRT(key *rsa.PrivateKey) {
	for name, want := range map[string]*big.Int{"dp": key.Precomputed.Dp, "dq": key.Precomputed.Dq, "qi": key.Precomputed.Qinv} {
		if j.has(name) && j.number(name).Cmp(want) != 0 {
			j.fail("", contradicts+": dp, dq or qi do not belong to the others")
		}
	}
}

// isRevoked reports whether the issuer has revoked the key: revoked of OpenID Federation
// 1.0 section 8.7, an object; other systems write true or when it was.
func (j *foreignJWK) isRevoked() bool {
	return j.has("revoked") && string(j.members["revoked"]) != "false"
}

// lastSecond is the end of the year 9999, after which times have no form in JSON (RFC 3339).
var lastSecond = float64(time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC).Unix())

// expiry returns when the key expires at its issuer (exp of the same section), zero for
// never. What is no number is a member of somebody's own.
func (j *foreignJWK) expiry() time.Time {
	var seconds float64
	if json.Unmarshal(j.members["exp"], &seconds) != nil || seconds == 0 {
		return time.Time{}
	}
	return time.Unix(int64(max(min(seconds, lastSecond), 0)), 0).UTC()
}

func (j *foreignJWK) number(name string) *big.Int {
	b := j.octets(name)
	defer clear(b)
	return new(big.Int).SetBytes(b)
}

func (j *foreignJWK) keyOperations() (ops []string, given bool) {
	if !j.has("key_ops") {
		return nil, false
	}
	if json.Unmarshal(j.members["key_ops"], &ops) != nil {
		j.fail("key_ops", "must be an array of strings")
	}
	return ops, true
}

func (j *foreignJWK) has(name string) bool {
	raw, given := j.members[name]
	return given && !saysNothing(raw)
}

// saysNothing reports whether a member has the value null or []: some libraries, as
// those of .NET, write members that are absent like this.
func saysNothing(raw json.RawMessage) bool {
	if bytes.Equal(raw, []byte("null")) {
		return true
	}
	inner, opened := bytes.CutPrefix(raw, []byte("["))
	return opened && bytes.Equal(bytes.TrimSpace(inner), []byte("]"))
}

func (j *foreignJWK) fail(name, message string) {
	if j.err == nil {
		j.err = tokens.Invalid(strings.TrimSuffix(j.field+"."+name, "."), message)
	}
}

// text returns a string member; empty if it is absent.
func (j *foreignJWK) text(name string) (s string) {
	raw := j.members[name]
	switch {
	case !j.has(name):
	case json.Unmarshal(raw, &s) != nil:
		j.fail(name, "must be a string")
	case strings.ContainsRune(s, '\ufffd') && !bytes.ContainsRune(raw, '\ufffd') && !bytes.Contains(bytes.ToLower(raw), []byte(`\ufffd`)):
		j.fail(name, "is not Unicode: half of a surrogate pair stands alone") // the decoder has replaced it
	}
	return s
}

// maxNumber limits a number of a key, in bytes, and maxOctets any of its members:
// there is room for leading zeros and for the longest ML-DSA key.
const (
	maxNumber = 8192 / 8
	maxOctets = max(2*maxNumber, mldsa.MLDSA87PublicKeySize)
)

// octets returns a decoded base64url member (RFC 7515 section 2).
func (j *foreignJWK) octets(name string) []byte {
	if !j.has(name) {
		j.fail(name, "is required")
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(j.text(name))
	if err != nil || len(b) == 0 || len(b) > maxOctets {
		j.fail(name, "is not a number in base64url without padding")
		return nil
	}
	return b
}
