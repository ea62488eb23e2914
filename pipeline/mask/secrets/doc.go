// SPDX-License-Identifier: Apache-2.0

// Package secrets holds the rules for keys, tokens and passwords.
//
// # Kinds of rules
//
//   - A prefix that only one vendor's keys have (prefix.go, prefix_more.go): open rules, decided by the prefix and the first bytes that
//     look random, so that a stream shows the tag at once and a key that is cut is masked too.
//   - Blocks (block.go): private keys in PEM, PGP, PuTTY, the same in base64, and JSON web tokens.
//   - A form that is telling by itself (shape.go): digits, separators and lengths that vendors document.
//   - What is written to the left (assign.go, label.go): an identifier or a word that names a secret, and a value that is plausible.
//   - Connection strings and URLs (url.go), flags and headers of command lines (command.go).
//
// # What is no secret
//
// Placeholders ("your-key-here", "xxxx", "<token>", "EXAMPLE"), references to where the secret is ("${VAR}", os.environ[...],
// "{{ .Values.x }}"), identifiers and words of code, versions, hashes and UUIDs that nothing names a secret (plausible.go).
//
// Checks keep nothing and do not allocate.
//
// Size: package: a third of it are tables of vendors and words; the rest decides by one notion of what looks random and what a placeholder is,
// which rules of every kind share.
package secrets
