package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/keyward/keyward/client"
)

// listFlags are the flags of every list.
type listFlags struct {
	Limit  int    `name:"limit" placeholder:"N" help:"Print at most this many. Default: all."`
	Cursor string `name:"cursor" placeholder:"CURSOR" help:"Continue a list that --limit ended."`
}

// biggestPage is how many items the API gives at once.
const biggestPage = 500

// page is one of a list, its items as they came.
type page struct {
	Items      []json.RawMessage `json:"items"`
	NextCursor *string           `json:"next_cursor"`
}

// rows is how the items of a list are shown to people.
type rows[T any] struct {
	head []string
	row  func(T) []string
	none string // what to say of an empty list
}

// printList prints the items of page after page. As JSON it is one document, which
// has next_cursor if --limit left something out.
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
		most := biggestPage
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

// listPrinter prints a list as it comes.
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

// finish says what is left.
func (l *listPrinter[T]) finish(next *string) error {
	if !l.asJSON {
		if l.n == 0 {
			fmt.Fprintln(l.p.stderr, l.rows.none)
		}
		if next != nil {
			fmt.Fprintln(l.p.stderr, "There are more; go on with --cursor", *next)
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
