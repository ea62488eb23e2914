// SPDX-License-Identifier: Apache-2.0

// Package document makes documents of Elasticsearch from records of the journal.
//
// There are six data streams, so that plain index privileges tell their readers apart: who may see what was said, and who may see
// only that it was. routes says which record goes where. table is the one place where fields are defined: mappings, documents and
// docs/fields.md are made from it.
//
// The ID of a document is the hash of the record that it is made from; of contents, which may take several documents, that of the
// outcome and the number of the part. So whatever is sent again has the same ID.
package document
