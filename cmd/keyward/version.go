package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
)

// Set by the linker: -ldflags '-X main.version=… -X main.commit=…'.
var version, commit string

type versionCmd struct{}

// Run is keyward version.
func (versionCmd) Run(p *program) error {
	v, c, goVersion := buildInfo()
	_, err := fmt.Fprintf(p.stdout, "keyward %s\ncommit %s\n%s\n", v, c, goVersion)
	return err
}

// buildInfo is what the linker was told, else what the toolchain noted.
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
