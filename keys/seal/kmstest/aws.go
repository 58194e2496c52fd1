package kmstest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

const awsAccount = "arn:aws:kms:eu-central-1:111122223333:key/"

// NewAWS starts a fake AWS KMS for as long as the test runs, and points the
// environment to it.
func NewAWS(t testing.TB) *Server {
	t.Helper()
	s := newServer((*Server).serveAWS)
	s.start(t)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_KMS": s.http.URL, "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
	} {
		t.Setenv(name, value)
	}
	s.URI = s.NewAWSKey("1234abcd-12ab-34cd-56ef-1234567890ab")
	return s
}

// NewAWSKey makes a key, or a new version of one, and returns its URI.
func (s *Server) NewAWSKey(id string) string {
	s.rotate(awsAccount + id)
	return "aws-kms://" + awsAccount + id
}

type awsRequest struct {
	KeyID             string            `json:"KeyId"`
	Plaintext         []byte            `json:",omitempty"`
	CiphertextBlob    []byte            `json:",omitempty"`
	EncryptionContext map[string]string `json:",omitempty"`
}

// AWSFault answers as AWS KMS does with an error.
func AWSFault(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		writeJSON(w, status, map[string]string{"__type": code, "message": message})
	}
}

// serveAWS: docs.aws.amazon.com/kms/latest/APIReference, Encrypt and Decrypt.
func (s *Server) serveAWS(w http.ResponseWriter, r *http.Request) {
	var in awsRequest
	switch {
	case !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/kms/aws4_request"):
		AWSFault(http.StatusBadRequest, "InvalidSignatureException", "want region eu-central-1 and service kms")(w, r)
		return
	case r.Header.Get("Content-Type") != "application/x-amz-json-1.1" || json.NewDecoder(r.Body).Decode(&in) != nil:
		AWSFault(http.StatusBadRequest, "SerializationException", "")(w, r)
		return
	}
	var out map[string]any
	var err error
	switch r.Header.Get("X-Amz-Target") {
	case "TrentService.Encrypt":
		out, err = s.awsEncrypt(in)
	case "TrentService.Decrypt":
		out, err = s.awsDecrypt(in)
	default:
		AWSFault(http.StatusBadRequest, "UnknownOperationException", "")(w, r)
		return
	}
	switch {
	case errors.Is(err, errNoKey):
		AWSFault(http.StatusBadRequest, "NotFoundException", "Key '"+in.KeyID+"' does not exist")(w, r)
	case errors.Is(err, errOtherKey):
		AWSFault(http.StatusBadRequest, "IncorrectKeyException", "The key ID in the request does not identify a CMK that can perform this operation.")(w, r)
	case err != nil:
		AWSFault(http.StatusBadRequest, "InvalidCiphertextException", "")(w, r)
	default:
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		out["KeyId"], out["EncryptionAlgorithm"] = in.KeyID, "SYMMETRIC_DEFAULT"
		writeJSON(w, http.StatusOK, out)
	}
}

var errOtherKey = errors.New("made by another key")

// awsEncrypt: the blob says by itself which key and version made it.
func (s *Server) awsEncrypt(in awsRequest) (map[string]any, error) {
	version, sealed, err := s.encrypt(in.KeyID, in.Plaintext, in.context())
	if err != nil {
		return nil, err
	}
	blob := fmt.Appendf(nil, "%s\n", in.KeyID)
	blob = binary.BigEndian.AppendUint32(blob, uint32(version))
	return map[string]any{"CiphertextBlob": append(blob, sealed...)}, nil
}

func (s *Server) awsDecrypt(in awsRequest) (map[string]any, error) {
	key, sealed, found := bytes.Cut(in.CiphertextBlob, []byte("\n"))
	if !found || len(sealed) < 4 || !bytes.HasPrefix(key, []byte(awsAccount)) {
		_, err := s.decrypt(in.KeyID, 0, nil, nil)
		return nil, err
	}
	version := int(binary.BigEndian.Uint32(sealed))
	plain, err := s.decrypt(in.KeyID, version, sealed[4:], in.context())
	if string(key) != in.KeyID {
		return nil, errOtherKey
	}
	return map[string]any{"Plaintext": plain}, err
}

// context is the encryption context as KMS authenticates it: as a whole.
func (in awsRequest) context() []byte {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(in.EncryptionContext)) {
		b = fmt.Appendf(b, "%q=%q,", name, in.EncryptionContext[name])
	}
	return b
}
