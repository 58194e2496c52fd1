package main

import (
	"context"
	"fmt"

	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/internal/plural"
)

type keyAdoptionCmd struct {
	keyArg
}

// Run is keyward key adoption.
func (c *keyAdoptionCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	resp, err := api.Requests.GetKeyAdoption(ctx, c.Tenant, c.KID)
	return printAnswer(p, c.JSON, resp, err, p.printAdoption)
}

func (p *program) printAdoption(a client.KeyAdoption) error {
	if a.Fetchers == 0 {
		_, err := fmt.Fprintln(p.stdout, "No verifier has fetched the JWKS within three days, or KEYWARD_ADOPTION is off.")
		return err
	}
	fmt.Fprintf(p.stdout, "%d of %s (%.0f %%) %s fetched a JWKS with key %s, published %s.\n", a.Adopted, plural.Count(a.Fetchers, "verifier"), 100*a.Share, plural.Verb(a.Adopted, "has", "have"), a.KID, formatTime(a.PublishedAt))
	if len(a.Stragglers) == 0 {
		return nil
	}
	fmt.Fprintln(p.stdout, "\nWithout it:")
	t := table{head: []string{"CLIENT", "LAST SEEN"}}
	for _, s := range a.Stragglers {
		t.add(s.Client, formatTime(s.LastSeen))
	}
	return p.printTable(t)
}
