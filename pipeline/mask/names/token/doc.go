// SPDX-License-Identifier: Apache-2.0

// Package token cuts text that arrives in pieces into words and numbers, and says what a model of names sees of them. Scanning
// and training use the same code, so that what is learned is what is seen.
package token
