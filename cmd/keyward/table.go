package main

import (
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// table is what people read. Its columns are in the order of importance: a
// terminal that is too narrow for all does not get the last ones.
type table struct {
	head []string // none: no line of heads
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table, in at most so many columns of characters; 0: in as
// many as it takes.
func (t *table) print(w io.Writer, columns int) error {
	rows := t.rows
	if t.head != nil {
		rows = append([][]string{t.head}, rows...)
	}
	widths := fitColumns(rows, columns)
	var text strings.Builder
	for _, row := range rows {
		line := ""
		for i, width := range widths {
			if i < len(row) {
				line += row[i] + strings.Repeat(" ", width-utf8.RuneCountInString(row[i])+gap)
			}
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

const gap = 2 // between two columns

// fitColumns are the widths of the columns that there is room for, two at least.
func fitColumns(rows [][]string, columns int) (widths []int) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			row[i] = sanitizeText(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	total := -gap
	for i, width := range widths {
		if total += width + gap; columns > 0 && total > columns && i >= 2 {
			return widths[:i]
		}
	}
	return widths
}

// printTable prints a table on the standard output.
func (p *program) printTable(t table) error { return t.print(p.stdout, terminalWidth(p.stdout)) }

// terminalWidth is how many characters a line of w has, 0 if it is no terminal.
func terminalWidth(w io.Writer) int {
	f, is := w.(*os.File)
	if !is {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// isTerminal reports whether somebody is there to ask or to watch.
func isTerminal(stream any) bool {
	f, is := stream.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// sanitizeText keeps what others wrote from steering the terminal.
func sanitizeText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// formatTime is a time in a table, to the second.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// optionalText is a value that may be absent.
func optionalText[T any](v *T, text func(T) string) string {
	if v == nil {
		return "-"
	}
	return text(*v)
}

func stringOf[T ~string](v T) string { return string(v) }

// orDash is a text, or a dash for none.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
