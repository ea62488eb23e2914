// SPDX-License-Identifier: Apache-2.0

// Package prefilter tells which of many regular expressions may match a text, and where such a match would begin, without
// running them: it looks for literal pieces that every match has. It never hides a match; it may name expressions that do
// not match.
package prefilter
