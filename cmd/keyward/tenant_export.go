package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/keyward/keyward/internal/plural"
	"github.com/keyward/keyward/keys"
	"github.com/keyward/keyward/keys/moves"
)

type tenantExportCmd struct {
	Dir     string        `arg:"" placeholder:"DIR" help:"Write to this directory, which must be new or empty."`
	Format  string        `name:"format" required:"" enum:"nestjs-jwks,jwks,pem" placeholder:"FORMAT" help:"Write metadata.json and PEM files (nestjs-jwks), a JWK Set (jwks) or PEM files with a list (pem)."`
	Private bool          `name:"private" help:"Write the private keys too. This reads the database and needs the master key, and the audit history says so."`
	Reason  string        `name:"reason" placeholder:"TEXT" help:"Record in the audit history why private keys leave."`
	KeepFor time.Duration `name:"keep-for" default:"168h" placeholder:"DURATION" help:"Keep keys without an expiry this long, in the format nestjs-jwks. Default: ${default} (seven days)."`
	confirmFlag
	tenantScope
}

// exportedKey is a published key of the export.
type exportedKey struct {
	keys.Key
	expires time.Time
	private crypto.Signer // nil: only the public key
	file    string        // its file name, without extension
}

// Run is keyward tenant export.
func (c *tenantExportCmd) Run(ctx context.Context, p *program) error {
	if c.Private && c.Format == "nestjs-jwks" {
		return &usageError{"nestjs-jwks keeps no private keys: leave --private away"}
	}
	var all []exportedKey
	var err error
	if c.Private {
		if err := c.confirm(p, fmt.Sprintf("Write the private keys of %s to %s in the clear?", c.Tenant, c.Dir)); err != nil {
			return err
		}
		all, err = c.readDatabase(ctx, p)
	} else {
		all, err = c.readAPI(ctx)
	}
	if err != nil {
		return err
	}
	if err := c.nameFiles(all); err != nil {
		return err
	}
	if err := makeEmptyDir(c.Dir); err != nil {
		return err
	}
	write := map[string]func([]exportedKey) error{"nestjs-jwks": c.writeNestJWKS, "jwks": c.writeJWKS, "pem": c.writePEM}[c.Format]
	if err := write(all); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(map[string]any{"tenant": c.Tenant, "directory": c.Dir, "format": c.Format, "keys": len(all), "private": c.Private})
	}
	_, err = fmt.Fprintf(p.stdout, "Written to %s: %s of %s.\n", c.Dir, plural.Count(len(all), "key"), c.Tenant)
	return err
}

// readAPI reads the published keys by the API.
func (c *tenantExportCmd) readAPI(ctx context.Context) (all []exportedKey, err error) {
	api, err := c.openClient()
	if err != nil {
		return nil, err
	}
	for k, err := range api.Keys(ctx, c.Tenant, nil) {
		if err != nil {
			return nil, err
		}
		if k.PublicJWK == nil || !keys.State(k.State).Published() {
			continue
		}
		e := exportedKey{Key: keys.Key{
			KID: k.KID, Alg: jose.SignatureAlgorithm(k.Alg), State: keys.State(k.State), PublicJWK: json.RawMessage(*k.PublicJWK),
			CreatedAt: k.CreatedAt, ActivatedAt: k.ActivatedAt, DeprecatedAt: k.DeprecatedAt, ExpiresAt: k.ExpiresAt,
		}}
		for _, alg := range k.Algs {
			e.Algs = append(e.Algs, jose.SignatureAlgorithm(alg))
		}
		all = append(all, c.dated(e))
	}
	return all, nil
}

// readDatabase reads the published keys and their private halves from the database.
func (c *tenantExportCmd) readDatabase(ctx context.Context, p *program) (all []exportedKey, err error) {
	a, err := p.openApp(ctx, p.cfg.publicURL)
	if err != nil {
		return nil, err
	}
	defer a.close()
	id, err := a.tenants.Resolve(ctx, c.Tenant)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, c.Tenant)
	}
	private, err := a.store.ExportPrivate(ctx, localOperator(), id, c.Reason)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, der := range private {
			clear(der)
		}
	}()
	f := moves.Filter{Limit: 500}
	for more := true; more; more = f.Cursor != "" {
		page, err := a.store.List(ctx, id, f)
		if err != nil {
			return nil, err
		}
		f.Cursor = page.Next
		for _, entry := range page.Items {
			if !entry.State.Published() {
				continue
			}
			e := exportedKey{Key: entry.Key}
			if der := private[entry.KID]; der != nil {
				key, err := x509.ParsePKCS8PrivateKey(der)
				signer, ok := key.(crypto.Signer)
				if err != nil || !ok {
					return nil, fmt.Errorf("the private key %s cannot be read", entry.KID)
				}
				e.private = signer
			}
			all = append(all, c.dated(e))
		}
	}
	return all, nil
}

// dated sets when a key expires for the other system.
func (c *tenantExportCmd) dated(e exportedKey) exportedKey {
	if e.expires = utcNow().Add(c.KeepFor); e.ExpiresAt != nil {
		e.expires = *e.ExpiresAt
	}
	return e
}

// fileKID matches the kids that name a file as they are.
var fileKID = regexp.MustCompile(`^[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}$`)

// nameFiles names the files of the keys: by kid, or by its hash where the kid is no file
// name. nestjs-jwks reads files named by kid alone.
func (c *tenantExportCmd) nameFiles(all []exportedKey) error {
	taken := map[string]bool{"keys": true, "metadata": true}
	for i := range all {
		e := &all[i]
		if e.file = e.KID; !fileKID.MatchString(e.KID) || strings.HasSuffix(e.KID, ".pub") || taken[e.file] {
			if c.Format == "nestjs-jwks" {
				return fmt.Errorf("nothing was written: nestjs-jwks has a file for each kid, and %q is no file name", e.KID)
			}
			sum := sha256.Sum256([]byte(e.KID))
			e.file = "key-" + hex.EncodeToString(sum[:8])
		}
		taken[e.file] = true
	}
	return nil
}

// makeEmptyDir creates a directory, or accepts an empty one: an export replaces nothing.
func makeEmptyDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = errors.New(dir + " is not empty; an export replaces nothing")
	}
	return err
}

// writeFile writes a file of the export, for the owner alone.
func (c *tenantExportCmd) writeFile(name string, text []byte) error {
	return replaceFile(filepath.Join(c.Dir, name), 0o600, func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
}

func (c *tenantExportCmd) writeIndented(name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	defer clear(text)
	return c.writeFile(name, append(text, '\n'))
}

// nestMetadata is an entry of metadata.json of nestjs-jwks; times are milliseconds.
type nestMetadata struct {
	KID          string `json:"kid"`
	Status       string `json:"status"`
	CreatedAt    int64  `json:"createdAt"`
	ExpiresAt    int64  `json:"expiresAt"`
	DeprecatedAt *int64 `json:"deprecatedAt"`
	ExpiredAt    *int64 `json:"expiredAt"`
	RevokedAt    *int64 `json:"revokedAt"`
	RemovedAt    *int64 `json:"removedAt"`
	KeyPath      string `json:"keyPath"`
}

// writeNestJWKS writes the key directory of nestjs-jwks. It publishes active and
// deprecated keys, and makes its own active key when it starts: a standby is deprecated
// there. The newest entry is the last.
func (c *tenantExportCmd) writeNestJWKS(all []exportedKey) error {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	entries := []nestMetadata{}
	slices.SortStableFunc(all, func(a, b exportedKey) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, e := range all {
		n := nestMetadata{
			KID: e.KID, Status: "deprecated", CreatedAt: e.CreatedAt.UnixMilli(), ExpiresAt: e.expires.UnixMilli(), KeyPath: filepath.Join(dir, e.file+".pem"),
		}
		switch {
		case e.State == keys.Active:
			n.Status = "active"
		case e.DeprecatedAt != nil:
			n.DeprecatedAt = new(e.DeprecatedAt.UnixMilli())
		default:
			n.DeprecatedAt = new(e.CreatedAt.UnixMilli())
		}
		if err := c.writePublicPEM(e, e.file+".pem"); err != nil {
			return err
		}
		entries = append(entries, n)
	}
	return c.writeIndented("metadata.json", map[string]any{"keys": entries})
}

func (c *tenantExportCmd) writePublicPEM(e exportedKey, name string) error {
	public, err := keys.ParsePublicJWK(e.Alg, e.PublicJWK)
	if err != nil {
		return err
	}
	text, err := keys.PublicPEM(public)
	if err != nil {
		return err
	}
	return c.writeFile(name, text)
}

// writeJWKS writes jwks.json: a JWK for each algorithm of a key, the active key first.
func (c *tenantExportCmd) writeJWKS(all []exportedKey) error {
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{[]json.RawMessage{}}
	slices.SortStableFunc(all, func(a, b exportedKey) int { return b.rank() - a.rank() })
	for _, e := range all {
		jwks, err := e.PublicJWKs()
		if err == nil && e.private != nil {
			jwks, err = e.privateJWKs()
		}
		if err != nil {
			return err
		}
		set.Keys = append(set.Keys, jwks...)
	}
	return c.writeIndented("jwks.json", set)
}

// rank orders keys by state: active, standby, deprecated.
func (e exportedKey) rank() int {
	return map[keys.State]int{keys.Active: 2, keys.Standby: 1}[e.State]
}

func (e exportedKey) privateJWKs() (jwks []json.RawMessage, err error) {
	for _, alg := range e.Algorithms() {
		text, err := (&jose.JSONWebKey{Key: e.private, KeyID: e.KID, Algorithm: string(alg), Use: "sig"}).MarshalJSON()
		if err != nil {
			return nil, err
		}
		jwks = append(jwks, text)
	}
	return jwks, nil
}

// writePEM writes a PEM file for each key, and keys.json with what PEM does not say.
func (c *tenantExportCmd) writePEM(all []exportedKey) error {
	type entry struct {
		KID       string                    `json:"kid"`
		Alg       jose.SignatureAlgorithm   `json:"alg"`
		Algs      []jose.SignatureAlgorithm `json:"algs,omitempty"`
		State     keys.State                `json:"state"`
		File      string                    `json:"file"`
		Private   string                    `json:"private_file,omitempty"`
		CreatedAt time.Time                 `json:"created_at"`
		ExpiresAt *time.Time                `json:"expires_at,omitempty"`
	}
	list := []entry{}
	for _, e := range all {
		n := entry{e.KID, e.Alg, e.Algs, e.State, e.file + ".pub.pem", "", e.CreatedAt, e.ExpiresAt}
		if err := c.writePublicPEM(e, n.File); err != nil {
			return err
		}
		if e.private != nil {
			n.Private = e.file + ".pem"
			der, err := x509.MarshalPKCS8PrivateKey(e.private)
			if err != nil {
				return err
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
			err = c.writeFile(n.Private, text)
			clear(der)
			clear(text)
			if err != nil {
				return err
			}
		}
		list = append(list, n)
	}
	return c.writeIndented("keys.json", map[string]any{"keys": list})
}
