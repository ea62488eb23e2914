# SPDX-License-Identifier: Apache-2.0
"""An agent with two tools, of which neither touches anything: agent.py [--stream] [--client NAME] PROMPT [MODEL]

NAME is "openai" (the default), "responses", "anthropic" or "ollama"."""
import argparse
import json
import sys

from langchain_core.tools import tool

try:
    from langchain.agents import create_agent
except ImportError:  # LangChain 0.3
    from langgraph.prebuilt import create_react_agent as create_agent


@tool
def search(query: str) -> str:
    """Search the documentation."""
    return f"3 pages about {query}"


@tool
def delete_files(path: str) -> str:
    """Delete files."""
    print(f"ran delete_files on {path}")  # proof that the call got this far; nothing is deleted
    return f"deleted {path}"


def client(name, model):
    if name == "openai":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=model or "gpt-4o-mini")
    if name == "responses":
        from langchain_openai import ChatOpenAI

        return ChatOpenAI(model=model or "gpt-4o-mini", use_responses_api=True)
    if name == "anthropic":
        from langchain_anthropic import ChatAnthropic

        return ChatAnthropic(model=model or "claude-sonnet-4-5")
    from langchain_ollama import ChatOllama

    return ChatOllama(model=model or "llama3", base_url="https://ollama.example.com")


p = argparse.ArgumentParser()
p.add_argument("--stream", action="store_true")
p.add_argument("--client", default="openai", choices=["openai", "responses", "anthropic", "ollama"])
p.add_argument("prompt")
p.add_argument("model", nargs="?")
args = p.parse_args()

try:
    agent = create_agent(client(args.client, args.model), tools=[search, delete_files])
    question = {"messages": [("user", args.prompt)]}
    if args.stream:
        messages = []
        for mode, part in agent.stream(question, stream_mode=["updates", "messages"]):
            if mode == "updates":
                for update in part.values():
                    messages += update["messages"]
    else:
        messages = agent.invoke(question)["messages"][1:]
    for m in messages:
        for call in getattr(m, "tool_calls", None) or []:
            print(f"call: {call['name']} {json.dumps(call['args'], sort_keys=True)}")
        text = m.text if isinstance(m.text, str) else m.text()
        if m.type == "tool":
            print(f"result: {m.name} {text}")
        elif text:
            print(f"answer: {text}")
except Exception as e:
    sys.exit(f"{type(e).__name__}: {e}")
