# SPDX-License-Identifier: Apache-2.0
"""An agent with two tools, of which neither touches anything: agent.py [--stream] PROMPT [MODEL]"""
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


args = [a for a in sys.argv[1:] if a != "--stream"]
model = args[1] if len(args) > 1 else "gpt-4o-mini"
if model.startswith("claude-"):
    from langchain_anthropic import ChatAnthropic as Chat
else:
    from langchain_openai import ChatOpenAI as Chat

try:
    agent = create_agent(Chat(model=model), tools=[search, delete_files])
    question = {"messages": [("user", args[0])]}
    if "--stream" in sys.argv:
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
        if m.type == "tool":
            print(f"result: {m.name} {m.content}")
        elif m.content:
            print(f"answer: {m.content}")
except Exception as e:
    sys.exit(f"{type(e).__name__}: {e}")
