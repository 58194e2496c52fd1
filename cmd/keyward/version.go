package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"runtime/debug"
)

// Set by the linker: -ldflags '-X main.version=… -X main.commit=…'.
var version, commit string

type versionCmd struct {
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Run is keyward version.
func (c *versionCmd) Run(p *program) error {
	v, commit, goVersion := buildInfo()
	if c.JSON {
		return json.NewEncoder(p.stdout).Encode(map[string]string{"version": v, "commit": commit, "go": goVersion})
	}
	_, err := fmt.Fprintf(p.stdout, "keyward %s\ncommit %s\n%s\n", v, commit, goVersion)
	return err
}

// buildInfo returns version, commit and Go version: as set by the linker, else as
// recorded by the Go toolchain.
func buildInfo() (v, c, goVersion string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return cmp.Or(version, "unknown"), cmp.Or(commit, "unknown"), "unknown"
	}
	noted := map[string]string{}
	for _, s := range info.Settings {
		noted[s.Key] = s.Value
	}
	revision := noted["vcs.revision"]
	if revision != "" && noted["vcs.modified"] == "true" {
		revision += "+changes"
	}
	return cmp.Or(version, info.Main.Version, "unknown"), cmp.Or(commit, revision, "unknown"), info.GoVersion
}

func versionText() string {
	v, _, _ := buildInfo()
	return v
}
