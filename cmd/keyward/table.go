package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// table is a text table. Its columns are in the order of importance: a terminal
// that is too narrow does not show the last ones.
type table struct {
	head []string // nil: no header line
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// print writes the table with lines of at most columns characters; 0:
// unlimited.
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
				line += row[i] + strings.Repeat(" ", width-utf8.RuneCountInString(row[i])+columnGap)
			}
		}
		text.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	_, err := io.WriteString(w, text.String())
	return err
}

const columnGap = 2 // between two columns

// fitColumns returns the widths of the columns that fit, at least two.
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
	total := -columnGap
	for i, width := range widths {
		if total += width + columnGap; columns > 0 && total > columns && i >= 2 {
			return widths[:i]
		}
	}
	return widths
}

// printTable prints a table to stdout.
func (p *program) printTable(t table) error { return t.print(p.stdout, terminalWidth(p.stdout)) }

// terminalWidth returns the characters per line of w, 0 if it is no terminal.
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

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, is := stream.(*os.File)
	return is && term.IsTerminal(int(f.Fd()))
}

// sanitizeText replaces control characters, so that foreign text cannot control
// the terminal, nor turn the direction of what follows it.
func sanitizeText(s string) string {
	return strings.Map(func(r rune) rune {
		turns := r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 // Unicode Standard Annex 9 section 2
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 || turns {
			return '?'
		}
		return r
	}, s)
}

// kidText returns a kid for a terminal. One that is too long to be imported is cut.
func kidText(kid string) string {
	const longest, enough = 256, 64 // bytes
	if len(kid) <= longest {
		return sanitizeText(kid)
	}
	return sanitizeText(strings.ToValidUTF8(kid[:enough], "")) + fmt.Sprintf("… (%d bytes)", len(kid))
}

// formatTime formats a time to the second.
func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// optionalText formats an optional value, "-" for nil.
func optionalText[T any](v *T, text func(T) string) string {
	if v == nil {
		return "-"
	}
	return text(*v)
}

func stringOf[T ~string](v T) string { return string(v) }

// orDash returns s, or "-" if it is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
