// SPDX-License-Identifier: Apache-2.0

package adminapi

import (
	"context"
	"net/http"
	"time"
)

// RecordSubject is whose records are meant: a session, or all sessions of a principal, by SPIFFE ID or user.
type RecordSubject struct {
	Session   string `json:"session,omitempty"`
	Principal string `json:"principal,omitempty"`
}

// EraseRequest asks to destroy the keys of contents. What was decided, and that there was a session, stays on record.
type EraseRequest struct {
	RecordSubject
	Reason string `json:"reason,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"` // only say what would be destroyed
	Digest string `json:"digest,omitempty"`  // of the list that was confirmed: another one is not erased
}

// Erasure is what was, or would be, erased.
type Erasure struct {
	RecordSubject
	Sessions int      `json:"sessions"`
	List     []string `json:"list"` // the first thousand
	Digest   string   `json:"digest"`
	Keys     int      `json:"keys"`
	DryRun   bool     `json:"dry_run,omitempty"`
}

// HoldRequest asks to put records under legal hold, or to release them.
type HoldRequest struct {
	RecordSubject
	Reason string `json:"reason"`
}

// Hold keeps records from being erased and from expiring.
type Hold struct {
	RecordSubject
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	User   string    `json:"user,omitempty"` // who asked
	UID    uint32    `json:"uid"`
}

// Erase destroys contents for good.
func (c *Client) Erase(ctx context.Context, r EraseRequest) (Erasure, error) {
	return call[Erasure](ctx, c, http.MethodPost, "/v1/record/erase", r)
}

// Holds asks what is under hold.
func (c *Client) Holds(ctx context.Context) ([]Hold, error) {
	return call[[]Hold](ctx, c, http.MethodGet, "/v1/record/holds", nil)
}

// AddHold puts records under hold.
func (c *Client) AddHold(ctx context.Context, r HoldRequest) (Hold, error) {
	return call[Hold](ctx, c, http.MethodPost, "/v1/record/holds/add", r)
}

// ReleaseHold ends a hold.
func (c *Client) ReleaseHold(ctx context.Context, r HoldRequest) (Hold, error) {
	return call[Hold](ctx, c, http.MethodPost, "/v1/record/holds/remove", r)
}
