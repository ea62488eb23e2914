// SPDX-License-Identifier: Apache-2.0

// Package metrics counts exchanges for Prometheus and tells OpenTelemetry of them. It is told of each exchange when it has ended, beside
// the record and never instead of it: what it counts is lost with the process.
//
// Labels come from configured sets only: a scope, an endpoint or a type that is not among them counts as "other", so that no caller can
// make series. Nothing of what was said is in a metric or a span.
package metrics
