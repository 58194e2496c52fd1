package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keyward/keyward/moving"
)

// show prints the plan.
func (m *mover) show(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KID\tALG\tFROM STATE\tBECOMES\tNOTE")
	for _, s := range m.steps {
		alg := s.Alg
		if alg == "" {
			alg = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", printable(s.KID), printable(alg), printable(s.State), becomes(s), printable(s.Why))
	}
	t.Flush()
}

// printable keeps what a source says from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

func becomes(s moving.Step) string {
	switch s.Becomes {
	case moving.Deprecated:
		return "deprecated until " + s.Until.Format(time.RFC3339)
	case moving.Present:
		return "(skipped)"
	case moving.Left:
		return "(stays behind)"
	case moving.Refused:
		return "REFUSED"
	}
	return s.Becomes
}

// confirm asks whoever sits at the terminal.
func (m *mover) confirm(p *program, todo int) error {
	if m.flags.Yes {
		return nil
	}
	if !isTerminal(p.stdin) {
		return &usageError{"nobody is there to ask: give --yes to do it, or --dry-run to see the plan alone"}
	}
	fmt.Fprintf(p.stderr, "Move %d into %s? [y/N] ", todo, m.flags.Tenant)
	if !saysYes(p.stdin) {
		return errors.New("nothing was changed")
	}
	return nil
}

func isTerminal(r io.Reader) bool {
	f, is := r.(*os.File)
	if !is {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// saysYes reads an answer; none is a no.
func saysYes(r io.Reader) bool {
	answer, _ := bufio.NewReader(r).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}
