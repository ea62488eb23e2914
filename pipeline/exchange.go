// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"context"
	"errors"
)

// ErrBodyTooLarge is returned by Client.Body together with the first bytes when the body exceeds the limit.
var ErrBodyTooLarge = errors.New("request body exceeds the limit")

// ErrClientGone is the cause (context.Cause) of the context of an exchange that ended because its application went away.
var ErrClientGone = errors.New("the application went away")

// ErrNotRecorded is returned by Upstream.Send, and wraps the reason, when the record that had to be durable first is not.
var ErrNotRecorded = errors.New("not recorded")

// Client is the application's side of one exchange. It is used by one goroutine.
type Client interface {
	// Head is the request head, credentials cut out. The caller must not change it; Clone first.
	Head() Head
	// Body reads the whole request body, transfer coding removed, content coding kept. The bytes stay valid until Serve
	// returns. With ErrBodyTooLarge it returns the first limit bytes: Upstream.Send with exactly these bytes as body
	// then relays the rest unread, which only a mode that fails open may do.
	Body(ctx context.Context, limit int64) ([]byte, error)
	// Respond writes a reply head. Its fields are written as they are: a head taken from Reply.Head unchanged goes out
	// byte for byte as it came. The framing of what Write sends follows the head: Content-Length, Transfer-Encoding:
	// chunked, or neither (the connection is closed after the body; HEAD, 204 and 304 have no body).
	Respond(Head) error
	// Write sends body bytes at once; nothing is kept back. b may be reused after it returns.
	Write(b []byte) error
}

// Releaser is a Client that can give the memory of the request back before the exchange ends, which for a stream may be
// minutes later. After Release the bytes of Body must not be used, and Send must not be called again.
type Releaser interface{ Release() }

// Upstream is the provider's side of one exchange. It dials lazily, at most once per Send.
type Upstream interface {
	// Send forwards the request. h is Client.Head() or an edited clone: what was not changed goes out byte for byte, the
	// credential fields in their old places. No body byte leaves before durable yields nil (one receive; nil channel =
	// durable already); an error from it (returned as ErrNotRecorded) or the end of ctx (returned as it is) sends
	// nothing. credential names a credential to apply last, "" = the caller's own. body must be complete, except after
	// ErrBodyTooLarge.
	Send(ctx context.Context, h Head, body []byte, credential string, durable <-chan error) (Reply, error)
}

// Reply is the provider's answer.
type Reply interface {
	Head() Head
	// Next returns the next body bytes as soon as there are any, transfer coding removed, content coding kept; io.EOF
	// after a complete body; any other error means that the reply was cut. The bytes are valid until the following Next.
	Next(context.Context) ([]byte, error)
	// Close releases the upstream connection: for reuse after io.EOF, closed otherwise. Idempotent.
	Close() error
}
