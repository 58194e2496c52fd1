package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/keyfile"
	"github.com/keyward/keyward/moving"
)

// sourceFlags name the file of a key; exactly one is required.
type sourceFlags struct {
	PEM  string `name:"pem" xor:"source" required:"" placeholder:"FILE" help:"Read a private or public key in PEM; - for standard input."`
	JWKS string `name:"jwks" xor:"source" required:"" placeholder:"FILE" help:"Read a JWK, or a JWK Set with public keys; - for standard input."`
}

type keyImportCmd struct {
	sourceFlags
	Alg     string        `name:"alg" placeholder:"ALG" help:"Set the algorithm, if the key does not name it."`
	Algs    []client.Alg  `name:"algs" placeholder:"ALG,…" help:"Accept tokens of all these algorithms, of one key that its old issuer published for several."`
	KID     string        `name:"kid" placeholder:"KID" help:"Set the kid. Default: the JWK's own kid, else its thumbprint."`
	As      string        `name:"as" default:"standby" enum:"standby,active" help:"Import a private key as standby (signs from the next rotation on) or active (signs at once). Default: ${default}."`
	KeepFor time.Duration `name:"keep-for" default:"168h" placeholder:"DURATION" help:"Keep public keys published for this long. Default: ${default} (seven days)."`
	Expires *time.Time    `name:"expires-at" placeholder:"TIME" help:"Keep public keys published until this time (RFC 3339), as in 2027-01-31T00:00:00Z; overrides --keep-for."`
	dryRunFlag
	tenantScope
	approvalFlag
}

// Run is keyward key import.
func (c *keyImportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	text, err := readSource(p.stdin, c.PEM+c.JWKS)
	if err != nil {
		return err
	}
	defer clear(text)
	req, err := c.importRequest(text)
	if err != nil {
		return err
	}
	if req.PrivateKey != nil {
		defer clear(*req.PrivateKey)
	}
	list, err := api.ImportKeyList(ctx, c.Tenant, req, c.requestEditors()...)
	if there := c.presentKey(ctx, api, req, err); there != nil {
		list, err = &client.KeyList{Items: []client.Key{}, Skipped: []client.SkippedKey{*there}}, nil
	}
	if err != nil {
		return c.explainApproval(p, c.remoteFlags, c.Tenant, err, c.repeatCommand(req)...)
	}
	refused := slices.DeleteFunc(slices.Clone(list.Skipped), func(k client.SkippedKey) bool { return !k.Refused })
	if c.JSON {
		return errors.Join(json.NewEncoder(p.stdout).Encode(list), refusedError(refused))
	}
	for _, k := range list.Skipped {
		what := "was skipped"
		if k.Refused {
			what = "is REFUSED"
		}
		fmt.Fprintf(p.stderr, "%s %s: it %s.\n", skippedName(k), what, sanitizeText(k.Reason))
	}
	verb := "is"
	if c.DryRun {
		verb = "would be"
	}
	for _, k := range list.Items {
		fmt.Fprintf(p.stdout, "%s (%s) %s %s%s.\n", sanitizeText(k.KID), algorithmsText(k), verb, k.State, untilText(k.ExpiresAt))
	}
	switch {
	case c.DryRun:
		err = p.printUnchanged()
	case len(list.Items) == 0:
		fmt.Fprintln(p.stdout, "Nothing to do.")
	}
	return errors.Join(err, refusedError(refused))
}

// presentKey returns what is said of a key that the API refused because the tenant has it
// already: the same key, for the same algorithms, in the state asked for. Then the command
// was repeated, which is no error, as for a JWK Set and import-from. Otherwise it returns
// nil.
func (c *keyImportCmd) presentKey(ctx context.Context, api *client.Client, req client.ImportKeyRequest, refusal error) *client.SkippedKey {
	var problem *client.Problem
	if !errors.As(refusal, &problem) || problem.Status != http.StatusConflict {
		return nil
	}
	own, err := parsedKey(req)
	if err != nil {
		return nil
	}
	kid, err := own.ChooseKID(c.KID)
	if err != nil {
		return nil
	}
	there, err := api.GetKey(ctx, c.Tenant, kid)
	if err != nil || there.PublicJWK == nil || !c.isInState(req, own.Expires, there) {
		return nil
	}
	var public moving.JWK
	thumbprint, err := keys.Thumbprint(own.Public)
	if err != nil || json.Unmarshal(*there.PublicJWK, &public) != nil || public.Thumbprint() != thumbprint {
		return nil
	}
	alg, err := own.Algorithm(c.askedAlgorithm(req, own))
	if err != nil {
		return nil
	}
	for _, alg := range append([]client.Alg{client.Alg(alg)}, c.Algs...) {
		if alg != there.Alg && !slices.Contains(there.Algs, alg) {
			return nil
		}
	}
	return &client.SkippedKey{KID: &kid, Reason: keyfile.ThereAs(keys.State(there.State))}
}

// askedAlgorithm returns the algorithm that the API takes for that of the request: the first
// of several for a public key that names none.
func (c *keyImportCmd) askedAlgorithm(req client.ImportKeyRequest, own keyfile.Key) jose.SignatureAlgorithm {
	switch {
	case req.Alg != nil:
		return jose.SignatureAlgorithm(*req.Alg)
	case own.Alg == "" && len(c.Algs) > 0:
		return jose.SignatureAlgorithm(c.Algs[0])
	}
	return ""
}

// isInState reports whether a key of the tenant is what the request would have made of it.
// own is when the key expires at its issuer, which ends it before --expires-at.
func (c *keyImportCmd) isInState(req client.ImportKeyRequest, own time.Time, there *client.Key) bool {
	switch {
	case req.PrivateKey == nil:
		return keys.State(there.State).Published() && (c.Expires == nil || there.ExpiresAt != nil && there.ExpiresAt.Equal(earlier(*c.Expires, own)))
	case c.As == moving.Active:
		return there.State == client.KeyStateActive
	}
	return there.State == client.KeyStateStandby || there.State == client.KeyStateActive
}

// earlier returns the earlier of two times, of which the second may be zero for never.
func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// parsedKey parses the one key of a request.
func parsedKey(req client.ImportKeyRequest) (keyfile.Key, error) {
	if req.PrivateKey != nil {
		material := materialText(*req.PrivateKey)
		defer clear(material)
		return keyfile.ParsePrivate(material)
	}
	set, err := keyfile.ParsePublic(materialText(*req.PublicKey))
	if err == nil && set.IsSet {
		err = errors.New("it is a set")
	}
	if err != nil {
		return keyfile.Key{}, err
	}
	return set.Keys[0], nil
}

// materialText returns a copy of the PEM or the JWK of a request.
func materialText(material client.KeyMaterial) []byte {
	var text string
	if json.Unmarshal(material, &text) == nil {
		return []byte(text)
	}
	return bytes.Clone(material)
}

// refusedError returns an error if keys of a set for signatures were not imported.
func refusedError(refused []client.SkippedKey) error {
	if len(refused) == 0 {
		return nil
	}
	return fmt.Errorf("not imported: %s of the set, whose tokens will not verify", plural.Count(len(refused), "key"))
}

// skippedName returns the kid of a skipped key, or its place in the set.
func skippedName(k client.SkippedKey) string {
	if k.KID == nil {
		return fmt.Sprintf("keys[%d]", k.Index)
	}
	return kidText(*k.KID)
}

// importRequest builds the request. The API validates the key.
func (c *keyImportCmd) importRequest(text []byte) (k client.ImportKeyRequest, err error) {
	k = client.ImportKeyRequest{Alg: nonEmpty(client.Alg(c.Alg)), Algs: c.Algs, KID: nonEmpty(c.KID), DryRun: c.param()}
	material, private := json.RawMessage(nil), bytes.Contains(text, []byte("PRIVATE KEY-----"))
	if c.PEM != "" && !bytes.Contains(text, []byte("-----BEGIN ")) && (bytes.HasPrefix(text, []byte{0x30}) || bytes.HasPrefix(text, []byte{0xfe, 0xed})) {
		return k, &usageError{"the file is binary: PKCS#12 and keystores are read by keyward import-from pkcs12; DER becomes PEM with: openssl pkey -inform DER -in key.der -out key.pem"}
	}
	if c.PEM != "" && bytes.HasPrefix(bytes.TrimSpace(text), []byte("{")) { // private or not, it would be sent as a public key
		return k, errors.New("not sent: the file is JSON, which --jwks reads")
	}
	if c.PEM != "" {
		if material, err = json.Marshal(string(text)); err != nil {
			return k, err
		}
	} else if material, private, err = onlyJWK(text); err != nil {
		return k, err
	}
	if private {
		k.Alg = cmp.Or(k.Alg, algOfJWK(material))
		k.PrivateKey, k.Role = &material, new(client.ImportKeyRequestRole(c.As))
		return k, nil
	}
	if c.KeepFor <= 0 {
		return k, &usageError{"--keep-for must be a duration above 0, as in 168h"}
	}
	k.PublicKey, k.ExpiresAt = &material, c.Expires
	if c.Expires == nil {
		k.ExpiresAt = new(utcNow().Add(c.KeepFor).Truncate(time.Second))
	}
	return k, nil
}

// repeatCommand returns the command line that sends the same request again.
func (c *keyImportCmd) repeatCommand(k client.ImportKeyRequest) []string {
	flags := flagWords("--pem", c.PEM, "--jwks", c.JWKS, "--alg", c.Alg, "--kid", c.KID)
	for _, alg := range c.Algs {
		flags = append(flags, "--algs", string(alg))
	}
	if k.PrivateKey != nil {
		flags = append(flags, "--as", c.As)
	} else {
		flags = append(flags, "--expires-at", k.ExpiresAt.Format(time.RFC3339Nano))
	}
	return append([]string{"key", "import", "--tenant", c.Tenant}, flags...)
}

// onlyJWK returns a JWK or JWK Set for import, and whether it is private. A private key
// in a set is accepted only alone. What the API would refuse with a private key in it, and
// shared secrets, are not sent.
func onlyJWK(text []byte) (material json.RawMessage, private bool, err error) {
	entries, err := keyfile.Entries(text)
	if err != nil && !json.Valid(text) {
		return nil, false, &usageError{"--jwks must name a file with a JWK or a JWK Set"}
	}
	if err != nil { // private members are not found in such a file
		return nil, false, fmt.Errorf("not sent: the file %s", keyfile.Fault(err))
	}
	var stranger string
	for _, raw := range entries {
		if e, _ := keyfile.ReadEntry(raw); e.Private {
			private, stranger = true, e.Stranger()
		}
	}
	switch {
	case private && len(entries) > 1:
		return nil, false, &usageError{"the set has several keys, some of them private; keyward import-from jwk-file imports it"}
	case private && stranger != "":
		return nil, false, fmt.Errorf("not sent: the private key %s", stranger)
	case private:
		return entries[0], true, nil
	}
	material, err = keyfile.WithoutSharedSecrets(text)
	return material, false, err
}

// algOfJWK returns the algorithm that a private JWK names, nil if it names none or is PEM.
func algOfJWK(material json.RawMessage) *client.Alg {
	e, _ := keyfile.ReadEntry(material) // what is wrong the API says
	return nonEmpty(client.Alg(e.Alg))
}

// maxKeyFile limits a key file, in bytes.
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
	return keyfile.Text(text), err
}

func untilText(t *time.Time) string {
	if t == nil {
		return ""
	}
	return " until " + t.Format(time.RFC3339)
}
