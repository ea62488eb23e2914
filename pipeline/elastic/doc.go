// SPDX-License-Identifier: Apache-2.0

// Package elastic ships the journal to Elasticsearch: at least once, indexed exactly once.
//
// A Shipper follows the journal, puts records together into exchanges, and creates one document for each that has ended
// in the data stream logs-sallyport.exchange-NAMESPACE. The ID of a document is the hash of the outcome's record, so that
// a second attempt is a conflict, which counts as done. One batch is under way at a time, in the order of the journal;
// the cursor moves only when everything before it is acknowledged or written to the dead-letter file. While the server is
// away nothing gathers in memory: the journal holds it.
//
// A conflict is noticed only within one backing index: a document whose answer was lost, or that is sent again because
// the cursor was, can be there twice if the data stream rolled over in between. Its ID and event.hash are the same.
//
// fields.go is the one table from which the mappings, the documents and docs/fields.md are made. Documents hold metadata
// only: no prompt, no reply, no tool arguments.
package elastic
