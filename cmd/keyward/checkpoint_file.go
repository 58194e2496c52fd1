package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/keyward/keyward/audit"
	"github.com/keyward/keyward/client"
	"github.com/keyward/keyward/keys/signing"
	"github.com/keyward/keyward/publish"
)

// checkpointContent is what a checkpoint's file has beside its leaves.
type checkpointContent struct {
	jws       string
	inclusion *signing.Inclusion // nil: none
	tree      audit.Tree         // of the leaves
}

// checkpointLine is a JSON value of a file: a leaf, or the answer with the checkpoint.
type checkpointLine struct {
	signing.CheckpointLeaf
	Checkpoint string             `json:"checkpoint"`
	Inclusion  *signing.Inclusion `json:"inclusion"`
}

var errNoCheckpoint = errors.New("not a checkpoint, or only a part of one")

// readCheckpointContent reads a checkpoint as keyward audit checkpoint writes it, or an
// answer of the API, and calls each, if not nil, with every leaf. It verifies no
// signature.
func readCheckpointContent(from io.Reader, each func(signing.CheckpointLeaf) error) (c checkpointContent, err error) {
	in := bufio.NewReader(from)
	if first, err := in.Peek(1); err != nil || first[0] != '{' {
		text, err := io.ReadAll(io.LimitReader(in, maxKeySetBytes))
		c.jws = strings.TrimSpace(string(text))
		return c, err
	}
	for values := json.NewDecoder(in); ; {
		var line checkpointLine
		if err := values.Decode(&line); errors.Is(err, io.EOF) && c.jws != "" {
			return c, nil
		} else if err != nil || c.jws != "" {
			return c, errNoCheckpoint
		}
		if line.Checkpoint != "" {
			c.jws, c.inclusion = line.Checkpoint, line.Inclusion
			continue
		}
		head, err := line.Head()
		if err != nil {
			return c, err
		}
		c.tree.Add(head)
		if each == nil {
			continue
		}
		if err := each(line.CheckpointLeaf); err != nil {
			return c, err
		}
	}
}

// keptCheckpoint is a verified checkpoint of one tenant or of all.
type keptCheckpoint struct {
	file      localFile
	one       *signing.Checkpoint // nil: of all tenants
	all       signing.PlatformCheckpoint
	inclusion *signing.Inclusion // of one tenant in all
	leaves    bool               // the file has all leaves
}

// openCheckpoint reads a file and verifies its checkpoint with the platform's keys, a JWK
// Set or a key history, and the leaves with the checkpoint.
func openCheckpoint(file localFile, set []byte) (*keptCheckpoint, error) {
	k := &keptCheckpoint{file: file}
	content, err := k.read(nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.name, err)
	}
	if jwsType(content.jws) != signing.PlatformCheckpointType {
		one, err := signing.VerifyCheckpoint(content.jws, set)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.name, err)
		}
		k.one = &one
		return k, nil
	}
	if k.all, err = signing.VerifyPlatformCheckpoint(content.jws, set); err == nil {
		err = k.checkContent(content)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.name, err)
	}
	return k, nil
}

// isArchived reports whether a document is named as one in a place of KEYWARD_CHECKPOINTS.
func isArchived(name string) bool {
	return strings.HasPrefix(name, "s3://") || strings.HasPrefix(name, "file://")
}

// localFile is a file with a document that was asked for by a name.
type localFile struct {
	name string // in messages: the file's, or the document's URI
	path string
}

// localCopy returns the file with a checkpoint. One in a place of KEYWARD_CHECKPOINTS is
// copied to a temporary file, because it is read more than once. The caller must call
// remove.
func localCopy(ctx context.Context, name string) (file localFile, remove func(), err error) {
	if !isArchived(name) {
		return localFile{name, name}, func() {}, nil
	}
	f, err := os.CreateTemp("", "keyward-*")
	if err != nil {
		return localFile{}, nil, err
	}
	remove = func() { os.Remove(f.Name()) }
	if err = errors.Join(publish.ReadDocument(ctx, name, f), f.Close()); err != nil {
		remove()
		return localFile{}, nil, fmt.Errorf("%s: %w", name, err)
	}
	return localFile{name, f.Name()}, remove, nil
}

// checkContent compares leaves and proof with the signed root.
func (k *keptCheckpoint) checkContent(content checkpointContent) error {
	if k.inclusion = content.inclusion; k.inclusion != nil {
		if err := k.all.Covers(*k.inclusion); err != nil {
			return err
		}
	}
	if k.leaves = content.tree.Size() > 0; k.leaves && (content.tree.Size() != k.all.Tenants || hex.EncodeToString(content.tree.Root()) != k.all.Root) {
		return fmt.Errorf("%w: the leaves are not those that were signed", signing.ErrCheckpoint)
	}
	return nil
}

func (k *keptCheckpoint) read(each func(signing.CheckpointLeaf) error) (checkpointContent, error) {
	f, err := os.Open(k.file.path)
	if err != nil {
		return checkpointContent{}, err
	}
	defer f.Close()
	return readCheckpointContent(f, each)
}

// eachLeaf calls each with the end of every chain that the checkpoint names.
func (k *keptCheckpoint) eachLeaf(each func(signing.CheckpointLeaf) error) error {
	switch {
	case k.one != nil:
		return each(signing.CheckpointLeaf{TenantID: k.one.TenantID, Tenant: k.one.Tenant, Seq: k.one.Seq, Hash: k.one.Hash})
	case k.leaves:
		_, err := k.read(each)
		return err
	case k.inclusion != nil:
		return each(k.inclusion.CheckpointLeaf)
	}
	return fmt.Errorf("%s has a checkpoint of all tenants without its leaves, and names none of them: make it with keyward audit checkpoint --all", k.file.name)
}

// of returns the checkpoint of one tenant. A checkpoint of another tenant is returned as
// it is, and callers compare.
func (k *keptCheckpoint) of(tenantID uuid.UUID) (signing.Checkpoint, error) {
	if k.one != nil {
		return *k.one, nil
	}
	var found *signing.Checkpoint
	err := k.eachLeaf(func(l signing.CheckpointLeaf) error {
		if l.TenantID == tenantID {
			found = &signing.Checkpoint{Issuer: k.all.Issuer, IssuedAt: k.all.IssuedAt, TenantID: l.TenantID, Tenant: l.Tenant, Seq: l.Seq, Hash: l.Hash, At: k.all.At}
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("the checkpoint in %s has no tenant %s", k.file.name, tenantID)
	}
	if err != nil {
		return signing.Checkpoint{}, err
	}
	return *found, nil
}

// jwsType returns the typ of a compact JWS, "" if there is none.
func jwsType(jws string) string {
	head, _, _ := strings.Cut(jws, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Typ string }
	if err != nil || json.NewDecoder(bytes.NewReader(text)).Decode(&h) != nil {
		return ""
	}
	return h.Typ
}

// loadCheckpoint reads and verifies a checkpoint. api may be nil if --jwks is given.
func (c *auditVerifyCmd) loadCheckpoint(ctx context.Context, p *program, api *client.Client, file localFile) (*keptCheckpoint, error) {
	set, err := c.loadKeys(ctx, api)
	if err != nil {
		return nil, err
	}
	kept, err := openCheckpoint(file, set)
	if err != nil {
		return nil, err
	}
	issuer := kept.all.Issuer
	if kept.one != nil {
		issuer = kept.one.Issuer
	}
	if c.JWKS == "" || sameOrigin(c.JWKS, c.URL) || sameOrigin(c.JWKS, issuer) {
		p.printNote("Warning: the checkpoint was verified with keys from the checked server itself. An attacker able to rewrite its history could also\nreplace those keys: keep %s with a checkpoint, and pass it with --jwks.", keysURL(c.URL))
	}
	return kept, nil
}
