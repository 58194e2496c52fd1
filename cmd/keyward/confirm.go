package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirmFlag is the flag of every command that asks before it acts.
type confirmFlag struct {
	Yes bool `name:"yes" short:"y" help:"Confirm without asking."`
}

// errNotConfirmed is a no.
var errNotConfirmed = errors.New("nothing was changed")

// confirm asks whoever sits at the terminal before what cannot be undone. Where
// nobody does, it refuses. Whoever calls it has said what will happen.
func (a confirmFlag) confirm(p *program, question string) error {
	if !a.Yes && !isTerminal(p.stdin) {
		return &usageError{"nobody is there to ask, and nothing was changed: give --yes to do it"}
	}
	return a.confirmIfTerminal(p, question)
}

// confirmIfTerminal is confirm for what does no harm that lasts: where nobody can be asked, it
// is done.
func (a confirmFlag) confirmIfTerminal(p *program, question string) error {
	if a.Yes || !isTerminal(p.stdin) {
		return nil
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	if !saysYes(p.stdin) {
		return errNotConfirmed
	}
	return nil
}

// saysYes reads an answer; none is a no.
func saysYes(r io.Reader) bool {
	answer, _ := bufio.NewReader(r).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// printNote says on the standard error what a command is about to do.
func (p *program) printNote(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(p.stderr, sanitizeText(line))
	}
}
