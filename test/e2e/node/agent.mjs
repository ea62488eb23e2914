// SPDX-License-Identifier: Apache-2.0
// An agent with two tools, of which neither touches anything: agent.mjs [--stream] NAME PROMPT [MODEL]
// NAME is "openai", "responses" or "anthropic". See test/e2e/python/agent.py.
import { createAgent, tool } from "langchain";

const args = process.argv.slice(2);
const stream = args[0] === "--stream" && args.shift() !== undefined;
const [name, prompt, model] = args;

const described = (what, of) => ({ type: "object", properties: { [of]: { type: "string", description: what } }, required: [of] });
const search = tool(({ query }) => `3 pages about ${query}`, {
  name: "search", description: "Search the documentation.", schema: described("what for", "query"),
});
const deleteFiles = tool(({ path }) => {
  console.log(`ran delete_files on ${path}`); // proof that the call got this far; nothing is deleted
  return `deleted ${path}`;
}, { name: "delete_files", description: "Delete files.", schema: described("which", "path") });

async function client() {
  if (name === "anthropic") {
    const { ChatAnthropic } = await import("@langchain/anthropic");
    return new ChatAnthropic({ model: model ?? "claude-sonnet-4-5", maxRetries: 0 });
  }
  const { ChatOpenAI } = await import("@langchain/openai");
  return new ChatOpenAI({ model: model ?? "gpt-4o-mini", maxRetries: 0, useResponsesApi: name === "responses" });
}

try {
  const agent = createAgent({ model: await client(), tools: [search, deleteFiles] });
  const question = { messages: [{ role: "user", content: prompt }] };
  let messages = [];
  if (stream) {
    for await (const [mode, part] of await agent.stream(question, { streamMode: ["updates", "messages"] })) {
      if (mode === "updates") for (const update of Object.values(part)) messages.push(...(update.messages ?? []));
    }
  } else {
    messages = (await agent.invoke(question)).messages.slice(1);
  }
  for (const m of messages) {
    for (const call of m.tool_calls ?? []) console.log(`call: ${call.name} ${JSON.stringify(call.args)}`);
    if (m.getType() === "tool") console.log(`result: ${m.name} ${m.text}`);
    else if (m.text) console.log(`answer: ${m.text}`);
  }
} catch (e) {
  console.error(`${e.name}: ${e.status ?? ""} ${e.message}`);
  process.exit(1);
}
