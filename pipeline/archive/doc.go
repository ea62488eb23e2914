// SPDX-License-Identifier: Apache-2.0

// Package archive is the local search store: every exchange of the journal that has ended, found by fields and words, newest first.
//
// It is derived from the journal and holds no content: an index of words, what a listing shows, and where the journal has the records. It can
// be rebuilt at any time, and is, when its file is damaged or of another version. Its failure never stops traffic.
//
// # Where to start
//
// Fields (fields.go) is the table of what can be asked for. Parse reads a query, Search runs it. Follow feeds the archive
// from a journal that is being written, Rebuild from a folder.
//
// # Format
//
// SQLite with FTS5. The number of an exchange is the time at which it began, in microseconds (one more if that is taken): so newest first
// is the order of the index. A field with a value is one word of the index, a hash of both; words that are globs are looked up in the list of
// values that were seen, and if that is many, in the values of each exchange.
//
// Size: package: who reads and who writes the file share its schema, and a query's language is what the words of the index are.
package archive
