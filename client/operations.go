package client

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
)

// RotateKeys activates the standby key now. See [Client.PreviewRotation].
func (c *Client) RotateKeys(ctx context.Context, tenant string, body RotateRequest) (*RotateResult, error) {
	body.DryRun = nil
	return Decode[RotateResult](c.Requests.RotateKeys(ctx, tenant, nil, body))
}

// PreviewRotation returns the effect that [Client.RotateKeys] would have. It changes
// nothing.
func (c *Client) PreviewRotation(ctx context.Context, tenant string, body RotateRequest) (*RotatePreview, error) {
	body.DryRun = new(true)
	return Decode[RotatePreview](c.Requests.RotateKeys(ctx, tenant, nil, body))
}

// ImportKeys imports one key, or all keys of a JWK Set; the OpenAPI document says
// which fields go together. A request without an answer is repeated, which imports
// nothing twice.
func (c *Client) ImportKeys(ctx context.Context, tenant string, body ImportKeyRequest, reqEditors ...RequestEditorFn) ([]Key, error) {
	list, err := c.ImportKeyList(ctx, tenant, body, reqEditors...)
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// ImportKeyList is [Client.ImportKeys] with the keys of a JWK Set that were skipped.
func (c *Client) ImportKeyList(ctx context.Context, tenant string, body ImportKeyRequest, reqEditors ...RequestEditorFn) (*KeyList, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	defer clear(text) // a private key may be in it
	type answer struct {
		Key
		Items   []Key        `json:"items"`
		Skipped []SkippedKey `json:"skipped"`
	}
	a, err := Decode[answer](c.Requests.ImportKeyWithBody(ctx, tenant, nil, "application/json", bytes.NewReader(text), reqEditors...))
	switch {
	case err != nil:
		return nil, err
	case a.Items != nil:
		return &KeyList{Items: a.Items, Skipped: a.Skipped}, nil
	case a.KID == "":
		return nil, ErrNotKeyward
	}
	return &KeyList{Items: []Key{a.Key}}, nil
}

// DeleteTenant destroys a tenant's keys and returns the certificate of destruction.
func (c *Client) DeleteTenant(ctx context.Context, tenant string, reqEditors ...RequestEditorFn) (*DestructionCertificate, error) {
	return Decode[DestructionCertificate](c.Requests.DeleteTenant(ctx, tenant, nil, append(slices.Clip(reqEditors), Certified())...))
}
