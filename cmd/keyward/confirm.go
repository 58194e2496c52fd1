package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// confirmFlag is shared by commands that ask before they act.
type confirmFlag struct {
	Yes bool `name:"yes" short:"y" help:"Confirm without asking."`
}

// errNotConfirmed is the result of a negative answer.
var errNotConfirmed = errors.New("nothing was changed")

// confirm asks for confirmation of an irreversible operation; the caller has
// printed its effect. It returns a *usageError without a terminal and without
// --yes.
func (a confirmFlag) confirm(p *program, question string) error {
	if !a.Yes && !isTerminal(p.stdin) {
		return &usageError{"no terminal to ask for confirmation, nothing was changed: give --yes to proceed"}
	}
	return a.confirmIfTerminal(p, question)
}

// confirmIfTerminal asks for confirmation of a reversible operation. Without a
// terminal it returns nil.
func (a confirmFlag) confirmIfTerminal(p *program, question string) error {
	if a.Yes || !isTerminal(p.stdin) {
		return nil
	}
	fmt.Fprintf(p.stderr, "%s [y/N] ", question)
	if !readConsent(p.stdin) {
		return errNotConfirmed
	}
	return nil
}

// readConsent reads an answer. An empty one is a no.
func readConsent(r io.Reader) bool {
	answer, _ := bufio.NewReader(r).ReadString('\n')
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// printNote prints lines to stderr, such as the effect of a command before it
// runs.
func (p *program) printNote(format string, args ...any) {
	for line := range strings.SplitSeq(fmt.Sprintf(format, args...), "\n") {
		fmt.Fprintln(p.stderr, sanitizeText(line))
	}
}
