// SPDX-License-Identifier: Apache-2.0

// Package names finds names of people and postal addresses in text that arrives in pieces.
//
// A text is cut into words and numbers (package token). About each of them a small linear model decides, from left to right, whether
// it is part of a name, of an address, or of nothing: it sees four words to the left, two to the right, what stands between them, what
// lists say about them, and what it has decided before. Words in lower case that are in no list are never asked about, so prose costs
// little. What is decided depends on the text alone, not on how it arrives: any split gives the same spans.
//
// The lists and weights are made by test/masking/train out of openly licensed sources, which docs/names.md names.
package names
