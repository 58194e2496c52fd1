package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// clockVariable names the file that a process built by build reads its clock's
// offset from.
const clockVariable = "KEYWARD_TORTURE_CLOCK"

// offsetSource is added to package time: eight bytes of a file, mapped into
// memory, are the nanoseconds by which the wall clock is off.
const offsetSource = `package time

import (
	"syscall"
	"unsafe"
)

var wallOffset = mapWallOffset()

func mapWallOffset() *int64 {
	name, found := syscall.Getenv("` + clockVariable + `")
	if !found {
		return nil
	}
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		panic("time: the file that ` + clockVariable + ` names cannot be opened: " + err.Error())
	}
	data, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		panic("time: the file that ` + clockVariable + ` names cannot be mapped: " + err.Error())
	}
	return (*int64)(unsafe.Pointer(&data[0]))
}

// shiftedNow is runtimeNow with the offset added to the wall clock alone.
func shiftedNow() (sec int64, nsec int32, mono int64) {
	sec, nsec, mono = runtimeNow()
	if wallOffset == nil {
		return
	}
	total := int64(nsec) + *wallOffset
	sec += total / 1e9
	if total %= 1e9; total < 0 {
		total += 1e9
		sec--
	}
	return sec, int32(total), mono
}
`

// build builds Keyward with a package time whose wall clock can be moved from
// outside. Timers and the monotonic clock stay as they are.
func build(ctx context.Context, source, dir string) (program string, err error) {
	root, err := goRoot(ctx, source, dir)
	if err != nil {
		return "", err
	}
	room := filepath.Join(root, "src", "time")
	text, err := os.ReadFile(filepath.Join(room, "time.go"))
	if err != nil {
		return "", err
	}
	shifted, err := shiftNow(text)
	if err != nil {
		return "", err
	}
	files := map[string][]byte{"time.go": shifted, "torture_offset.go": []byte(offsetSource)}
	replace := map[string]string{}
	for name, text := range files {
		at := filepath.Join(dir, name+".txt")
		if err := os.WriteFile(at, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(room, name)] = at
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	plan := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(plan, overlay, 0o600); err != nil {
		return "", err
	}
	program = filepath.Join(dir, "keyward")
	cmd := exec.CommandContext(ctx, filepath.Join(root, "bin", "go"), "build", "-overlay", plan, "-o", program, "./cmd/keyward")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOTOOLCHAIN=local", "GOROOT="+root)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return program, nil
}

// clockMoves reports whether a program was built by build.
func clockMoves(program string) (bool, error) {
	text, err := os.ReadFile(program)
	return bytes.Contains(text, []byte(clockVariable)), err
}

// goRoot is where the Go that builds source keeps its packages, by a name that
// is not in the module cache: there nothing may be replaced, and a toolchain
// that was downloaded lies there.
func goRoot(ctx context.Context, source, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOROOT")
	cmd.Dir = source
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	link := filepath.Join(dir, "goroot")
	return link, os.Symlink(strings.TrimSpace(string(out)), link)
}

// shiftNow lets time.Now read the shifted clock. Only that one call is
// replaced: durations go on being measured by the monotonic clock.
func shiftNow(source []byte) ([]byte, error) {
	_, after, found := bytes.Cut(source, []byte("\nfunc Now() Time {"))
	before := source[:len(source)-len(after)]
	call, shifted := []byte("runtimeNow()"), []byte("shiftedNow()")
	end := bytes.Index(after, []byte("\n}"))
	if !found || end < 0 || bytes.Count(after[:end], call) != 1 {
		return nil, errors.New("this Go's time.Now is written in a way that is not known here: see clock.go")
	}
	return append(bytes.Clone(before), append(bytes.Replace(after[:end], call, shifted, 1), after[end:]...)...), nil
}

// clock is the offset of one process's wall clock.
type clock struct{ file string }

func newClock(file string) (*clock, error) {
	c := &clock{file}
	return c, c.set(0)
}

// set moves the clock of the running process at once.
func (c *clock) set(offset time.Duration) error {
	f, err := os.OpenFile(c.file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(offset)), 0)
	return err
}
