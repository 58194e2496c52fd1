package moving

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys/keyfile"
)

// dotNetRSA is RSAParameters of .NET, as Newtonsoft.Json and System.Text.Json write it,
// and as RSA.ToXmlString does: numbers in base64.
type dotNetRSA struct {
	D, DP, DQ, Exponent, InverseQ, Modulus, P, Q string
}

// dotNetEC is ECParameters of .NET with its point.
type dotNetEC struct {
	D string
	Q struct{ X, Y string }
}

// dotNetJWK is a JsonWebKey of Microsoft.IdentityModel as System.Text.Json writes it,
// which names the members as the properties are: Kty, Kid. NetDevPack stores it.
type dotNetJWK struct {
	Kty, Crv, N, E, D, DP, DQ, P, Q, QI, X, Y, Alg, Use, Kid string
	KeyOps                                                   []string
}

func (j dotNetJWK) toKey(s Settings) (Key, error) {
	members := map[string]any{}
	for name, value := range map[string]string{
		"kty": j.Kty, "crv": j.Crv, "n": j.N, "e": j.E, "d": j.D, "dp": j.DP, "dq": j.DQ, "p": j.P, "q": j.Q, "qi": j.QI, "x": j.X, "y": j.Y, "alg": j.Alg, "use": j.Use, "kid": j.Kid,
	} {
		if value != "" {
			members[name] = value
		}
	}
	if len(j.KeyOps) > 0 {
		members["key_ops"] = j.KeyOps
	}
	text, err := json.Marshal(members)
	if err != nil {
		return Key{}, err
	}
	defer clear(text)
	return parseJWK(text, "key", s), nil
}

// Dotnet reads a key that a .NET program wrote: RSAParameters as JSON or XML
// (RSA.ToXmlString), the tempkey.rsa of IdentityServer4, a JWK, or PEM; or the key store
// of Duende IdentityServer ([duendeKeys]). kid is that of a single key; empty: its own.
func Dotnet(path, kid string, s Settings) ([]Key, error) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return duendeKeys(path, s)
	}
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	keys, several := severalDotnet(keyfile.Text(text), s)
	if !several {
		k, err := parseDotnet(keyfile.Text(text), s)
		if err != nil {
			return nil, err
		}
		keys = []Key{k}
	}
	switch {
	case kid == "":
	case len(keys) > 1:
		return keys, fmt.Errorf("%w: it has %s, so they cannot all have the kid given", ErrFormat, plural.Count(len(keys), "key"))
	default:
		keys[0].KID, keys[0].Note = kid, ""
	}
	return keys, nil
}

// severalDotnet parses a file that may have several keys: a file of the key store of Duende
// IdentityServer, the rows of its table Keys as a list, or a JsonWebKeySet by the names of
// its properties.
func severalDotnet(text []byte, s Settings) (keys []Key, several bool) {
	var one duendeKey
	var rows []duendeKey
	var set struct {
		Keys []json.RawMessage
	}
	switch {
	case json.Unmarshal(text, &one) == nil && one.ID != "" && one.Data != "":
		return []Key{one.toKey(s)}, true
	case json.Unmarshal(text, &rows) == nil && len(rows) > 0 && len(rows) <= maxKeys && !slices.ContainsFunc(rows, func(d duendeKey) bool { return d.ID == "" || d.Data == "" }):
		return keysOfStore(rows, s), true
	case json.Unmarshal(text, &set) != nil || len(set.Keys) == 0 || len(set.Keys) > maxKeys || countMembers(text, "keys") != 1:
		return nil, false
	}
	for i, raw := range set.Keys {
		k := parseJWK(raw, fmt.Sprintf("keys[%d]", i), s)
		var property dotNetJWK
		if !isJWK(raw) && json.Unmarshal(raw, &property) == nil && property.Kty != "" {
			var err error
			if k, err = property.toKey(s); err != nil {
				return nil, false
			}
		}
		k.State = privateOrPublic(k.hasPrivate)
		keys = append(keys, k)
	}
	return keys, true
}

func parseDotnet(text []byte, s Settings) (Key, error) {
	text = bytes.TrimSpace(text)
	var temp struct {
		dotNetRSA
		KeyID      string `json:"KeyId"`
		Parameters dotNetRSA
	}
	var property dotNetJWK
	var curve dotNetEC
	switch {
	case bytes.Contains(text, []byte("-----BEGIN ")):
		k, err := parsePEM(text)
		k.name("", s)
		return k, err
	case bytes.HasPrefix(text, []byte("<")):
		return parseXML(text, s)
	case isJWK(text):
		return parseJWK(text, "key", s), nil
	case json.Unmarshal(text, &property) == nil && property.Kty != "":
		return property.toKey(s)
	case json.Unmarshal(text, &curve) == nil && curve.alg() != "":
		return curve.toKey("", curve.alg(), s)
	case json.Unmarshal(text, &temp) != nil || temp.Modulus == "" && temp.Parameters.Modulus == "":
		return Key{}, fmt.Errorf("%w: it is not a key as .NET writes it: RSAParameters, a JWK or PEM", ErrFormat)
	case temp.Modulus != "":
		return temp.dotNetRSA.toKey(temp.KeyID, s)
	}
	return temp.Parameters.toKey(temp.KeyID, s)
}

// parseXML parses the XML of an RSA key: RSAKeyValue of RSA.ToXmlString, or RSAParameters
// of XmlSerializer. The text is UTF-8 whatever its declaration says, because
// [keyfile.Text] has decoded it.
func parseXML(text []byte, s Settings) (Key, error) {
	var key struct {
		XMLName xml.Name
		dotNetRSA
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.CharsetReader = func(_ string, input io.Reader) (io.Reader, error) { return input, nil }
	err := decoder.Decode(&key)
	switch {
	case err == nil && key.XMLName.Local == "key":
		return Key{}, fmt.Errorf("%w: it is a key of ASP.NET Data Protection, a shared secret that encrypts other keys and signs no tokens", ErrFormat)
	case err != nil || key.Modulus == "":
		return Key{}, fmt.Errorf("%w: it is not the XML of an RSA key (RSAKeyValue)", ErrFormat)
	}
	return key.toKey("", s)
}

// name sets the kid, the thumbprint if it is unknown, and the algorithm.
func (k *Key) name(kid string, s Settings) {
	if k.KID = kid; kid == "" && k.Public.Kty != "" {
		k.KID, k.Note = k.Public.Thumbprint(), "it has no kid at the source; this is its thumbprint"
	}
	if k.State = "public"; k.Private != nil {
		k.State = "private"
	}
	k.chooseAlgorithm(s)
}

func (r dotNetRSA) toKey(kid string, s Settings) (Key, error) {
	return dotNetKey(map[string]string{
		"n": r.Modulus, "e": r.Exponent, "d": r.D, "p": r.P, "q": r.Q, "dp": r.DP, "dq": r.DQ, "qi": r.InverseQ,
	}, map[string]string{"kty": "RSA"}, kid, s)
}

// alg returns the algorithm of the curve, which the length of its numbers tells; empty for
// another one.
func (c dotNetEC) alg() string {
	x, _ := base64.StdEncoding.DecodeString(c.Q.X)
	return map[int]string{32: "ES256", 48: "ES384", 66: "ES512"}[len(x)]
}

func (c dotNetEC) toKey(kid, alg string, s Settings) (Key, error) {
	crv := map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[alg]
	return dotNetKey(map[string]string{"x": c.Q.X, "y": c.Q.Y, "d": c.D}, map[string]string{"kty": "EC", "crv": crv, "alg": alg}, kid, s)
}

// dotNetKey builds a JWK of numbers in base64.
func dotNetKey(numbers, members map[string]string, kid string, s Settings) (k Key, err error) {
	if kid != "" {
		members["kid"] = kid
	}
	for name, value := range numbers {
		octets, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(value), ""))
		if err != nil {
			return k, fmt.Errorf("%w: a number of the key is not base64", ErrFormat)
		}
		if len(octets) > 0 {
			members[name] = base64.RawURLEncoding.EncodeToString(octets)
		}
		clear(octets)
	}
	text, err := json.Marshal(members)
	if err != nil {
		return k, err
	}
	defer clear(text)
	k = parseJWK(text, "key", s)
	if k.State = "public"; k.Private != nil {
		k.State = "private"
	}
	return k, nil
}

// duendeKey is a file of Duende IdentityServer's key store (SerializedKey).
type duendeKey struct {
	ID                string `json:"Id"`
	Created           dotNetTime
	Algorithm         string
	IsX509Certificate bool
	Data              string
	DataProtected     bool
}

// duendeKeys reads the key store of Duende IdentityServer: a directory with the files
// is-signing-key-<id>.json. The newest key of an algorithm signs; the store does not say
// which keys are only announced.
func duendeKeys(dir string, s Settings) ([]Key, error) {
	files, err := filepath.Glob(filepath.Join(dir, "is-signing-key-*.json"))
	if err != nil || len(files) == 0 || len(files) > maxKeys {
		return nil, fmt.Errorf("%w: it has no files is-signing-key-*.json, or too many", ErrFormat)
	}
	var stored []duendeKey
	for _, file := range files {
		text, err := readFile(file)
		if err != nil {
			return nil, err
		}
		var d duendeKey
		if json.Unmarshal(keyfile.Text(text), &d) != nil || d.ID == "" {
			return nil, fmt.Errorf("%w: %s is not a key of Duende IdentityServer", ErrFormat, filepath.Base(file))
		}
		clear(text)
		stored = append(stored, d)
	}
	return keysOfStore(stored, s), nil
}

// keysOfStore returns the keys of a store, the newest first.
func keysOfStore(stored []duendeKey, s Settings) (keys []Key) {
	slices.SortStableFunc(stored, func(a, b duendeKey) int { return b.Created.Compare(a.Created.Time) })
	for _, d := range stored {
		keys = append(keys, d.toKey(s))
	}
	return keys
}

// dotNetTime is a DateTime of .NET in UTC; zero: unknown. Databases write it without a zone,
// or as a datetimeoffset with a space before it.
type dotNetTime struct{ time.Time }

// UnmarshalJSON parses the time.
func (t *dotNetTime) UnmarshalJSON(text []byte) error {
	var said *string
	err := json.Unmarshal(text, &said)
	if err != nil || said == nil {
		return err
	}
	for _, zone := range []string{"Z07:00", "", " Z07:00", "Z07"} {
		if t.Time, err = time.Parse("2006-01-02T15:04:05"+zone, strings.Replace(*said, " ", "T", 1)); err == nil {
			return nil
		}
	}
	return err
}

func (d duendeKey) toKey(s Settings) Key {
	k := Key{KID: d.ID, State: "created at an unknown time"}
	if !d.Created.IsZero() {
		k.State = "created " + d.Created.UTC().Format(time.RFC3339)
	}
	switch {
	case d.DataProtected:
		k.RefuseReason = "it is encrypted by ASP.NET Data Protection, which only that server opens: decrypt it there with ISigningKeyProtector.Unprotect, write its parameters to a file, and import that with keyward import-from dotnet --kid " + d.ID
		return k
	case d.IsX509Certificate:
		return d.withCertificate(k)
	}
	var data struct {
		Parameters dotNetRSA
		dotNetEC
	}
	state := k.State
	err := json.Unmarshal([]byte(d.Data), &data)
	switch {
	case err == nil && data.Parameters.Modulus != "":
		if k, err = data.Parameters.toKey(d.ID, Settings{Alg: d.Algorithm}); err == nil && k.Alg != d.Algorithm {
			k.RefuseReason = "its algorithm does not fit its key"
		}
	case err == nil && data.Q.X != "":
		k, err = data.dotNetEC.toKey(d.ID, d.Algorithm, s)
	default:
		k.RefuseReason = "its data are not the parameters of a key"
	}
	if err != nil {
		k = Key{KID: d.ID, RefuseReason: "its data are not the parameters of a key"}
	}
	k.State = state
	return k
}

// withCertificate reads the PKCS#12 file, without a password, in which a key with a
// certificate lies. Its kid is that of the store.
func (d duendeKey) withCertificate(k Key) Key {
	var data struct{ CertificateRawData []byte }
	k.RefuseReason = "its data are no PKCS#12 file with one private key: write it to a file there and import that with keyward import-from pkcs12 --kid " + d.ID
	if json.Unmarshal([]byte(d.Data), &data) != nil {
		return k
	}
	defer clear(data.CertificateRawData)
	entries, err := openPKCS12(data.CertificateRawData, "", pkcs12Patience)
	if err != nil || len(entries) != 1 || entries[0].private == nil {
		return k
	}
	read, err := privateFromSigner(entries[0].private)
	if err != nil {
		return k
	}
	read.KID, read.State = k.KID, k.State
	if read.chooseAlgorithm(Settings{Alg: d.Algorithm}); read.Alg != d.Algorithm {
		read.RefuseReason = "its algorithm does not fit its key"
	}
	return read
}
