package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

const (
	helpWidth  = 110 // characters of a line at most
	helpIndent = 30  // characters before the text of a flag or command
)

// Groups of flags, as the tags of remoteFlags and cli name them.
const (
	apiGroup     = "api"
	settingGroup = "settings"
)

type helpCmd struct {
	Words []string `arg:"" optional:"" name:"command" help:"Explain this command; config lists the settings of the service."`
}

// Run is keyward help.
func (c *helpCmd) Run(k *kong.Context, p *program) error {
	if len(c.Words) == 0 {
		_, err := io.WriteString(p.stdout, commandList(k.Model.Node))
		return err
	}
	if c.Words[0] == "config" && len(c.Words) == 1 {
		_, err := io.WriteString(p.stdout, settingList(k.Model.Node))
		return err
	}
	node := k.Model.Node
	for _, word := range c.Words {
		if node = childOf(node, word); node == nil {
			return &usageError{fmt.Sprintf("there is no command %q; keyward help lists them", strings.Join(c.Words, " "))}
		}
	}
	_, err := io.WriteString(p.stdout, commandHelp(k.Model.Node, node))
	return err
}

// printHelp is a [kong.HelpPrinter] for --help.
func printHelp(_ kong.HelpOptions, k *kong.Context) error {
	text := commandList(k.Model.Node)
	if node := k.Selected(); node != nil {
		text = commandHelp(k.Model.Node, node)
	}
	_, err := io.WriteString(k.Stdout, text)
	return err
}

// commandKinds are the sections of the command list.
var commandKinds = []struct{ title, needs string }{
	{"Remote commands (API)", "need KEYWARD_URL and KEYWARD_API_KEY"},
	{"Local commands (database)", "need KEYWARD_DATABASE_URL and KEYWARD_MASTER_KEY, except dev"},
	{"Other commands", "need neither"},
}

// kindOf returns the index of a command's section in commandKinds.
func kindOf(leaf *kong.Node) int {
	for _, f := range leaf.Flags {
		if inGroup(f, apiGroup) && f.Name == "api-key" {
			return 0
		}
	}
	switch commandName(leaf) {
	case "completion", "help", "version":
		return 2
	}
	return 1
}

func inGroup(f *kong.Flag, key string) bool { return f.Group != nil && f.Group.Key == key }

// commandName returns the words that call a command, without the program's.
func commandName(node *kong.Node) string {
	if node.Parent == nil {
		return ""
	}
	return strings.TrimSpace(commandName(node.Parent) + " " + node.Name)
}

// commandList lists every command in one line each.
func commandList(root *kong.Node) string {
	var b strings.Builder
	b.WriteString("Usage: keyward COMMAND [flags]\n\n" + root.Help + "\n")
	for kind, section := range commandKinds {
		fmt.Fprintf(&b, "\n%s, which %s:\n", section.title, section.needs)
		for _, leaf := range root.Leaves(true) {
			if kindOf(leaf) == kind {
				writeEntry(&b, commandName(leaf), leaf.Help)
			}
		}
	}
	b.WriteString("\nkeyward COMMAND --help lists the flags of a command, keyward help config the settings of the service.\n")
	return b.String()
}

// commandHelp explains one command, or lists the commands of a group.
func commandHelp(root, node *kong.Node) string {
	var b strings.Builder
	if !node.Leaf() {
		fmt.Fprintf(&b, "Usage: keyward %s COMMAND [flags]\n\n%s\n\nCommands:\n", commandName(node), node.Help)
		for _, leaf := range node.Leaves(true) {
			writeEntry(&b, commandName(leaf), leaf.Help)
		}
		return b.String()
	}
	fmt.Fprintf(&b, "Usage: keyward %s\n\n%s\n", node.Summary(), node.Help)
	if len(node.Positional) > 0 {
		b.WriteString("\nArguments:\n")
		for _, arg := range node.Positional {
			writeEntry(&b, arg.Summary(), arg.Help)
		}
	}
	writeFlags(&b, "Flags", node.Flags, func(f *kong.Flag) bool { return !inGroup(f, apiGroup) })
	writeFlags(&b, "API flags, shared by all remote commands", node.Flags, func(f *kong.Flag) bool { return inGroup(f, apiGroup) })
	writeSettings(&b, root, node)
	return b.String()
}

// settingsIn names the settings that a local command's help shows; the others
// apply too.
var settingsIn = map[string][]string{
	"dev":    {"addr", "admin-addr", "public-url", "database-url", "master-key", "log-level"},
	"worker": {"admin-addr", "database-url", "listen-database-url", "master-key", "log-level"},
	"doctor": {"public-url", "database-url", "listen-database-url", "master-key"},
}

func writeSettings(b *strings.Builder, root, node *kong.Node) {
	if kindOf(node) != 1 {
		return
	}
	if commandName(node) == "serve" {
		b.WriteString("\n" + settingList(root))
		return
	}
	names, known := settingsIn[commandName(node)]
	if !known {
		names = []string{"database-url", "master-key"}
	}
	writeFlags(b, "Settings; keyward help config lists all", root.Flags, func(f *kong.Flag) bool {
		return inGroup(f, settingGroup) && strings.Contains(" "+strings.Join(names, " ")+" ", " "+f.Name+" ")
	})
}

// settingList describes every setting of the service: variable, flag, accepted
// values, default.
func settingList(root *kong.Node) string {
	var b strings.Builder
	b.WriteString("Settings of the service, by environment variable or flag; a flag overrides the variable.\n")
	for _, f := range root.Flags {
		if !inGroup(f, settingGroup) {
			continue
		}
		fmt.Fprintf(&b, "\n  %s (%s)\n", variableOf(f.Tag), flagForm(f))
		unset := f.Default
		if unset == "" {
			unset = f.Tag.Get("unset")
		}
		text := fmt.Sprintf("%s Accepts: %s. Default: %s.", f.Help, f.Tag.Get("accepts"), unset)
		if f.Tag.Has("secret") {
			text += " " + variableOf(f.Tag) + fileSuffix + " names a file with it."
		}
		for _, line := range wrapText(text, helpWidth-6) {
			b.WriteString("      " + line + "\n")
		}
	}
	return b.String()
}

func writeFlags(b *strings.Builder, title string, flags []*kong.Flag, shown func(*kong.Flag) bool) {
	first := true
	for _, f := range flags {
		if f.Hidden || f.Name == "help" || !shown(f) {
			continue
		}
		if first {
			b.WriteString("\n" + title + ":\n")
			first = false
		}
		text := f.Help
		if f.Enum != "" {
			text = strings.ReplaceAll(text, f.Enum, strings.ReplaceAll(f.Enum, ",", ", ")) // so that it wraps
		}
		if name := variableOf(f.Tag); name != "" {
			text += " [" + name + "]"
		}
		writeEntry(b, flagForm(f), text)
	}
}

// flagForm shows how a flag is given, as in --name=TEXT.
func flagForm(f *kong.Flag) string {
	form := "--" + f.Name
	switch {
	case f.Short != 0:
		form = "-" + string(f.Short) + ", " + form
	case f.Tag.Negatable != "":
		form = "--[no-]" + f.Name
	}
	if f.IsBool() {
		return form
	}
	return form + "=" + f.FormatPlaceHolder()
}

// writeEntry writes a name and its text, wrapped beside it.
func writeEntry(b *strings.Builder, name, text string) {
	line := "  " + name
	for i, part := range wrapText(text, helpWidth-helpIndent) {
		if i > 0 {
			line = ""
		} else if utf8.RuneCountInString(line)+2 > helpIndent {
			b.WriteString(line + "\n")
			line = ""
		}
		b.WriteString(line + strings.Repeat(" ", helpIndent-utf8.RuneCountInString(line)) + part + "\n")
	}
}

// wrapText breaks a text at spaces into lines of at most width characters, as
// far as its words allow.
func wrapText(text string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		line = strings.TrimSpace(line + " " + word)
	}
	return append(lines, line)
}
