package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCompletion(t *testing.T) {
	for typed, want := range map[string]string{
		"ke":                                "key",
		"key re":                            "revoke revoke-all",
		"key revoke --tenant acme --reas":   "--reason",
		"key revoke --reason superseded --": "--allow-http",
		"completion ":                       "bash fish zsh",
		"completion bash ":                  "",
		"completion --no":                   "",
		"key revoke --reason ":              "compromised superseded unspecified",
		"key revoke --reason=co":            "--reason=compromised",
		"key revoke --reason = co":          "compromised", // as split by bash
		"key revoke --reason =":             "compromised superseded unspecified",
		"key revoke --mode ":                "fresh standby",
		"tenant show acme ":                 "",
		"serve --no-w":                      "--no-worker",
		"nothing-like-this ":                "", // unknown command: no completions
		"nothing-like-this --":              "",
		"key nothing-like-this re":          "",
		"key revoke re":                     "",
		"ben":                               "", // hidden
		"complet":                           "completion",
	} {
		words := strings.Split(typed, " ")
		r := keyward(t, environ{"KEYWARD_ADDR": "a bad value is no trouble here"}, append([]string{"complete", "--"}, words...)...)
		got := strings.Fields(r.stdout)
		if strings.HasSuffix(typed, " --") && want != "" { // many candidates; one is enough
			got = slices.DeleteFunc(got, func(word string) bool { return word != want })
		}
		if r.code != 0 || strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q (%d %s)", typed, got, want, r.code, r.stderr)
		}
	}
	keyward(t, environ{}, "completion", "powershell").want(t, exitUsage)
}

// asTyped maps command lines to the result of one Tab at their end. They call
// the built program.
var asTyped = [][2]string{
	{"keyward compl", "keyward completion "},
	{"keyward key re", "keyward key revoke"}, // or revoke-all
	{"keyward key revoke --reason comp", "keyward key revoke --reason compromised "},
	{"keyward nothing-like-this re", "keyward nothing-like-this re"},
	{"keyward key import --pem ./a-fi", "keyward key import --pem ./a-file.pem "},
}

// shell returns a constructor for a shell in a directory with its completion
// script, named as zsh requires, and a file to complete.
func shell(t *testing.T, name string) (cmd func(args ...string) *exec.Cmd, script string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("there is no " + name + " on this machine: its completion is not tried")
	}
	home := t.TempDir()
	script = filepath.Join(home, "functions", "_keyward")
	for file, text := range map[string]string{script: ok(t, environ{}, "completion", name) + "\n", filepath.Join(home, "a-file.pem"): ""} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, path, args...)
		cmd.Dir = home
		cmd.Env = []string{"HOME=" + home, "ZDOTDIR=" + home, "TERM=dumb", "LC_ALL=C", "PATH=" + filepath.Dir(built(t)) + ":" + os.Getenv("PATH")}
		return cmd
	}, script
}

func TestCompletionInBash(t *testing.T) {
	bash, script := shell(t, "bash")
	for line, want := range map[string]string{
		"keyward key re":                "revoke revoke-all",
		"keyward key revoke --reason =": "compromised superseded unspecified",
		"keyward completion ''":         "bash fish zsh",
		"keyward nothing-like-this ''":  "", // file names then
	} {
		out, err := bash("--norc", "-c", "source "+script+"; complete -p keyward; COMP_WORDS=("+line+
			"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _keyward; echo \"${COMPREPLY[*]}\"").CombinedOutput()
		if got, is := strings.CutPrefix(string(out), "complete -o default -F _keyward keyward\n"); err != nil || !is || strings.TrimSuffix(got, "\n") != want {
			t.Errorf("%s: %q, %v", line, out, err)
		}
	}
}

// zsh in a pseudo terminal completes lines with a Tab, with the script found in
// fpath and with the script sourced.
func TestCompletionInZsh(t *testing.T) {
	zsh, script := shell(t, "zsh")
	for how, read := range map[string]string{
		"found":  "fpath=(" + filepath.Dir(script) + " $fpath); autoload -Uz compinit; compinit -D -u",
		"source": "autoload -Uz compinit; compinit -D -u; source " + script,
	} {
		out := filepath.Join(t.TempDir(), "out")
		rc := read + "\nreport() { print -r -- \"$BUFFER.\" >>" + out + "; BUFFER=; }; zle -N report; bindkey '^T' report; PS1='READY>'\n"
		if err := os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(script)), ".zshrc"), []byte(rc), 0o600); err != nil {
			t.Fatal(err)
		}
		keys, want := "", ""
		for _, line := range asTyped {
			keys += line[0] + `\t\C-t`
			want += line[1] + ".\n"
		}
		said, err := zsh("-f", "-c", `zmodload zsh/zpty; zpty s zsh -d -i; zpty -r s out '*READY>'; zpty -w -n s $'`+keys+`exit\r'; while zpty -r s out; do print -r -- $out; done`).CombinedOutput()
		if got, _ := os.ReadFile(out); err != nil && len(got) == 0 || string(got) != want {
			t.Errorf("%s: %q, want %q: %v, %q", how, got, want, err, said)
		}
	}
}

func TestCompletionInFish(t *testing.T) {
	fish, script := shell(t, "fish")
	for line, want := range map[string]string{
		"keyward key re":                          "revoke revoke-all",
		"keyward key revoke --reason ":            "compromised superseded unspecified",
		"keyward nothing-like-this re":            "",
		"keyward key import --pem ./a-fi":         "./a-file.pem",
		"keyward key revoke --reason=comp":        "--reason=compromised",
		"keyward completion bash --url x --log-f": "--log-format",
	} {
		out, err := fish("--no-config", "-c", "source "+script+"; complete -C '"+line+"'").CombinedOutput()
		if got := strings.Join(strings.Fields(string(out)), " "); err != nil || got != want {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
}
