// SPDX-License-Identifier: Apache-2.0

// Package leaf keeps the certificates that applications are shown in place of the endpoints' own: minted on first use,
// cached, renewed before they end, one signature at a time per host.
package leaf
