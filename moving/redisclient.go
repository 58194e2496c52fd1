package moving

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"
)

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
