package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/keyward/keyward/client"
)

type auditExportCmd struct {
	Out    string `name:"out" placeholder:"FILE" help:"Write to this file, atomically. Default: standard output."`
	Format string `name:"format" enum:",ndjson,csv" default:"" placeholder:"FORMAT" help:"Select ndjson or csv. Default: csv for a file named *.csv, else ndjson."`
	auditFilter
	eventScope
}

// exportForms maps formats to media types.
var exportForms = map[string]string{"ndjson": "application/x-ndjson", "csv": "text/csv"}

// Run is keyward audit export. It copies the API's stream, oldest first unless
// --order is given.
func (c *auditExportCmd) Run(ctx context.Context, p *program) error {
	api, err := c.openClient()
	if err != nil {
		return err
	}
	form := c.exportFormat()
	if c.JSON && form == "csv" {
		return &usageError{"--json and CSV contradict each other"}
	}
	return p.writeFile(c.Out, func(w io.Writer) error { return c.streamTo(ctx, p, api, exportForms[form], w) })
}

func (c *auditExportCmd) exportFormat() string {
	switch {
	case c.Format != "":
		return c.Format
	case !c.JSON && strings.HasSuffix(strings.ToLower(c.Out), ".csv"):
		return "csv"
	}
	return "ndjson"
}

func (c *auditExportCmd) streamTo(ctx context.Context, p *program, api *client.Client, mediaType string, w io.Writer) error {
	in, err := c.openExport(ctx, api, c.Tenant, mediaType)
	if err != nil {
		return err
	}
	defer in.Close()
	bar := p.newProgress("events", -1)
	defer bar.done()
	if _, err = io.Copy(w, &countingReader{in, bar}); err != nil {
		return fmt.Errorf("the export is incomplete: %w", err)
	}
	return nil
}

// openExport requests an export. It returns client.ErrNotKeyward for another
// media type, such as a proxy's error page.
func (f auditFilter) openExport(ctx context.Context, api *client.Client, tenant, mediaType string) (io.ReadCloser, error) {
	resp, err := f.listEvents(ctx, api, tenant, nil, nil, client.Accept(mediaType))
	in, err := client.Stream(resp, err)
	if err != nil {
		return nil, err
	}
	if got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); got != mediaType {
		in.Close()
		return nil, client.ErrNotKeyward
	}
	return in, nil
}

// countingReader counts lines as they are read: one per event, except for multi-line
// texts in CSV.
type countingReader struct {
	from io.Reader
	bar  *progress
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.bar.add(bytes.Count(b[:n], []byte("\n")))
	return n, err
}

// decodeAnswer decodes JSON of an API answer. It returns client.ErrNotKeyward
// without quoting the text.
func decodeAnswer(text []byte, into any) error {
	if json.Unmarshal(text, into) != nil {
		return client.ErrNotKeyward
	}
	return nil
}
