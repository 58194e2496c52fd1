package moving

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Names in Redis, of "How to JWKS".
const (
	redisActive  = "auth:keys:active"
	redisPEM     = "auth:keys:pem:" // followed by a kid
	redisJWK     = "auth:keys:jwk:" // followed by a kid
	redisRecent  = "auth:keys:recent"
	redisRevoked = "auth:keys:revoked"
)

// redisStore is the used part of Redis. An absent string is "".
type redisStore interface {
	get(ctx context.Context, name string) (string, error)
	members(ctx context.Context, name string) ([]string, error)
	newest(ctx context.Context, name string, n int64) ([]string, error)
}

// Redis reads the layout of "How to JWKS" from a redis: or rediss: URL. The
// password may be in the URL or separate. It reads only the private key of the
// active kid.
func Redis(ctx context.Context, address, password string, s Settings) ([]Key, error) {
	opts, err := redis.ParseURL(address)
	if err != nil { // its text may have the password
		return nil, fmt.Errorf("%w: it is not a URL as in redis://host:6379/0", ErrUnreadable)
	}
	if opts.Password == "" {
		opts.Password = password
	}
	opts.DialTimeout, opts.MaxRetries, opts.DialerRetries, opts.DisableIdentity = 5*time.Second, 1, 1, true
	redis.SetLogger(quiet{}) // the returned error has the same text
	client := redis.NewClient(opts)
	defer client.Close()
	keys, err := readRedis(ctx, redisClient{client}, s)
	if err != nil {
		return nil, fmt.Errorf("%w: Redis: %w", ErrUnreadable, err)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: nothing is under %s or %s", ErrFormat, redisActive, redisRecent)
	}
	return keys, nil
}

func readRedis(ctx context.Context, r redisStore, s Settings) (keys []Key, err error) {
	active, err := r.get(ctx, redisActive)
	if err != nil {
		return nil, err
	}
	recent, err := r.newest(ctx, redisRecent, maxKeys)
	if err != nil {
		return nil, err
	}
	revoked, err := r.members(ctx, redisRevoked)
	if err != nil {
		return nil, err
	}
	var kids []string
	for _, kid := range slices.Concat([]string{active}, recent, revoked) {
		if kid != "" && !slices.Contains(kids, kid) && len(kids) < maxKeys {
			kids = append(kids, kid)
		}
	}
	for _, kid := range kids {
		k, err := redisKey(ctx, r, kid, kid == active, slices.Contains(revoked, kid), s)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func redisKey(ctx context.Context, r redisStore, kid string, active, revoked bool, s Settings) (Key, error) {
	k := Key{KID: kid, State: "recent"}
	if active {
		k.State = "active"
	}
	if revoked {
		k.State, k.SkipReason = "revoked", "it was revoked or dropped at the source"
		return k, nil
	}
	text, err := r.get(ctx, redisJWK+kid)
	if err != nil {
		return k, err
	}
	if text == "" {
		k.RefuseReason = "nothing is under " + redisJWK + kid
		return k, nil
	}
	read := parseJWK([]byte(text), kid, s)
	clear(read.Private) // should be absent
	k.Public, k.Alg, k.ExpiresAt, k.SkipReason, k.RefuseReason = read.Public, read.Alg, read.ExpiresAt, read.SkipReason, read.RefuseReason
	if active {
		err = k.redisPrivate(ctx, r)
	}
	return k, err
}

// redisPrivate reads the private key of the active kid.
func (k *Key) redisPrivate(ctx context.Context, r redisStore) error {
	text, err := r.get(ctx, redisPEM+k.KID)
	if err != nil {
		return err
	}
	if text == "" {
		k.Note = "it no longer has a private key, so it only verifies"
		return nil
	}
	read, err := parsePEM([]byte(text))
	switch {
	case err != nil || read.Private == nil:
		k.RefuseReason = "what is under " + redisPEM + k.KID + " is no private key in PEM"
	case read.Public.Thumbprint() != k.Public.Thumbprint():
		k.RefuseReason = "its PEM and its JWK are different keys"
	default:
		k.Private = read.Private
	}
	return nil
}

// redisClient implements redisStore with a connection.
type redisClient struct{ *redis.Client }

func (c redisClient) get(ctx context.Context, name string) (string, error) {
	text, err := c.Get(ctx, name).Result()
	if errors.Is(err, redis.Nil) {
		return "", nil
	}
	return text, err
}

func (c redisClient) members(ctx context.Context, name string) ([]string, error) {
	return c.SMembers(ctx, name).Result()
}

func (c redisClient) newest(ctx context.Context, name string, n int64) ([]string, error) {
	kids, err := c.ZRange(ctx, name, -n, -1).Result() // lowest score first
	slices.Reverse(kids)
	return kids, err
}

// quiet discards the log of the Redis client.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
