"""A user at a terminal: starts a command there, and afterwards the shell reads what stands on the line.

    terminal.py [--no-stdin] CMD...    prints what came on the terminal; lines that the shell read are `typed:LINE`
"""

import os
import pty
import select
import sys
import time

SHELL = 'if [ "$1" = --no-stdin ]; then shift; "$@" </dev/null; else shift; "$@"; fi; ' \
        'while IFS= read -r -t 1 line; do printf "\\ntyped:%s\\n" "$line"; done; printf "\\nover\\n"'


def main():
    pid, master = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "-c", SHELL, "sh", *sys.argv[1:]])
    begun, said = time.monotonic(), b""
    while time.monotonic() - begun < 40:
        if not select.select([master], [], [], 0.5)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        said += part
    sys.stdout.write(said.decode(errors="replace").replace("\r", ""))
    os.close(master)
    os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
