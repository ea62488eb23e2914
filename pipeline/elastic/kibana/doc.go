// SPDX-License-Identifier: Apache-2.0

// Package kibana makes the saved objects that Kibana imports: data views, saved searches, visualisations, dashboards.
//
// boards.go is the one place where they are described. From each description come the saved object, in the form of
// Kibana 8, and the search that Elasticsearch is asked for it. The searches are run against a real server by test/es; the
// saved objects are checked for form only, as no Kibana takes part in the tests.
//
// Two choices serve that. Visualisations are of the aggregation-based kind: a list of Elasticsearch aggregations and the
// options of a chart, whose form has been the same since Kibana 7. And their queries are in Lucene's syntax, which Kibana
// hands to Elasticsearch as it stands, so that what is tested is what is asked.
//
// deploy/kibana/sallyport.ndjson is generated: go test ./pipeline/elastic/kibana -update.
package kibana
