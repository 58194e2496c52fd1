package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// readObject reads the JSON object given by a flag: itself, @FILE, or - for
// stdin.
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

// readWord reads a single argument: itself, @FILE, or - for stdin.
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

// writeFile writes a command's result to a file with mode 0600, or to stdout.
// The file is replaced atomically.
func (p *program) writeFile(path string, from func(io.Writer) error) error {
	if path == "" || path == "-" {
		return from(p.stdout)
	}
	return replaceFile(path, 0o600, from)
}

// replaceFile replaces a file atomically: readers see the old or the new
// content, even after a crash. A device or pipe is written to directly.
func replaceFile(path string, mode os.FileMode, from func(io.Writer) error) error {
	if at, err := filepath.EvalSymlinks(path); err == nil {
		path = at
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return cmp.Or(from(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".keyward-*")
	if err != nil {
		return err
	}
	err = from(f)
	if err = cmp.Or(err, f.Chmod(mode), f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
	}
	return err
}
