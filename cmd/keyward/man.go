package main

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
)

// manCmd prints the manual page, which a release has.
type manCmd struct{}

// Run is keyward man.
func (c *manCmd) Run(k *kong.Context, p *program) error {
	_, err := io.WriteString(p.stdout, manPage(k.Model.Node))
	return err
}

// manPage returns keyward(1) in man(7): the list of commands, the help of each and the
// settings of the service. It has no date, so that it depends on the program alone.
func manPage(root *kong.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH KEYWARD 1 \"\" \"keyward %s\"\n.SH NAME\nkeyward \\- %s\n", roff(versionText()), roff(strings.TrimSuffix(root.Help, ".")))
	b.WriteString(".SH SYNOPSIS\n.B keyward\n.I COMMAND\n[flags]\n.SH COMMANDS\n")
	writeVerbatim(&b, commandList(root))
	for _, leaf := range root.Leaves(true) {
		fmt.Fprintf(&b, ".SS keyward %s\n", roff(commandName(leaf)))
		writeVerbatim(&b, commandHelp(root, leaf))
	}
	b.WriteString(".SH ENVIRONMENT\n")
	writeVerbatim(&b, settingList(root))
	b.WriteString(".SH EXIT STATUS\n0: success. 1: failure, and what a check found. 2: wrong usage.\n")
	return b.String()
}

// writeVerbatim writes a text whose lines are kept.
func writeVerbatim(b *strings.Builder, text string) {
	b.WriteString(".nf\n")
	for line := range strings.Lines(text) {
		line = roff(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			b.WriteString(`\&`)
		}
		b.WriteString(line)
	}
	b.WriteString(".fi\n")
}

// roff escapes what troff would interpret inside a line, and what is not ASCII.
func roff(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r > unicode.MaxASCII:
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
