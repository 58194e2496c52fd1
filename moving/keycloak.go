package moving

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
)

// keycloakProvider is a key provider of a realm export.
type keycloakProvider struct {
	Name       string              `json:"name"`
	ProviderID string              `json:"providerId"`
	Config     map[string][]string `json:"config"`
}

const keycloakComponent = "org.keycloak.keys.KeyProvider"

// Keycloak reads the key providers of a realm export (kc.sh export, with private keys).
// Enabled and active ones sign, the highest priority first; passive ones verify.
func Keycloak(path string, s Settings) ([]Key, error) {
	text, err := readFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(text)
	type realm struct {
		Components map[string]json.RawMessage `json:"components"`
		PrivateKey string                     `json:"privateKey"` // before Keycloak 2.3, which had no providers
	}
	var one realm
	body := keyfile.Text(text)
	if json.Unmarshal(body, &one) != nil {
		var several []realm
		if json.Unmarshal(body, &several) != nil || len(several) != 1 {
			return nil, fmt.Errorf("%w: it is not the export of one realm: write that with kc.sh export --realm", ErrFormat)
		}
		one = several[0]
	}
	var providers []keycloakProvider
	if one.Components == nil && one.PrivateKey != "" {
		only := keycloakProvider{Name: "the realm's key", ProviderID: "rsa", Config: map[string][]string{"privateKey": {one.PrivateKey}}}
		return []Key{only.toKey(s)}, nil
	}
	if raw, there := one.Components[keycloakComponent]; !there || json.Unmarshal(raw, &providers) != nil || len(providers) > maxKeys {
		return nil, fmt.Errorf("%w: it has no components of type %s: export the realm with kc.sh export", ErrFormat, keycloakComponent)
	}
	slices.SortStableFunc(providers, func(a, b keycloakProvider) int { return cmp.Compare(b.priority(), a.priority()) })
	var keys []Key
	for _, p := range providers {
		keys = append(keys, p.toKey(s))
	}
	return keys, nil
}

func (p keycloakProvider) first(names ...string) string {
	for _, name := range names {
		if values := p.Config[name]; len(values) > 0 && values[0] != "" {
			return values[0]
		}
	}
	return ""
}

// state returns the state of the provider in Keycloak's terms.
func (p keycloakProvider) state() string {
	switch {
	case p.first("enabled") == "false":
		return "disabled"
	case p.first("active") == "false":
		return "passive"
	}
	return "active"
}

func (p keycloakProvider) priority() int {
	n, _ := strconv.Atoi(p.first("priority"))
	return n
}

// toKey returns the provider's key. An error names the provider, because its kid follows
// from the key.
func (p keycloakProvider) toKey(s Settings) Key {
	k := Key{KID: p.Name, State: p.state()}
	material := p.first("privateKey", "ecdsaPrivateKey", "ecPrivateKey", "eddsaPrivateKey", "mldsaPrivateKey")
	masked := material != "" && strings.Trim(material, "*") == ""
	switch {
	case strings.HasPrefix(p.ProviderID, "hmac") || strings.HasPrefix(p.ProviderID, "aes"):
		k.SkipReason, k.Stranger = "a shared secret: Keyward supports key pairs only", true
	case p.first("enabled") == "false":
		k.SkipReason = "it is disabled: its tokens do not verify at the source either"
	case strings.EqualFold(p.first("keyUse"), "enc") || strings.HasPrefix(p.ProviderID, "rsa-enc") || strings.HasPrefix(p.ProviderID, "ecdh"):
		k.SkipReason, k.Stranger = "is for encryption, not for signatures", true
	case p.first("eddsaEllipticCurveKey") == "Ed448":
		k.SkipReason, k.Stranger = "has a crv that Keyward does not support", true
	case p.ProviderID == "java-keystore":
		k.RefuseReason = "its key lies in a Java keystore: import that with keyward import-from pkcs12 and the kid of the realm's certs"
	case masked:
		k.RefuseReason = "its private key is masked: export the realm with kc.sh export, not from the console"
	case material == "":
		k.RefuseReason = "the export has no private key of it"
	default:
		p.readKey(&k, material, s)
	}
	return k
}

func (p keycloakProvider) readKey(k *Key, material string, s Settings) {
	read, err := p.parseMaterial(material)
	if err != nil {
		k.RefuseReason = "its private key " + faultOf(err)
		return
	}
	read.State = k.State
	*k = read
	k.verifyOnly = k.State == "passive"
	k.KID = cmp.Or(p.first("kid"), keycloakKID(k.Public))
	if alg := p.first("algorithm"); alg != "" {
		k.Public.Alg = alg
	} else if k.Public.Kty == "RSA" {
		k.Public.Alg = "RS256" // Keycloak's default
	}
	k.chooseAlgorithm(s)
}

// parseMaterial parses a private key as Keycloak generates it, which is DER in base64, or
// as an administrator pasted it, which may be PEM.
func (p keycloakProvider) parseMaterial(material string) (Key, error) {
	if strings.Contains(material, "-----BEGIN ") {
		return parsePEM([]byte(material))
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(material), ""))
	defer clear(der)
	if err != nil {
		return Key{}, &keyError{"it", "is not base64"}
	}
	return privateFromDER(der)
}

// keycloakKID returns the kid that Keycloak derives from a public key: the SHA-256 of its
// SubjectPublicKeyInfo.
func keycloakKID(j JWK) string {
	public, err := j.key()
	if err != nil {
		return ""
	}
	der, err := keys.PublicDER(public)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
