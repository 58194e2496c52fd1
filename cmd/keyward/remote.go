package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/keyward/keyward/client"
)

// defaultURL is the URL of keyward serve and dev on this machine.
const defaultURL = "http://127.0.0.1:8080"

// remoteFlags are shared by all commands that call the admin API.
type remoteFlags struct {
	URL       string `name:"url" group:"api" var:"KEYWARD_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Connect to this Keyward. Default: ${default}."`
	APIKey    string `name:"api-key" group:"api" var:"KEYWARD_API_KEY" secret:"" placeholder:"KEY" help:"Authenticate with this API key; the variable hides it."`
	AllowHTTP bool   `name:"allow-http" group:"api" help:"Allow http to another machine; credential and keys travel unencrypted."`
	Once      string `name:"idempotency-key" group:"api" placeholder:"KEY" help:"Repeat a change with the key that it printed."`
	JSON      bool   `name:"json" group:"api" help:"Print the API's JSON answer; errors as JSON on standard error."`
}

// tenantScope holds the flags of commands about one tenant.
type tenantScope struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" required:"" placeholder:"SLUG" help:"Select the tenant by slug or id."`
	remoteFlags
}

// openClient validates URL and credential; it does not connect.
func (r remoteFlags) openClient() (*client.Client, error) {
	options := []client.Option{client.UserAgent("keyward/" + version)}
	if r.AllowHTTP {
		options = append(options, client.AllowHTTP())
	}
	if r.Once != "" {
		options = append(options, client.FixedIdempotencyKey(r.Once))
	}
	c, err := client.New(r.URL, r.APIKey, options...)
	switch {
	case errors.Is(err, client.ErrBadURL):
		return nil, badValue("KEYWARD_URL (--url)", "an absolute http or https URL without user, query and fragment")
	case errors.Is(err, client.ErrInsecure):
		return nil, badValue("KEYWARD_URL (--url)", "https, or on this machine: keys and the credential would travel unencrypted (--allow-http permits it)")
	case errors.Is(err, client.ErrNoAPIKey):
		return nil, badValue("KEYWARD_API_KEY (--api-key)", "set to an API key with the required role; keyward api-key create creates one")
	}
	return c, err
}

// printAnswer prints an API answer: unchanged as JSON, else with human.
func printAnswer[T any](p *program, asJSON bool, resp *http.Response, err error, human func(T) error) error {
	text, err := client.Bytes(resp, err)
	if err != nil {
		return err
	}
	var v T
	if json.Unmarshal(text, &v) != nil {
		return client.ErrNotKeyward
	}
	if asJSON {
		return p.printJSON(text)
	}
	return human(v)
}

// printJSON prints a document and ends its line.
func (p *program) printJSON(text []byte) error {
	if n := len(text); n == 0 || text[n-1] != '\n' {
		text = append(text, '\n')
	}
	_, err := p.stdout.Write(text)
	return err
}
