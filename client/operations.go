package client

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/google/uuid"
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
	return Decode[DestructionCertificate](c.Requests.DeleteTenant(ctx, tenant, append(slices.Clip(reqEditors), Certified())...))
}

// RevokeTenantAPIKey revokes a credential of a tenant, with children also those that
// descend from it.
func (c *Client) RevokeTenantAPIKey(ctx context.Context, tenant string, id uuid.UUID, children bool, reqEditors ...RequestEditorFn) (*RevokedAPIKeys, error) {
	resp, err := c.Requests.RevokeTenantAPIKey(ctx, tenant, id, &RevokeTenantAPIKeyParams{Children: trueOrNil(children)}, reqEditors...)
	return revokedAPIKeys(id, resp, err)
}

// RevokePlatformAPIKey is [Client.RevokeTenantAPIKey] for a credential of the platform.
func (c *Client) RevokePlatformAPIKey(ctx context.Context, id uuid.UUID, children bool, reqEditors ...RequestEditorFn) (*RevokedAPIKeys, error) {
	resp, err := c.Requests.RevokePlatformAPIKey(ctx, id, &RevokePlatformAPIKeyParams{Children: trueOrNil(children)}, reqEditors...)
	return revokedAPIKeys(id, resp, err)
}

func trueOrNil(b bool) *bool {
	if !b {
		return nil
	}
	return &b
}

// revokedAPIKeys reads an answer that is empty for a credential without descendants.
func revokedAPIKeys(id uuid.UUID, resp *http.Response, err error) (*RevokedAPIKeys, error) {
	text, err := Bytes(resp, err)
	if err != nil {
		return nil, err
	}
	out := &RevokedAPIKeys{Revoked: []uuid.UUID{id}}
	if len(text) > 0 && json.Unmarshal(text, out) != nil {
		return nil, ErrNotKeyward
	}
	return out, nil
}
