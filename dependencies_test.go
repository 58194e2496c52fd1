package keyward_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// reasons say why the module of Keyward requires another one.
var reasons = map[string]string{
	"cloud.google.com/go/kms":                                         "master keys in Google Cloud KMS",
	"code.dny.dev/ssrf":                                               "addresses that webhooks must not reach, kept up to date",
	"github.com/alecthomas/kong":                                      "command line and environment",
	"github.com/aws/aws-sdk-go-v2":                                    "master keys in AWS KMS",
	"github.com/aws/aws-sdk-go-v2/config":                             "master keys in AWS KMS: credentials",
	"github.com/aws/aws-sdk-go-v2/service/kms":                        "master keys in AWS KMS",
	"github.com/aws/smithy-go":                                        "errors of AWS KMS",
	"github.com/getkin/kin-openapi":                                   "requests are validated by openapi.yaml",
	"github.com/go-jose/go-jose/v4":                                   "JWS, JWK, JWT",
	"github.com/google/uuid":                                          "ids",
	"github.com/hashicorp/vault/api":                                  "master keys in Vault and OpenBao",
	"github.com/jackc/pgx/v5":                                         "PostgreSQL",
	"github.com/labstack/echo/v4":                                     "HTTP routing",
	"github.com/maypok86/otter/v2":                                    "bounded caches",
	"github.com/oapi-codegen/nullable":                                "members that may be null, in generated code",
	"github.com/oapi-codegen/runtime":                                 "generated code of the API and its client",
	"github.com/pressly/goose/v3":                                     "migrations",
	"github.com/prometheus/client_golang":                             "metrics",
	"github.com/redis/go-redis/v9":                                    "import of keys that another system keeps in Redis",
	"github.com/schollz/progressbar/v3":                               "progress at a terminal",
	"github.com/testcontainers/testcontainers-go":                     "PostgreSQL for tests, where Docker is",
	"github.com/testcontainers/testcontainers-go/modules/postgres":    "PostgreSQL for tests, where Docker is",
	"github.com/tink-crypto/tink-go-awskms/v3":                        "envelope encryption with AWS KMS",
	"github.com/tink-crypto/tink-go-gcpkms/v2":                        "envelope encryption with Google Cloud KMS",
	"github.com/tink-crypto/tink-go-hcvault/v2":                       "envelope encryption with Vault and OpenBao",
	"github.com/tink-crypto/tink-go/v2":                               "envelope encryption",
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp":   "traces of requests",
	"go.opentelemetry.io/otel":                                        "traces",
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp": "traces by OTLP",
	"go.opentelemetry.io/otel/sdk":                                    "traces",
	"go.opentelemetry.io/otel/trace":                                  "traces",
	"go.opentelemetry.io/proto/otlp":                                  "a receiver of traces in tests",
	"golang.org/x/crypto":                                             "PBKDF2 and other primitives that the standard library lacks",
	"golang.org/x/net":                                                "internationalized domain names; DNS messages and HTTP/2 frames in tests",
	"golang.org/x/sync":                                               "groups of goroutines",
	"golang.org/x/text":                                               "letter case and normal forms in every script",
	"golang.org/x/term":                                               "questions at a terminal",
	"google.golang.org/api":                                           "master keys in Google Cloud KMS",
	"google.golang.org/grpc":                                          "errors of Google Cloud KMS",
	"google.golang.org/protobuf":                                      "Tink's keysets",
	"k8s.io/externaljwt":                                              "the API of kube-apiserver for signers of its tokens",
	"pgregory.net/rapid":                                              "property tests",
	"software.sslmate.com/src/go-pkcs12":                              "import of PKCS#12 files",
}

// weakCopyleft is the licence that asks for the source of changes to its own files alone. Keyward
// changes none; the modules are those of the client of Vault.
const weakCopyleft = "MPL-2.0"

// licences recognizes a licence by words that only it has; the first match decides.
var licences = []struct {
	id    string
	words *regexp.Regexp
}{
	{"AGPL-3.0", regexp.MustCompile(`GNU AFFERO GENERAL PUBLIC LICENSE`)},
	{"LGPL", regexp.MustCompile(`GNU LESSER GENERAL PUBLIC LICENSE`)},
	{"GPL", regexp.MustCompile(`GNU GENERAL PUBLIC LICENSE Version`)},
	{"BUSL-1.1", regexp.MustCompile(`Business Source License`)},
	{"SSPL-1.0", regexp.MustCompile(`Server Side Public License`)},
	{"MPL-2.0", regexp.MustCompile(`Mozilla Public License,? [Vv]ersion 2\.0`)},
	{"Apache-2.0", regexp.MustCompile(`Apache License,? Version 2\.0`)},
	{"MIT", regexp.MustCompile(`Permission is hereby granted, free of charge, to any person obtaining a copy`)},
	{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and/?(or)? ?distribute this software for any purpose with or without fee`)},
	{"BSD-3-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms.*(Neither the name|may be used to endorse)`)},
	{"BSD-2-Clause", regexp.MustCompile(`Redistribution and use in source and binary forms`)},
	{"Unlicense", regexp.MustCompile(`This is free and unencumbered software released into the public domain`)},
}

// permissive licences ask for their text and nothing else.
var permissive = []string{"Apache-2.0", "MIT", "ISC", "BSD-3-Clause", "BSD-2-Clause", "Unlicense"}

// licenceOf returns the licence of a module by the text in its directory. Notices of other
// works below the licence itself may follow, so of several licences in one file the one that
// begins first counts.
func licenceOf(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		return licenceIn(string(text)), nil
	}
	return "", errors.New("no licence")
}

func licenceIn(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	first, id := len(text), ""
	for _, l := range licences {
		if at := l.words.FindStringIndex(text); at != nil && at[0] < first {
			first, id = at[0], l.id
		}
	}
	return id
}

// goPackage is what go list says of a package.
type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// packages lists the packages that patterns need on Linux, by their import path.
func packages(t *testing.T, args ...string) map[string]goPackage {
	t.Helper()
	return packagesIn(t, ".", args...)
}

// packagesIn is packages for patterns of the module in a directory. Keyward's own modules
// are all main ones.
func packagesIn(t *testing.T, dir string, args ...string) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps", "-json=ImportPath,Standard,Imports,Module"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly")
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &problems)
	}
	all := map[string]goPackage{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Standard {
			p.Module.Main = p.Module.Main || p.Module.Path == "github.com/keyward/keyward"
			all[p.ImportPath] = p
		}
	}
}

// dependency is a row of docs/dependencies.md.
type dependency struct{ path, version, licence, reason string }

// dependencies lists the foreign modules of packages, without those that are in others.
func dependencies(t *testing.T, of map[string]goPackage, others map[string]bool) (list []dependency) {
	t.Helper()
	seen, importers := map[string]dependency{}, map[string]map[string]bool{}
	for _, p := range of {
		if m := p.Module; !m.Main && !others[m.Path] && seen[m.Path].path == "" {
			licence, err := licenceOf(m.Dir)
			switch {
			case err != nil || licence == "":
				t.Errorf("%s has no licence that is known (%v)", m.Path, err)
			case licence != weakCopyleft && !slices.Contains(permissive, licence):
				t.Errorf("%s is under %s, which Keyward does not accept", m.Path, licence)
			}
			seen[m.Path] = dependency{m.Path, m.Version, licence, reasons[m.Path]}
		}
		for _, name := range p.Imports {
			if q, foreign := of[name]; foreign && q.Module.Path != p.Module.Path {
				if importers[q.Module.Path] == nil {
					importers[q.Module.Path] = map[string]bool{}
				}
				importers[q.Module.Path][p.Module.Path] = p.Module.Main
			}
		}
	}
	for _, d := range seen {
		by := slices.Sorted(maps.Keys(importers[d.path]))
		direct := slices.ContainsFunc(by, func(path string) bool { return importers[d.path][path] })
		if direct != (d.reason != "") && direct {
			t.Errorf("%s: this file does not say why it is required", d.path)
		}
		if d.reason == "" {
			d.reason = "of " + strings.Join(by[:min(2, len(by))], ", ")
			if len(by) > 2 {
				d.reason += fmt.Sprintf(" and %d more", len(by)-2)
			}
		}
		list = append(list, d)
	}
	slices.SortFunc(list, func(a, b dependency) int { return cmp.Compare(a.path, b.path) })
	return list
}

// TestDependencies reads the licences of all modules that Keyward is made of, refuses
// unknown ones and those that ask for more than their text, and compares docs/dependencies.md
// (KEYWARD_DRAW=1 writes it: make dependencies).
func TestDependencies(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("go is not installed")
	}
	libraries := dependencies(t, packages(t, "./jwks/...", "./client/..."), nil)
	listed := map[string]bool{}
	for _, d := range libraries {
		listed[d.path] = true
	}
	program := dependencies(t, packages(t, "./cmd/keyward"), listed)
	for _, d := range program {
		listed[d.path] = true
	}
	signer := dependencies(t, packagesIn(t, "fronts/kubernetes", "."), listed)
	for _, d := range signer {
		listed[d.path] = true
	}
	tests := dependencies(t, packages(t, "-test", "./..."), listed)
	for path := range reasons {
		if !slices.ContainsFunc(slices.Concat(libraries, program, signer, tests), func(d dependency) bool { return d.path == path }) {
			t.Errorf("%s has a reason and is not required", path)
		}
	}

	var page strings.Builder
	page.WriteString(`# Dependencies

For reviewers: the modules that Keyward is made of, with licence and reason, for Linux. ` + "`make dependencies`" + ` writes this page; ` + "`TestDependencies`" + ` compares it with what is
compiled, and refuses unknown licences and those that ask for more than their text. MPL-2.0, of HashiCorp's client of Vault, asks for the source of changes to its own files,
of which there are none. Separate modules (middleware, examples, benchmarks, tools) have dependencies of their own, which importers do not inherit. Each release has a
list of components of each program in CycloneDX; ` + "`make sbom`" + ` makes one.
`)
	for _, part := range []struct {
		title string
		list  []dependency
	}{{"Of the libraries `jwks` and `client`", libraries}, {"Of the program, besides", program}, {"Of `keyward-kubernetes-signer`, besides", signer}, {"Of tests alone", tests}} {
		fmt.Fprintf(&page, "\n## %s\n\n| module | version | licence | reason |\n| --- | --- | --- | --- |\n", part.title)
		for _, d := range part.list {
			fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", d.path, d.version, d.licence, d.reason)
		}
	}
	const file = "docs/dependencies.md"
	if os.Getenv("KEYWARD_DRAW") != "" {
		if err := os.WriteFile(file, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != page.String() {
		t.Errorf("%s is not up to date (%v): make dependencies", file, err)
	}
}

// Licences are told apart, and one that is none or unknown is not taken for a permissive one.
func TestLicencesAreRecognized(t *testing.T) {
	for text, want := range map[string]string{
		"GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3": "AGPL-3.0", "GNU GENERAL PUBLIC LICENSE\n   Version 2, June 1991": "GPL", "GNU LESSER GENERAL PUBLIC LICENSE": "LGPL",
		"Business Source License 1.1": "BUSL-1.1", "Mozilla Public License, version 2.0": "MPL-2.0", "Apache License\n   Version 2.0, January 2004": "Apache-2.0", "All rights reserved.": "",
		"Redistribution and use in source and binary forms, with or without": "BSD-2-Clause", "Redistribution and use in source and binary forms ... Neither the name of Google": "BSD-3-Clause",
		"Apache License Version 2.0 ... portions under the GNU GENERAL PUBLIC LICENSE Version 2": "Apache-2.0",
	} {
		if got := licenceIn(text); got != want {
			t.Errorf("%.40q is %q, want %q", text, got, want)
		}
		if want != "" && want != weakCopyleft && slices.Contains([]string{"AGPL-3.0", "GPL", "LGPL", "BUSL-1.1", "SSPL-1.0"}, want) == slices.Contains(permissive, want) {
			t.Errorf("%s", want)
		}
	}
}
