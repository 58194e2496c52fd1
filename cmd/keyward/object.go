package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
)

// readObject reads the JSON object that a flag gives: itself, the name of a file
// after @, or - for the standard input.
func (p *program) readObject(flag, value string) (json.RawMessage, error) {
	text := []byte(value)
	if path, is := strings.CutPrefix(value, "@"); is || value == "-" {
		if value == "-" {
			path = "-"
		}
		var err error
		if text, err = readSource(p.stdin, path); err != nil {
			return nil, err
		}
	}
	if text = bytes.TrimSpace(text); !json.Valid(text) || text[0] != '{' {
		return nil, &usageError{flag + ` must be a JSON object, as in '{"sub":"alice"}', @FILE, or - for the standard input`}
	}
	return text, nil
}

// readWord reads what a single argument gives: itself, @FILE or -.
func (p *program) readWord(value string) (string, error) {
	path, is := strings.CutPrefix(value, "@")
	if value == "-" {
		path, is = "-", true
	}
	if !is {
		return value, nil
	}
	text, err := readSource(p.stdin, path)
	return strings.TrimSpace(string(text)), err
}

// writeFile writes what a command was asked for to a file that only its owner
// reads, or to the standard output.
func (p *program) writeFile(path string, from func(io.Writer) error) error {
	if path == "" || path == "-" {
		return from(p.stdout)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := from(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
