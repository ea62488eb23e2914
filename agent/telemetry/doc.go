// SPDX-License-Identifier: Apache-2.0

// Package telemetry makes the daemon's log: slog that cannot print a secret.
//
// A value is replaced by [redacted] if its type says that it is secret (Secret), if its key names a credential
// (authorization, api_key, token, ...), or where it looks like a key of a known vendor, a bearer token, a JSON web token or
// a private key. Messages are searched too. Redaction is the last line of defence, not the first: code does not log
// contents, and a secret has a type that does not print.
//
// The keys of attributes are the constants here, so that a log can be searched.
package telemetry
