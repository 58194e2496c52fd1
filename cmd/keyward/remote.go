package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/keyward/keyward/client"
)

// defaultURL is that of keyward serve and dev on this machine.
const defaultURL = "http://127.0.0.1:8080"

// remote is how a command reaches the admin API.
type remote struct {
	URL       string `name:"url" var:"KEYWARD_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"Where Keyward is. Default: ${default}."`
	APIKey    string `name:"api-key" var:"KEYWARD_API_KEY" placeholder:"KEY" help:"The credential; better in the environment, where other users do not see it."`
	AllowHTTP bool   `name:"allow-http" help:"Send credential and keys over http to another machine, for whoever is between to read."`
	JSON      bool   `name:"json" help:"Print JSON, as the API answers it."`
}

// ofTenant is a remote for commands about one tenant.
type ofTenant struct {
	Tenant string `name:"tenant" var:"KEYWARD_TENANT" required:"" placeholder:"SLUG" help:"Slug or id of the tenant."`
	remote
}

// open checks how Keyward is to be reached; it does not connect.
func (r remote) open() (*client.Client, error) {
	options := []client.Option{client.UserAgent("keyward/" + version)}
	if r.AllowHTTP {
		options = append(options, client.AllowHTTP())
	}
	c, err := client.New(r.URL, r.APIKey, options...)
	switch {
	case errors.Is(err, client.ErrBadURL):
		return nil, badValue("KEYWARD_URL (--url)", "an absolute http or https URL without user, query and fragment")
	case errors.Is(err, client.ErrInsecure):
		return nil, badValue("KEYWARD_URL (--url)", "https, or on this machine: keys and the credential would travel in the clear (--allow-http lets them)")
	case errors.Is(err, client.ErrNoAPIKey):
		return nil, badValue("KEYWARD_API_KEY (--api-key)", "set, to an API key that may do this; keyward api-key create makes one")
	}
	return c, err
}

// answered prints an answer: as it came for --json, else as human says.
func answered[T any](p *program, asJSON bool, resp *http.Response, err error, human func(T) error) error {
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

// printJSON prints one document and ends its line.
func (p *program) printJSON(text []byte) error {
	if n := len(text); n == 0 || text[n-1] != '\n' {
		text = append(text, '\n')
	}
	_, err := p.stdout.Write(text)
	return err
}
