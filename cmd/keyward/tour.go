package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"text/template"
)

// welcomeData fills the first output of keyward dev.
type welcomeData struct {
	URL, Admin, KeyFile, DataDir, Demo string
	Database                           string // its DSN, if it has no password
	Slug                               string // unused slug
}

// The commands are for a POSIX shell and work as printed, in this order.
var welcomeText = template.Must(template.New("").Funcs(template.FuncMap{"sh": shellQuote}).Parse(
	`Keyward is at      {{.URL}}
  API reference    {{.Admin}}/docs
  admin API key    {{.KeyFile}}
  database         {{.Database}}
  all data         {{.DataDir}}
  a tenant         {{.URL}}/t/{{.Demo}}

Create a tenant, sign a token for it, fetch what verifies the token:

  curl -sS {{sh .Admin}}/v1/tenants -H "Authorization: Bearer $(cat {{sh .KeyFile}})" -H 'Content-Type: application/json' -d '{"slug":"{{.Slug}}"}'

  curl -sS {{sh .Admin}}/v1/tenants/{{.Slug}}/tokens -H "Authorization: Bearer $(cat {{sh .KeyFile}})" -H 'Content-Type: application/json' -d '{"claims":{"sub":"alice","aud":"api"}}'

  curl -sS {{sh .URL}}/t/{{.Slug}}/.well-known/jwks.json

Ctrl-C stops it. The data stays.

`))

func printWelcome(w io.Writer, t welcomeData) error { return welcomeText.Execute(w, t) }

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./:@%+=-]+$`)

// shellQuote quotes s as one word for a POSIX shell, also inside "$(…)".
func shellQuote(s string) string {
	if plainWord.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// readKey reads the key file, "" if it does not exist.
func readKey(file string) (string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(text)), err
}

// writeKey replaces the file atomically, with mode 0600.
func writeKey(file, key string) error {
	temp := file + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	w, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, key+"\n")
	if err := errors.Join(err, w.Sync(), w.Close()); err != nil {
		return err
	}
	return os.Rename(temp, file)
}
