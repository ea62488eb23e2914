// SPDX-License-Identifier: Apache-2.0

// Package jcs writes JSON in the canonical form of RFC 8785, so that two texts that say the same have the same bytes, and a
// digest of these binds what is said rather than how. What has no canonical form, or could be read in two ways, is an error:
// duplicate keys, lone surrogates, bytes that are no UTF-8, numbers out of range, anything behind the value.
package jcs
