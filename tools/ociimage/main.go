// Command ociimage writes an image of Keyward as an OCI image layout, without a registry
// and without a container engine. deploy/release calls it.
//
//	ociimage -arch amd64 -version v1.2.3 -commit 0123 -created 1700000000 DIR LAYER.tar...
//
// The same layers and flags give the same bytes. The package is internal to Keyward: no
// compatibility promise.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	var o options
	flag.StringVar(&o.arch, "arch", "", "architecture, as GOARCH")
	flag.StringVar(&o.version, "version", "", "version of Keyward")
	flag.StringVar(&o.commit, "commit", "", "commit that it was built from")
	flag.Int64Var(&o.created, "created", 0, "time of the image, in seconds since 1970")
	flag.Parse()
	if err := write(o, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "ociimage:", err)
		os.Exit(1)
	}
}

type options struct {
	arch, version, commit string
	created               int64
}

// write writes the layout to the directory args[0], with the layers of the other args.
func write(o options, args []string) error {
	if o.arch == "" || o.version == "" || len(args) < 2 {
		return errors.New("usage: ociimage -arch ARCH -version VERSION [-commit COMMIT] [-created SECONDS] DIR LAYER")
	}
	image, err := build(o, args[1:])
	if err != nil {
		return err
	}
	dir, err := layout.Write(args[0], empty.Index)
	if err != nil {
		return err
	}
	return dir.AppendImage(image, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: o.arch}),
		layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": o.version}))
}

func build(o options, layers []string) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	created := v1.Time{Time: time.Unix(o.created, 0).UTC()}
	for _, file := range layers {
		layer, err := tarball.LayerFromFile(file, tarball.WithMediaType(types.OCILayer))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		added := mutate.Addendum{Layer: layer, MediaType: types.OCILayer, History: v1.History{Created: created, CreatedBy: "deploy/release"}}
		if image, err = mutate.Append(image, added); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", o.arch, created
	config.Config = imageConfig(o)
	return mutate.ConfigFile(image, config)
}

// imageConfig says what the Dockerfile says; TestRelease compares them.
func imageConfig(o options) v1.Config {
	return v1.Config{
		User:         "65532:65532",
		WorkingDir:   "/var/lib/keyward",
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Entrypoint:   []string{"/keyward"},
		Cmd:          []string{"serve"},
		Labels: map[string]string{
			"org.opencontainers.image.title":    "Keyward",
			"org.opencontainers.image.licenses": "Apache-2.0",
			"org.opencontainers.image.version":  o.version,
			"org.opencontainers.image.revision": o.commit,
		},
	}
}
