package db

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// MayPass reports whether PostgreSQL is unavailable for a reason that ends without a
// change of the configuration, so that a service that starts should wait: it is away, is
// starting, takes no writes, or has no connection left. reason says which, for anybody.
// A server that fails the check of its certificate or offers no TLS does not pass, and
// neither do a refused login and a database that does not exist.
func MayPass(err error) (reason string, passes bool) {
	if !errors.Is(err, ErrUnavailable) {
		return "", false
	}
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refusalReason(refused.Code), true
	}
	return "PostgreSQL does not respond", !isRefusedTLS(err)
}

// refusalReason describes an SQLSTATE for which isUnavailable is true.
func refusalReason(code string) string {
	switch {
	case code == "57P03":
		return "PostgreSQL is starting or recovering"
	case code == "25006":
		return "PostgreSQL is read-only"
	case code == "53300":
		return "PostgreSQL has no free connection"
	case strings.HasPrefix(code, "53"):
		return "PostgreSQL lacks memory or disk space"
	case strings.HasPrefix(code, "40"), code == "55P03", code == "57014":
		return "PostgreSQL waited too long for a lock"
	}
	return "PostgreSQL does not respond"
}

// isRefusedTLS reports whether err means that a connection was made and could not be
// secured as the URL asks, and not that the network failed.
func isRefusedTLS(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op == "remote error" || op.Op == "local error" // alerts of TLS
	}
	var network net.Error
	if errors.As(err, &network) {
		return false
	}
	var (
		verification *tls.CertificateVerificationError
		record       tls.RecordHeaderError
		stranger     x509.UnknownAuthorityError
		invalid      x509.CertificateInvalidError
		name         x509.HostnameError
	)
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &stranger) || errors.As(err, &invalid) ||
		errors.As(err, &name) || saysRefusedTLS(err.Error())
}

// saysRefusedTLS recognizes errors for which pgx has no type.
func saysRefusedTLS(text string) bool {
	for _, part := range []string{"server refused TLS connection", "channel binding check failed", "require_auth check failed"} {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}
