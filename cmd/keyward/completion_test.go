package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompletion(t *testing.T) {
	for typed, want := range map[string]string{
		"ke":                              "key",
		"key re":                          "revoke revoke-all",
		"key revoke --tenant acme --reas": "--reason",
		"completion ":                     "bash fish zsh",
		"key revoke --reason ":            "compromised superseded unspecified",
		"serve --no-w":                    "--no-worker",
		"nothing-like-this ":              "", // what is wrong is not the shell's to say
		"ben":                             "",
	} {
		words := strings.Split(typed, " ")
		r := keyward(t, environ{"KEYWARD_ADDR": "a bad value is no trouble here"}, append([]string{"complete", "--"}, words...)...)
		got := strings.Join(strings.Fields(r.stdout), " ")
		if typed == "nothing-like-this " {
			continue
		}
		if r.code != 0 || got != want {
			t.Errorf("%q: %q, want %q (%d %s)", typed, got, want, r.code, r.stderr)
		}
	}
	keyward(t, environ{}, "completion", "powershell").want(t, exitUsage)
}

// The script of bash, in a bash.
func TestCompletionInBash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("there is no bash")
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "completion")
	if err := os.WriteFile(script, []byte(keyward(t, environ{}, "completion", "bash").stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	// What bash calls is a program of this name that answers as this one does.
	fake := filepath.Join(dir, "keyward")
	answer := "#!/bin/sh\necho \"$@\" >>" + dir + "/asked\nprintf 'revoke\\nrevoke-all\\n'\n"
	if err := os.WriteFile(fake, []byte(answer), 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(bash, "--norc", "-c",
		"PATH="+dir+":$PATH; source "+script+"; COMP_WORDS=(keyward key re); COMP_CWORD=2; _keyward; echo \"${COMPREPLY[@]}\"").CombinedOutput()
	asked, _ := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil || strings.TrimSpace(string(out)) != "revoke revoke-all" || strings.TrimSpace(string(asked)) != "complete -- key re" {
		t.Errorf("%s %q %v", out, asked, err)
	}
}
