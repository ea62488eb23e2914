// SPDX-License-Identifier: Apache-2.0

// Package elastic ships the journal to Elasticsearch: at least once, indexed exactly once.
//
// A Shipper follows the journal and creates the documents of each record (package document) in six data streams. The ID of a document
// is the hash of its record, so that a second attempt is a conflict, which counts as done; doubt.go has the rule for what a conflict
// cannot tell. One batch is under way at a time, in the order of the journal; the cursor moves only when everything before it is
// acknowledged or, as a record of the journal says, given up. While the server is away nothing gathers in memory: the journal holds it.
// An exchange is held whole while it is sent: some four times the size of its request and reply.
//
// It sends plain bulk requests, not those of esutil.BulkIndexer: that one repeats requests by itself and reports each item to a
// callback from several workers, so that neither the order in which the cursor may move nor which answers were lost could be told.
package elastic
