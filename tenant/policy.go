package tenant

import (
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Policy is how one tenant signs with one algorithm. All durations are whole
// seconds.
type Policy struct {
	Alg              jose.SignatureAlgorithm // RFC 7518 section 3.1, RFC 8037, RFC 9864
	Default          bool                    // signs where a request names no algorithm
	RSABits          int                     // 2048, 3072 or 4096; 0 for other key types
	RotationInterval time.Duration           // 0: rotate by hand only
	PublishLead      time.Duration           // how long a standby is published before the schedule promotes it
	GracePeriod      time.Duration           // how long a deprecated key stays published
	PurgeAfter       time.Duration           // from leaving the JWKS to losing the public key
	DefaultTokenTTL  time.Duration
	MaxTokenTTL      time.Duration
	MaxPublishedKeys int
	CreatedAt        time.Time
	UpdatedAt        time.Time
	RetiredAt        *time.Time // set: signs no more, only lets its published keys run out
}
