package db

import (
	"net"
	"time"

	"github.com/jackc/pgx/v5"
)

// unansweredLimit is how long data may stay unacknowledged by the machine at the other
// end before a connection counts as broken (TCP_USER_TIMEOUT, RFC 5482). Keep-alives find
// an idle one broken after about as long. Without them a connection whose peer has
// vanished hangs for a quarter of an hour.
const unansweredLimit = 10 * time.Second

// watchPeer makes the connections of a configuration notice a peer that has vanished.
func watchPeer(cfg *pgx.ConnConfig) {
	dialer := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		Control:         limitUnanswered,
	}
	cfg.DialFunc = dialer.DialContext
}
