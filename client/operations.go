package client

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
)

// RotateKeys makes the standby sign, now. See [Client.PreviewRotation].
func (c *Client) RotateKeys(ctx context.Context, tenant string, body RotateRequest) (*RotateResult, error) {
	body.DryRun = nil
	return Decode[RotateResult](c.Requests.RotateKeys(ctx, tenant, nil, body))
}

// PreviewRotation answers what [Client.RotateKeys] would do. It changes nothing.
func (c *Client) PreviewRotation(ctx context.Context, tenant string, body RotateRequest) (*RotatePreview, error) {
	body.DryRun = new(true)
	return Decode[RotatePreview](c.Requests.RotateKeys(ctx, tenant, nil, body))
}

// ImportKeys brings in one key, or those of a JWK Set; see the document for
// what goes with what. It is sent again where no answer came: the same request
// twice is one.
func (c *Client) ImportKeys(ctx context.Context, tenant string, body ImportKeyRequest, reqEditors ...RequestEditorFn) ([]Key, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	defer clear(text) // a private key may be in it
	type answer struct {
		Key
		Items []Key `json:"items"`
	}
	a, err := Decode[answer](c.Requests.ImportKeyWithBody(ctx, tenant, nil, "application/json", bytes.NewReader(text), append(slices.Clip(reqEditors), Once(NewKey()))...))
	switch {
	case err != nil:
		return nil, err
	case a.Items != nil:
		return a.Items, nil
	case a.KID == "":
		return nil, ErrNotKeyward
	}
	return []Key{a.Key}, nil
}

// DeleteTenant destroys a tenant's keys and answers the certificate of it.
func (c *Client) DeleteTenant(ctx context.Context, tenant string, reqEditors ...RequestEditorFn) (*DestructionCertificate, error) {
	return Decode[DestructionCertificate](c.Requests.DeleteTenant(ctx, tenant, nil, append(slices.Clip(reqEditors), Certified())...))
}
