package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/keyward/keyward/client"
)

// sourceFlags say where a key is; exactly one is given.
type sourceFlags struct {
	PEM  string `name:"pem" xor:"source" required:"" placeholder:"FILE" help:"A private or public key in PEM. - is the standard input."`
	JWKS string `name:"jwks" xor:"source" required:"" placeholder:"FILE" help:"A JWK, or a JWK Set with public keys. - is the standard input."`
}

type keyImportCmd struct {
	sourceFlags
	Alg     string        `name:"alg" placeholder:"ALG" help:"Algorithm, where the key does not say it."`
	KID     string        `name:"kid" placeholder:"KID" help:"What it is called. Default: the JWK's own kid, else its thumbprint."`
	As      string        `name:"as" default:"standby" enum:"standby,active" help:"What a private key becomes: standby (signs from the next rotation on) or active (signs at once). Default: ${default}."`
	KeepFor time.Duration `name:"keep-for" default:"168h" placeholder:"DURATION" help:"How long public keys verify. Default: ${default}, seven days."`
	Expires *time.Time    `name:"expires-at" placeholder:"TIME" help:"The same as a time in RFC 3339, as in 2027-01-31T00:00:00Z; --keep-for does not count then."`
	ofTenant
	approving
}

// Run is keyward key import.
func (c *keyImportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	text, err := readSource(p.stdin, c.PEM+c.JWKS)
	if err != nil {
		return err
	}
	defer clear(text)
	req, err := c.request(text)
	if err != nil {
		return err
	}
	if req.PrivateKey != nil {
		defer clear(*req.PrivateKey)
	}
	keys, err := api.ImportKeys(ctx, c.Tenant, req, c.edit()...)
	if err != nil {
		return c.concluded(p, c.remote, c.Tenant, err, c.again(req)...)
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(client.KeyList{Items: keys})
	}
	for _, k := range keys {
		fmt.Fprintf(p.stdout, "%s (%s) is %s%s.\n", k.KID, k.Alg, k.State, until(k.ExpiresAt))
	}
	return nil
}

// request puts the key where it belongs. What is wrong with it, Keyward says.
func (c *keyImportCmd) request(text []byte) (k client.ImportKeyRequest, err error) {
	k = client.ImportKeyRequest{Alg: given(client.Alg(c.Alg)), KID: given(c.KID)}
	material, private := json.RawMessage(nil), bytes.Contains(text, []byte("PRIVATE KEY-----"))
	if c.PEM != "" {
		if material, err = json.Marshal(string(text)); err != nil {
			return k, err
		}
	} else if material, private, err = onlyJWK(text); err != nil {
		return k, err
	}
	if private {
		k.PrivateKey, k.Role = &material, new(client.ImportKeyRequestRole(c.As))
		return k, nil
	}
	if c.KeepFor <= 0 {
		return k, &usageError{"--keep-for must be a duration above 0, as in 168h"}
	}
	k.PublicKey, k.ExpiresAt = &material, c.Expires
	if c.Expires == nil {
		k.ExpiresAt = new(now().Add(c.KeepFor).Truncate(time.Second))
	}
	return k, nil
}

// again is the command that sends the very same request once more.
func (c *keyImportCmd) again(k client.ImportKeyRequest) []string {
	flags := words("--pem", c.PEM, "--jwks", c.JWKS, "--alg", c.Alg, "--kid", c.KID)
	if k.PrivateKey != nil {
		flags = append(flags, "--as", c.As)
	} else {
		flags = append(flags, "--expires-at", k.ExpiresAt.Format(time.RFC3339Nano))
	}
	return append([]string{"key", "import", "--tenant", c.Tenant}, flags...)
}

// onlyJWK takes a private key out of a set that has no other.
func onlyJWK(text []byte) (material json.RawMessage, private bool, err error) {
	type jwk struct {
		D json.RawMessage `json:"d"`
	}
	var one struct {
		jwk
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &one) != nil { // which would quote the text
		return nil, false, &usageError{"--jwks must name a file with a JWK or a JWK Set"}
	}
	for _, raw := range one.Keys {
		var k jwk
		if json.Unmarshal(raw, &k) == nil && k.D != nil {
			private = true
		}
	}
	switch {
	case private && len(one.Keys) == 1:
		return one.Keys[0], true, nil
	case private:
		return nil, false, &usageError{"the set holds several keys, private ones among them; keyward import-from node-jose moves it"}
	}
	return text, one.D != nil, nil
}

// maxKeyFile bounds a file of keys in bytes.
const maxKeyFile = 1 << 20

func readSource(stdin io.Reader, path string) ([]byte, error) {
	from := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxKeyFile+1))
	if err == nil && len(text) > maxKeyFile {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxKeyFile)
	}
	return text, err
}

func until(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " until " + t.Format(time.RFC3339)
}
