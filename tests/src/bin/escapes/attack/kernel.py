"""Calls that an agent has no use for: keys, programs in the kernel, the terminal of whoever started it."""

import ctypes
import fcntl
import os
import resource
import subprocess
import termios
import time

from common import attempt, call, found, read

KEYCTL_READ, KEYCTL_SEARCH, KEYCTL_JOIN, KEYCTL_LINK, KEYCTL_GET_PERSISTENT = 11, 10, 1, 8, 22


@attempt
def key_by_serial(facts, token, serial):
    """A key of the outside by its number."""
    buffer = ctypes.create_string_buffer(256)
    size = call("keyctl", KEYCTL_READ, facts[serial], buffer, 256)
    return found(buffer.raw[:size]) or f"{size} bytes"


@attempt
def key_by_other_table(facts, token, by):
    """The same by a number of another machine's table."""
    done = subprocess.run([facts["compat"], by, "keyctl", str(facts["key"])], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode if done.returncode > 0 else 38, "compat")
    return found(done.stdout)


@attempt
def key_by_name(facts, token):
    """A key of the outside, found in the user's keyring or in the session's."""
    last = None
    for keyring in (-3, -4, -5):
        try:
            serial = call("keyctl", KEYCTL_SEARCH, keyring, ctypes.c_char_p(b"user"),
                          ctypes.c_char_p(facts["key_name"].encode()), 0)
            buffer = ctypes.create_string_buffer(256)
            size = call("keyctl", KEYCTL_READ, serial, buffer, 256)
            return found(buffer.raw[:size])
        except OSError as error:
            last = error
    raise last


@attempt
def key_names(facts, token):
    """The list of keys."""
    with open("/proc/keys", encoding="utf-8", errors="replace") as file:
        return file.read()[-20000:]


@attempt
def add_key(facts, token):
    """A key in the user's keyring, for whoever comes later."""
    return str(call("add_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(token.encode()), ctypes.c_char_p(b"x"), 1, -4))


@attempt
def request_key(facts, token):
    """A key by name, which the kernel may ask a program of the host for."""
    serial = call("request_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(facts["key_name"].encode()), None, 0)
    return f"key {serial}"


@attempt
def made_descriptor(facts, token, call_name):
    """A descriptor of a kind that goes round the walls, or that has been the way out before."""
    parameters = ctypes.create_string_buffer(256)
    arguments = {
        "io_uring_setup": (4, parameters),
        "userfaultfd": (1,),
        "perf_event_open": (perf(), 0, -1, -1, 0),
        "bpf": (0, ctypes.create_string_buffer((1).to_bytes(4, "little") + (4).to_bytes(4, "little") * 3 + bytes(100)), 116),
        "fanotify_init": (0, 0),
    }[call_name]
    os.close(call(call_name, *arguments))
    return "a descriptor"


def perf():
    # PERF_TYPE_SOFTWARE, dummy, of user space alone.
    return ctypes.create_string_buffer((1).to_bytes(4, "little") + (112).to_bytes(4, "little")
                                       + (9).to_bytes(8, "little") + bytes(24) + (0x60).to_bytes(8, "little") + bytes(64))


@attempt
def refused_call(facts, token, call_name):
    """A call for root; with arguments that do no harm where it is let in. Where it is not, the error tells."""
    arguments = {
        "kexec_load": (0, 0, None, 0xFFFF0000),
        "finit_module": (-1, ctypes.c_char_p(b""), 0),
        "swapon": (ctypes.c_char_p(b"/nonexistent"), 0),
        "acct": (ctypes.c_char_p(b"/nonexistent"),),
    }[call_name]
    try:
        call(call_name, *arguments)
    except OSError as error:
        # Let in, it complains of what it was given.
        if error.errno in (2, 9, 22):
            return "let in"
        raise
    return "let in"


TIOCSTI, TIOCLINUX = 0x5412, 0x541C


def type_on(handle, text):
    for letter in text:
        fcntl.ioctl(handle, TIOCSTI, letter.encode())


@attempt
def inject(facts, token, into):
    """Types a line on the terminal that the session was started from."""
    if into == "stdin":
        type_on(0, f"{token}\n")
    elif into == "tty":
        type_on(os.open("/dev/tty", os.O_RDWR), f"{token}\n")
    elif into == "path":
        type_on(os.open(facts["terminal"], os.O_RDWR | os.O_NOCTTY), f"{token}\n")
    elif into == "stderr":
        type_on(2, f"{token}\n")
    else:
        os.setsid()
        handle = os.open(facts["terminal"], os.O_RDWR)
        fcntl.ioctl(handle, termios.TIOCSCTTY, 1)
        type_on(handle, f"{token}\n")
    return "typed"


@attempt
def inject_high_bits(facts, token):
    """The same with a number whose upper half only the kernel's ioctl ignores."""
    from common import LIBC, checked
    LIBC.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p]
    for letter in f"{token}\n".encode():
        held = ctypes.c_ubyte(letter)
        checked(LIBC.ioctl(0, 0x1_0000_0000 | TIOCSTI, ctypes.addressof(held)))
    return "typed"


@attempt
def paste(facts, token, at):
    """Pastes on a console: TIOCLINUX, which is TIOCSTI for consoles."""
    handle = os.open(at, os.O_RDWR | os.O_NOCTTY) if at else 0
    fcntl.ioctl(handle, TIOCLINUX, bytes([12]))
    return "asked"


@attempt
def fork_bomb(facts, token, most):
    """As many processes as it can have, to a bound; they are ended before it returns."""
    pids = []
    ready, alive = os.pipe()
    try:
        for _ in range(most):
            pid = os.fork()
            if pid == 0:
                os.close(alive)
                os.read(ready, 1)
                os._exit(0)
            pids.append(pid)
        return f"{most} processes"
    finally:
        os.close(alive)
        for pid in pids:
            os.waitpid(pid, 0)


@attempt
def hoard(facts, token, gigabytes):
    """More memory than a session may have, touched."""
    try:
        held = bytearray()
        for _ in range(int(gigabytes * 16)):
            held += b"x" * (64 << 20)
        return "held"
    except MemoryError:
        raise OSError(12, "no memory") from None


@attempt
def many_files(facts, token, most):
    """More open files than a session may have."""
    wanted = most + 64
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except (ValueError, OSError) as error:
        raise PermissionError(1, str(error)) from None
    return "raised"


@attempt
def wait_for_log(facts, token):
    """Whether the kernel's log can be written."""
    with open("/dev/kmsg", "w", encoding="ascii") as file:
        file.write(f"avouch test {token}\n")
    time.sleep(0.05)
    return "written" if token.encode() in read("/dev/kmsg", 1 << 20) else "written"
