// SPDX-License-Identifier: Apache-2.0
// One question by one of LangChain's clients: client.mjs NAME [STAGE FILE]; see test/e2e/python/client.py.
import fs from "node:fs";

const [name, stage, file] = process.argv.slice(2);
const clients = {
  openai: ["@langchain/openai", "ChatOpenAI", { model: "gpt-4o-mini", maxRetries: 0 }],
  anthropic: ["@langchain/anthropic", "ChatAnthropic", { model: "claude-sonnet-4-5", maxRetries: 0 }],
};

async function reached(at) {
  if (at !== stage) return;
  fs.writeFileSync(file + ".here", "");
  while (!fs.existsSync(file)) await new Promise((r) => setTimeout(r, 20));
}

try {
  const [module, kind, options] = clients[name];
  const loaded = await import(module);
  await reached("imported");
  const client = new loaded[kind](options);
  await reached("built");
  console.log((await client.invoke("say: an answer")).content);
} catch (e) {
  let cause = e;
  while (cause.cause) cause = cause.cause;
  console.error(`${e.name}: ${e.message} [${cause.code ?? cause.name}: ${cause.message}]`);
  process.exit(1);
}
