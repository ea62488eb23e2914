// SPDX-License-Identifier: Apache-2.0

// Package openai reads the OpenAI API, which many other servers speak too, below the base path that their endpoint names: chat
// completions, responses, the older completions, embeddings, and the questions which models there are. Forms after the public
// API reference, https://platform.openai.com/docs/api-reference.
//
// Tools that the provider runs are offers with ByProvider, named by their type: web_search, web_search_preview, file_search,
// code_interpreter, image_generation, browser_search, shell (in a container of the provider's), and mcp/LABEL for a server that is reached by
// MCP. The label is the application's own choice: the server's address, or the connector's name, is the text of the offer. So are some
// features that a role must name before they pass, because no rule over texts can read them, or because not all is in the request:
//
//	image-input           images, and screenshots
//	document-input        documents
//	token-input           embeddings, completions: token numbers in place of texts
//	stored-conversation   responses: previous_response_id, conversation, item_reference: what was said before is at the provider
//	background            responses: the answer is fetched later
//	prompt-template       responses: the prompt is at the provider
//	data_sources          of some servers, which look there before they answer
//
// Not inspected: audio, files that were uploaded, tool types that are not named here, and what reads or changes
// stored things: /responses/{id} and all below, /conversations, files, assistants, batches, fine-tuning.
//
// Size: package: chat completions, responses and completions share tools, choices, tool calls, usage and errors; apart, what is
// refused in the one would be overlooked in the other.
package openai
