# SPDX-License-Identifier: Apache-2.0
"""One question by one of LangChain's clients: client.py NAME [STAGE FILE]

With a STAGE it stops there, after "imported" or after "built", writes FILE.here, and goes on when FILE is there."""
import importlib
import os
import sys
import time

CLIENTS = {
    "openai": ("langchain_openai", "ChatOpenAI", {"model": "gpt-4o-mini"}),
    "anthropic": ("langchain_anthropic", "ChatAnthropic", {"model": "claude-sonnet-4-5"}),
    "google-genai": ("langchain_google_genai", "ChatGoogleGenerativeAI", {"model": "gemini-2.5-flash"}),
    "mistralai": ("langchain_mistralai", "ChatMistralAI", {"model": "mistral-small-latest"}),
    "cohere": ("langchain_cohere", "ChatCohere", {"model": "command-a-03-2025"}),
    "aws": ("langchain_aws", "ChatBedrockConverse", {"model": "anthropic.claude-3-5-sonnet-20240620-v1:0", "region_name": "us-east-1"}),
    "ollama": ("langchain_ollama", "ChatOllama", {"model": "llama3", "base_url": "https://ollama.example.com"}),
}

name, stage, file = (sys.argv[1:] + ["", ""])[:3]


def reached(at):
    if at != stage:
        return
    open(file + ".here", "w").close()
    while not os.path.exists(file):
        time.sleep(0.02)


module, kind, options = CLIENTS[name]
try:
    module = importlib.import_module(module)
    reached("imported")
    client = getattr(module, kind)(**options)
    reached("built")
    print(client.invoke("say: an answer").content)
except Exception as e:
    cause = e
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__
    sys.exit(f"{type(e).__name__}: {e} [{type(cause).__name__}: {cause}]")
