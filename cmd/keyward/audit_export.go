package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"

	"github.com/keyward/keyward/client"
)

type auditExportCmd struct {
	Out string `name:"out" placeholder:"FILE" help:"Where to write it. Default: the standard output."`
	auditFilter
	anyTenant
}

// Run is keyward audit export: one event a line, as the API has it, the oldest
// first unless --order says otherwise. A file that could not be written to its
// end is removed.
func (c *auditExportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.open()
	if err != nil {
		return err
	}
	if c.Order == "" {
		c.Order = "asc"
	}
	err = p.writeFile(c.Out, func(w io.Writer) error { return c.export(ctx, p, api, w) })
	if err != nil && c.Out != "" && c.Out != "-" {
		os.Remove(c.Out)
	}
	return err
}

func (c *auditExportCmd) export(ctx context.Context, p *program, api *client.Client, w io.Writer) error {
	out, bar, most := bufio.NewWriter(w), p.progress("events", -1), biggestPage
	defer bar.done()
	for cursor := (*string)(nil); ; {
		got, err := client.Decode[page](c.events(ctx, api, c.Tenant, &most, cursor))
		if err != nil {
			return err
		}
		for _, event := range got.Items {
			if _, err := out.Write(append(event, '\n')); err != nil {
				return err
			}
		}
		bar.add(len(got.Items))
		if cursor = got.NextCursor; cursor == nil {
			return out.Flush()
		}
	}
}

// decode reads JSON of an answer.
func decode(text []byte, into any) error {
	if json.Unmarshal(text, into) != nil {
		return client.ErrNotKeyward
	}
	return nil
}
