package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// scripts ask the program itself what could come next, so that they never
// grow old.
var scripts = map[string]string{
	"bash": `_keyward() {
	local IFS=$'\n'
	COMPREPLY=($(keyward complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _keyward keyward
`,
	"zsh": `#compdef keyward
_keyward() {
	local -a found
	found=("${(@f)$(keyward complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	[[ -n "$found" ]] && compadd -- $found || _files
}
compdef _keyward keyward
`,
	"fish": `function __keyward_complete
	set -l words (commandline -opc) (commandline -ct)
	keyward complete -- $words[2..-1] 2>/dev/null
end
complete -c keyward -a '(__keyward_complete)'
`,
}

// Run is keyward completion.
func (c *completionCmd) Run(p *program) error {
	_, err := fmt.Fprint(p.stdout, scripts[c.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" help:"The words so far; the last is the one to complete."`
}

// Run is keyward complete, which the scripts call.
func (c *completeCmd) Run(k *kong.Context, p *program) error {
	for _, word := range candidates(k.Model.Node, c.Words) {
		fmt.Fprintln(p.stdout, word)
	}
	return nil
}

// candidates are what the last of the words could become.
func candidates(node *kong.Node, words []string) (found []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	var value *kong.Flag // whose value comes next
	for _, word := range words[:len(words)-1] {
		if value != nil {
			value = nil
			continue
		}
		if strings.HasPrefix(word, "-") {
			value = valueOf(node, word)
			continue
		}
		if child := childOf(node, word); child != nil {
			node = child
		}
	}
	switch {
	case value != nil:
		found = enumOf(value.Value)
	case strings.HasPrefix(last, "-"):
		found = flagsOf(node)
	default:
		found = wordsOf(node)
	}
	found = slices.DeleteFunc(found, func(word string) bool { return !strings.HasPrefix(word, last) })
	slices.Sort(found)
	return slices.Compact(found)
}

func childOf(node *kong.Node, name string) *kong.Node {
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && child.Name == name {
			return child
		}
	}
	return nil
}

// valueOf is the flag, if its value is a word of its own.
func valueOf(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			if "--"+f.Name == word && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}

func flagsOf(node *kong.Node) (names []string) {
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			names = append(names, "--"+f.Name)
		}
	}
	return names
}

// wordsOf are commands, and what an argument can be if that is known.
func wordsOf(node *kong.Node) (words []string) {
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			words = append(words, child.Name)
		}
	}
	for _, arg := range node.Positional {
		words = append(words, enumOf(arg)...)
	}
	return words
}

func enumOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}
