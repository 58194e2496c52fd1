package console

import (
	"cmp"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/keyward/keyward/client"
)

// importKey checks the pasted key by a dry run, and imports it once that was looked at.
// Between the two the page holds it sealed: neither the form nor an error repeats it.
func importKey(v *visit, p *actPage) error {
	material, err := v.pastedKey(p)
	if err != nil || material == nil {
		return err
	}
	body, wrong := p.importRequest(material)
	if wrong != nil {
		p.Fields = wrong
		return v.showAct(p, 422)
	}
	if p.Values.Get("do") != "save" {
		body.DryRun = new(true)
		if p.Checked, err = v.api.ImportKeyList(v.r.Context(), v.Tenant.Slug, body); err != nil {
			return err
		}
		p.Nonce = client.NewKey()
		return v.showAct(p, 200)
	}
	done, err := v.api.ImportKeyList(v.r.Context(), v.Tenant.Slug, body, p.once()...)
	if err != nil {
		return err
	}
	p.Done, p.Imported = true, done.Items
	for _, k := range p.Imported {
		p.Changes = append(p.Changes, keyChange{KID: k.KID, Alg: algorithmsOf(k), After: string(k.State)})
	}
	return nil
}

// pastedKey returns the key of the form, as JSON. Nil: the form was shown again, since it has none.
func (v *visit) pastedKey(p *actPage) (client.KeyMaterial, error) {
	text := strings.TrimSpace(p.Values.Get("material"))
	p.Values.Del("material")
	if text == "" {
		text = v.unseal(p.Values.Get("sealed"))
	}
	if text == "" {
		p.Fields = map[string]string{"material": "Paste a key in PEM or as a JWK."}
		return nil, v.showAct(p, 422)
	}
	var err error
	if p.Sealed, err = v.seal(text); err != nil {
		return nil, err
	}
	if material := client.KeyMaterial(text); json.Valid(material) {
		return material, nil
	}
	return json.Marshal(text)
}

// importRequest makes the request of the form, or returns what is wrong by field.
func (p *actPage) importRequest(material client.KeyMaterial) (body client.ImportKeyRequest, wrong map[string]string) {
	body.KID = p.optional("kid")
	if alg := p.Values.Get("alg"); alg != "" {
		body.Alg = new(client.Alg(alg))
	}
	if p.Values.Get("kind") != "public" {
		body.PrivateKey = &material
		body.Role = new(client.ImportKeyRequestRole(cmp.Or(p.Values.Get("role"), "standby")))
		if body.Alg == nil {
			return body, map[string]string{"alg": "Choose what the key signs with."}
		}
		return body, nil
	}
	body.PublicKey = &material
	until, err := parseTime(p.Values.Get("expires_at"))
	if err != nil {
		return body, map[string]string{"expires_at": "Say until when it is published, in UTC."}
	}
	body.ExpiresAt = &until
	return body, nil
}

// sealer encrypts for one session and tenant. Its key is derived from the session's token,
// which only the browser has, in a cookie that no page can read.
func (v *visit) sealer() (cipher.AEAD, []byte, error) {
	key := sha256.Sum256([]byte("keyward console: key to import\x00" + v.token))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, []byte(v.Tenant.ID.String()), err
}

func (v *visit) seal(text string) (string, error) {
	aead, tenant, err := v.sealer()
	if err != nil {
		return "", err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, []byte(text), tenant)), nil
}

// unseal returns what seal got, "" if it was not sealed for this session and tenant.
func (v *visit) unseal(sealed string) string {
	aead, tenant, err := v.sealer()
	raw, faulty := base64.RawURLEncoding.DecodeString(sealed)
	if errors.Join(err, faulty) != nil || len(raw) < aead.NonceSize() {
		return ""
	}
	text, err := aead.Open(nil, raw[:aead.NonceSize()], raw[aead.NonceSize():], tenant)
	if err != nil {
		return ""
	}
	return string(text)
}
