package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Select the shell: bash, zsh or fish."`
}

// completionScripts call the program itself for completions, so that they never become
// outdated.
var completionScripts = map[string]string{
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
if [[ "$funcstack[1]" == _keyward ]]; then
	_keyward "$@" # this file is the function itself, read at the first Tab
else
	compdef _keyward keyward
fi
`,
	"fish": `function __keyward_complete
	set -l words (commandline -opc) (commandline -ct)
	set -l found (keyward complete -- $words[2..-1] 2>/dev/null)
	if set -q found[1]
		printf '%s\n' $found
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c keyward -f -a '(__keyward_complete)'
`,
}

// Run is keyward completion.
func (c *completionCmd) Run(p *program) error {
	_, err := fmt.Fprint(p.stdout, completionScripts[c.Shell])
	return err
}

type completeCmd struct {
	Words []string `arg:"" optional:"" help:"Complete the last of these words."`
}

// Run is keyward complete, called by the scripts.
func (c *completeCmd) Run(k *kong.Context, p *program) error {
	for _, word := range completionsOf(k.Model.Node, c.Words) {
		fmt.Fprintln(p.stdout, word)
	}
	return nil
}

// completionsOf returns the completions of the last word.
func completionsOf(node *kong.Node, words []string) (found []string) {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	value, args := (*kong.Flag)(nil), 0 // the flag that expects a value, and the number of arguments so far
	for _, word := range words[:len(words)-1] {
		switch child := childOf(node, word); {
		case value != nil:
			if word != "=" { // bash splits --flag=value
				value = nil
			}
		case strings.HasPrefix(word, "-"):
			value = valueOf(node, word)
		case child != nil:
			node = child
		case !node.Leaf():
			return nil // unknown command
		default:
			args++
		}
	}
	name, _, assigns := strings.Cut(last, "=")
	switch {
	case value != nil:
		last = strings.TrimPrefix(last, "=")
		found = enumOf(value.Value)
	case assigns && valueOf(node, name) != nil:
		for _, word := range enumOf(valueOf(node, name).Value) {
			found = append(found, name+"="+word)
		}
	case strings.HasPrefix(last, "-"):
		found = flagsOf(node)
	default:
		found = wordsOf(node, args)
	}
	found = slices.DeleteFunc(found, func(word string) bool { return word == "" || !strings.HasPrefix(word, last) })
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

// valueOf returns the flag if its value is a separate word, else nil.
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

// wordsOf returns subcommands, or the enum values of the argument at index
// args.
func wordsOf(node *kong.Node, args int) (words []string) {
	for _, child := range node.Children {
		if child.Type == kong.CommandNode && !child.Hidden {
			words = append(words, child.Name)
		}
	}
	if args < len(node.Positional) {
		words = append(words, enumOf(node.Positional[args])...)
	}
	return words
}

func enumOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}
