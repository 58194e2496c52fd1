package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/age"
	"github.com/keyward/keyward/keys/snapshot"
)

type jwksCmd struct {
	Out string `name:"out" placeholder:"FILE" help:"Write to this file, atomically. Default: standard output."`
	tenantArg
}

// Run is keyward tenant jwks. It asks the API; without a URL and a credential, where a
// database is configured, it reads that.
func (c *jwksCmd) Run(ctx context.Context, p *program) error {
	name, err := c.tenantName()
	if err != nil {
		return err
	}
	read := c.fetchSet
	if p.cfg.databaseURL != "" && c.APIKey == "" && c.URL == defaultURL {
		read = p.readSet
	}
	set, err := read(ctx, name)
	if err != nil {
		return err
	}
	if c.Out == "" {
		return p.printJSON(set)
	}
	return replaceFile(c.Out, 0o644, func(w io.Writer) error {
		_, err := w.Write(set)
		return err
	})
}

// fetchSet reads the JWK Set as verifiers do, with the credential if there is one: the
// path is public.
func (c *jwksCmd) fetchSet(ctx context.Context, name string) ([]byte, error) {
	if c.APIKey != "" {
		api, err := c.openClient()
		if err != nil {
			return nil, err
		}
		return client.Bytes(api.Requests.GetJWKS(ctx, name, nil))
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	at := strings.TrimRight(c.URL, "/") + "/t/" + url.PathEscape(name) + "/.well-known/jwks.json"
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil || r.URL.Host == "" {
		return nil, badValue("KEYWARD_URL (--url)", "an absolute http or https URL without user, query and fragment")
	}
	r.Header.Set("Accept", "application/json")
	return client.Bytes(http.DefaultClient.Do(r))
}

// readSet reads the JWK Set from the database. It needs no master key, since it reads
// with the role for public data.
func (p *program) readSet(ctx context.Context, name string) ([]byte, error) {
	d, err := p.openDB(ctx)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	if err := requireSchema(ctx, d); err != nil {
		return nil, err
	}
	unheard := func() age.Instant { return age.Instant{} }
	snapshots := snapshot.New(snapshot.Config{DB: d, PublicURL: p.cfg.publicURL, Now: utcNow, Log: p.log, HeardUntil: unheard})
	s, _, err := snapshots.Get(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, name)
	}
	return s.JWKS, nil
}
