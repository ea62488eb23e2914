// SPDX-License-Identifier: Apache-2.0

// Package action says what becomes of a value that a rule of masking found: a tag stands in its place, its last four
// characters, a pseudonym, nothing because the exchange ends, or the value itself. A Table is compiled once from settings;
// it gives a Plan for each carrier and set of roles, and knows the values that are never masked.
//
// # Which row decides
//
// Rows are asked in order, those of the settings before the built-in ones, and the first that matches decides: its types, its
// carriers and its roles must all match; what a row leaves out matches everything. Roles are those bound to the principal when
// the text begins. The built-in rows mask secrets everywhere, and personal data everywhere but in the arguments of tool calls,
// where the application needs them.
//
// # Values that are allowed
//
// A value of a closed rule is complete before anything of it is released, so every form of entry can be asked about it
// (Table.Allowed). A value of an open rule is of any length, and only its head is: entries that apply to it are exact and at most
// MaxAllow bytes long, and the value is held for only as long as it is the beginning of one (Table.Begins), and so at most MaxAllow
// bytes are held on account of the list, and none if no entry begins with the head.
package action
