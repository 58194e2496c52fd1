// Package kubernetes verifies tokens as kube-apiserver does with the file of
// --authentication-config.
//
// Internal to Keyward: no compatibility promise. It is an example to copy.
package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apiserver/pkg/apis/apiserver"
	"k8s.io/apiserver/pkg/apis/apiserver/install"
	"k8s.io/apiserver/plugin/pkg/authenticator/token/oidc"
)

// NewVerifier returns when the authenticator has found the issuer's keys, which it
// tries at once and then every 10 seconds, or after a minute with an error.
func NewVerifier(ctx context.Context, file []byte) (oidc.AuthenticatorTokenWithHealthCheck, error) {
	scheme := runtime.NewScheme()
	install.Install(scheme)
	var config apiserver.AuthenticationConfiguration
	if err := runtime.DecodeInto(serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDecoder(), file, &config); err != nil {
		return nil, err
	}
	if len(config.JWT) != 1 {
		return nil, fmt.Errorf("%d issuers", len(config.JWT))
	}
	authenticator, err := oidc.New(ctx, oidc.Options{
		JWTAuthenticator:     config.JWT[0],
		SupportedSigningAlgs: oidc.AllValidSigningAlgorithms(),
		Client:               http.DefaultClient,
	})
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for authenticator.HealthCheck() != nil {
		select {
		case <-tick.C:
		case <-wait.Done():
			return nil, authenticator.HealthCheck()
		}
	}
	return authenticator, nil
}

// Verify returns the user's name.
func Verify(ctx context.Context, v oidc.AuthenticatorTokenWithHealthCheck, token string) (user string, err error) {
	response, known, err := v.AuthenticateToken(ctx, token)
	if err != nil {
		return "", err
	}
	if !known {
		return "", errors.New("the token is not of this issuer")
	}
	return response.User.GetName(), nil
}
