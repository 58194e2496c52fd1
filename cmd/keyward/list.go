package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/keyward/keyward/client"
)

// listFlags are shared by all lists.
type listFlags struct {
	Limit  int    `name:"limit" placeholder:"N" help:"Print at most this many. Default: all."`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"Continue a list that --limit ended."`
}

// maxPageSize is the API's limit of items in one answer.
const maxPageSize = 500

// page is one page of a list, with undecoded items.
type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// rows describes how to print the items of a list as a table.
type rows[T any] struct {
	head []string
	row  func(T) []string
	none string // printed for an empty list
}

// printList prints the items of all pages. As JSON it prints one document, with
// next_cursor if --limit left items out.
func printList[T any](p *program, asJSON bool, l listFlags, r rows[T], fetch func(limit *int, cursor *string) (*http.Response, error)) error {
	if l.Limit < 0 {
		return &usageError{"--limit must be a number above 0"}
	}
	printer := &listPrinter[T]{p: p, rows: r, asJSON: asJSON}
	cursor := (*string)(nil)
	if l.Cursor != "" {
		cursor = &l.Cursor
	}
	for left := l.Limit; ; {
		most := maxPageSize
		if l.Limit > 0 {
			most = min(most, left)
		}
		got, err := client.Decode[page](fetch(&most, cursor))
		if err != nil {
			return err
		}
		if err := printer.add(got.Items); err != nil {
			return err
		}
		cursor, left = got.NextCursor, left-len(got.Items)
		if cursor == nil || l.Limit > 0 && left <= 0 {
			return printer.finish(cursor)
		}
	}
}

// listPrinter prints the pages of a list as they arrive.
type listPrinter[T any] struct {
	p      *program
	rows   rows[T]
	asJSON bool
	n      int
}

func (l *listPrinter[T]) add(items []json.RawMessage) error {
	if l.asJSON {
		return l.addJSON(items)
	}
	t := table{}
	if l.n == 0 {
		t.head = l.rows.head
	}
	l.n += len(items)
	for _, item := range items {
		var v T
		if json.Unmarshal(item, &v) != nil {
			return client.ErrNotKeyward
		}
		t.add(l.rows.row(v)...)
	}
	if l.n == 0 {
		return nil
	}
	return l.p.printTable(t)
}

func (l *listPrinter[T]) addJSON(items []json.RawMessage) error {
	var text bytes.Buffer
	for _, item := range items {
		if l.n++; l.n > 1 {
			text.WriteByte(',')
		} else {
			text.WriteString(`{"items":[`)
		}
		text.Write(item)
	}
	_, err := l.p.stdout.Write(text.Bytes())
	return err
}

// finish ends the list and prints the cursor of the next page, if any.
func (l *listPrinter[T]) finish(next *string) error {
	if !l.asJSON {
		if l.n == 0 {
			fmt.Fprintln(l.p.stderr, l.rows.none)
		}
		if next != nil {
			fmt.Fprintln(l.p.stderr, "More items: continue with --cursor", *next)
		}
		return nil
	}
	tail := "]}\n"
	if l.n == 0 {
		tail = `{"items":[` + tail
	}
	if next != nil {
		cursor, err := json.Marshal(*next)
		if err != nil {
			return err
		}
		tail = `],"next_cursor":` + string(cursor) + "}\n"
	}
	_, err := l.p.stdout.Write([]byte(tail))
	return err
}
