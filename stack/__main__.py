"""`python -m stack up` and `python -m stack demo [--url URL]`."""

from __future__ import annotations

import argparse
import os
import sys

from stack.home import StackError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="run the whole stack in the foreground")
    demo = commands.add_parser("demo", help="start a separate stack and drive one browser from start to finish")
    demo.add_argument("--url", help="the page to open; by default a small site that the demo serves")
    arguments = parser.parse_args()
    try:
        if arguments.command == "up":
            from stack.supervisor import up

            return up(os.environ)
        from stack.demo import run

        return run(arguments.url)
    except StackError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
