"""Files that are not the session's: reading them, leaving something in them, links and devices that lead to them."""

import ctypes
import os
import stat
import subprocess
import time

from common import LIBC, attempt, call, checked, first_that_works, found, read


@attempt
def read_file(facts, token, at):
    """A file by its path."""
    return found(read(facts[at]))


@attempt
def read_same(facts, token, at):
    """A file whose content the outside knows: its digest."""
    import hashlib
    return hashlib.sha256(read(facts[at])).hexdigest()


@attempt
def list_folder(facts, token, at):
    """The names in a folder."""
    return "\n".join(os.listdir(facts[at]))


@attempt
def write_file(facts, token, at):
    """Adds a word to a file, which is made with its folders if need be."""
    path = facts[at]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"# {token}\n")


@attempt
def climb(facts, token, by):
    """A file by a way round its path: `..`, magic links, a descriptor."""
    path = facts["masked"]
    dots = "../" * 40 + path.lstrip("/")
    ways = {
        "dots": lambda: read(dots),
        "self_root": lambda: read("/proc/self/root" + path),
        "self_cwd": lambda: read("/proc/self/cwd/" + dots),
        "thread": lambda: read(f"/proc/thread-self/root{path}"),
        "descriptor": lambda: descriptor(path),
    }
    return found(ways[by]())


def descriptor(path):
    folder = os.open(".", os.O_PATH | os.O_DIRECTORY)
    for _ in range(40):
        folder = os.open("..", os.O_PATH | os.O_DIRECTORY, dir_fd=folder)
    return os.read(os.open(path.lstrip("/"), os.O_RDONLY, dir_fd=folder), 4096)


@attempt
def symlink_made_inside(facts, token):
    """A link in the work directory that leads out of it."""
    link = f"link-{token}"
    os.symlink(facts["masked"], link)
    try:
        return found(read(link))
    finally:
        os.unlink(link)


@attempt
def write_by_link(facts, token, at):
    """Writing through a link that leads out of the work directory."""
    link = f"way-{token}"
    os.symlink(facts[at], link)
    try:
        with open(link, "a", encoding="utf-8") as file:
            file.write(f"# {token}\n")
    finally:
        os.unlink(link)


@attempt
def hard_link_made_inside(facts, token):
    """A second name in the work directory for a file outside of it."""
    link = f"hard-{token}"
    os.link(facts["masked"], link)
    try:
        return found(read(link))
    finally:
        os.unlink(link)


@attempt
def hard_link_of_descriptor(facts, token):
    """The same for a file of which only a descriptor without rights is held."""
    link = f"hard-{token}"
    handle = os.open(facts["masked"], os.O_PATH)
    checked(LIBC.linkat(-100, f"/proc/self/fd/{handle}".encode(), -100, link.encode(), 0x400))
    try:
        return found(read(link))
    finally:
        os.unlink(link)


@attempt
def by_handle(facts, token):
    """A file by the handle that its file system gives it, whatever the path."""
    kind, handle = facts["handle"]
    handle = bytes.fromhex(handle)
    buffer = ctypes.create_string_buffer(
        len(handle).to_bytes(4, "little") + kind.to_bytes(4, "little", signed=True) + handle)
    folder = os.open(facts["work"], os.O_RDONLY)
    opened = call("open_by_handle_at", folder, buffer, os.O_RDONLY)
    return found(os.read(opened, 4096))


@attempt
def device(facts, token, name):
    """Opens a device of the host for reading and writing."""
    handle = os.open(f"/dev/{name}", os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY)
    os.close(handle)
    return "opened"


@attempt
def make_node(facts, token, block):
    """Makes a device of the host and reads it: the disk, or the kernel's log."""
    path = f"node-{token}"
    kind, number = (stat.S_IFBLK, facts["disk"]) if block else (stat.S_IFCHR, [1, 11])
    if not number:
        raise FileNotFoundError(2, "the host has no disk that is known")
    os.mknod(path, kind | 0o600, os.makedev(*number))
    try:
        return "read" if read(path, 4096) else ""
    finally:
        os.unlink(path)


@attempt
def made_node(facts, token):
    """A device that was in the work directory before."""
    return "read" if read("kmsg-made-before", 4096) else ""


@attempt
def read_disk(facts, token):
    """The disk that everything is on."""
    return "read" if read(facts["disk_path"], 4096) else ""


@attempt
def unknown_devices(facts, token):
    """Anything in /dev that is more than the few that a program needs."""
    usual = {"null", "zero", "full", "random", "urandom", "tty", "ptmx"}
    odd = []
    for folder, _, names in os.walk("/dev"):
        if folder.startswith(("/dev/pts", "/dev/fd", "/dev/shm")):
            continue
        for name in names:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            if (stat.S_ISBLK(mode) or stat.S_ISCHR(mode)) and name not in usual:
                odd.append(name)
    return " ".join(sorted(odd))


@attempt
def set_id_bit(facts, token, by):
    """A file of the attacker's in the work directory that runs as its owner, seen from outside."""
    path = os.path.abspath(f"set-id-{by}-{facts['place']}")
    name = path.encode()
    mode = 0o6755 if by.startswith("group") else 0o4755
    if by == "mknod":
        os.mknod(path, stat.S_IFREG | mode)
    elif by == "folder":
        os.mkdir(path)
        checked(LIBC.chmod(name, 0o2755))
    elif by == "creat":
        old = os.umask(0)
        handle = checked(LIBC.creat(name, mode))
        os.umask(old)
        os.close(handle)
    elif by == "open":
        old = os.umask(0)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode))
        os.umask(old)
    else:
        handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o755)
        if by == "openat2":
            os.unlink(path)
            how = ctypes.create_string_buffer((os.O_CREAT | os.O_WRONLY).to_bytes(8, "little")
                                              + mode.to_bytes(8, "little") + bytes(8))
            old = os.umask(0)
            call("openat2", -100, ctypes.c_char_p(name), how, 24)
            os.umask(old)
        elif by in ("chmod", "group"):
            checked(LIBC.chmod(name, mode))
        elif by == "fchmod":
            checked(LIBC.fchmod(handle, mode))
        elif by == "fchmodat":
            checked(LIBC.fchmodat(-100, name, mode, 0))
        elif by == "fchmodat2":
            call("fchmodat2", -100, ctypes.c_char_p(name), mode, 0)
        elif by == "descriptor":
            checked(LIBC.chmod(f"/proc/self/fd/{handle}".encode(), mode))
        elif by == "unnamed":
            other = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o755)
            os.unlink(path)
            checked(LIBC.fchmod(other, mode))
            checked(LIBC.linkat(-100, f"/proc/self/fd/{other}".encode(), -100, name, 0x400))
        else:
            # A number of another machine's table: `i386` or `x32`.
            done = subprocess.run([facts["compat"], by, "chmod", path], capture_output=True, check=False)
            if done.returncode:
                raise OSError(done.returncode if done.returncode > 0 else 38, "compat")
    return "done"


@attempt
def file_capability(facts, token):
    """A file in the work directory that gives whoever runs it a right over the host."""
    path = os.path.abspath(f"capability-{facts['place']}")
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o755))
    # cap_sys_admin, effective and permitted, version 2.
    os.setxattr(path, "security.capability", bytes.fromhex("0100000200002000000000000000000000000000"))
    return "done"


@attempt
def run_set_id(facts, token):
    """A set-uid file that was in the work directory before, and a file that only its owner may read."""
    done = subprocess.run(["./cat-as-root", "for-root-alone"], capture_output=True, check=False)
    if not found(done.stdout):
        raise PermissionError(13, "not as root")
    return found(done.stdout)


@attempt
def fill(facts, token, folder, gigabytes):
    """Takes more of a place in memory than a session may have."""
    path = os.path.join(folder, f"fill-{token}")
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        block = bytes(1 << 20)
        for _ in range(int(gigabytes * 1024)):
            os.write(handle, block)
        return "filled"
    finally:
        os.close(handle)
        os.unlink(path)


@attempt
def other_core(facts, token):
    """Makes a process of the outside leave its memory in a core file, and reads that."""
    os.kill(facts["crasher"], 6)
    for _ in range(20):
        time.sleep(0.1)
        for name in os.listdir("."):
            if name == "core" or name.startswith("core."):
                got = found(read(name, 64 << 20))
                if got:
                    return got
    return ""


@attempt
def old_core(facts, token):
    """A core file that something of avouch's would have left."""
    return first_that_works([lambda at=at: found(read(at)) for at in facts["cores"]])


@attempt
def shared_memory(facts, token):
    """A segment of System V shared memory by its number."""
    LIBC.shmat.restype = ctypes.c_void_p
    at = LIBC.shmat(facts["segment"], None, 0o10000)
    if at in (None, ctypes.c_void_p(-1).value):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found(ctypes.string_at(at, 64))


@attempt
def message_queue(facts, token):
    """A POSIX message queue by its name."""
    handle = call("mq_open", ctypes.c_char_p(facts["queue"].encode()), os.O_RDONLY | os.O_NONBLOCK, 0, None)
    os.close(handle)
    return "opened"


@attempt
def write_all_settings(facts, token, below):
    """Opens every setting of the kernel for writing; writes nothing."""
    writable, last = [], OSError(2, "nothing there")
    for folder, _, names in os.walk(below):
        if folder.count("/") > 7:
            continue
        for name in names:
            path = os.path.join(folder, name)
            if not stat.S_ISREG(os.lstat(path).st_mode):
                continue
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                writable.append(path)
            except OSError as error:
                last = error
        if len(writable) > 20:
            break
    if not writable:
        raise last
    return "writable: " + " ".join(writable[:20])


@attempt
def rewrite_setting(facts, token, path):
    """Writes to a setting of the kernel what is in it already."""
    with open(path, encoding="ascii") as file:
        held = file.read()
    with open(path, "w", encoding="ascii") as file:
        file.write(held or "\n")
    return "written"


@attempt
def sysrq(facts, token):
    """Asks the kernel for its help text, which is harmless, the way one asks it to stop."""
    with open("/proc/sysrq-trigger", "w", encoding="ascii") as file:
        file.write("h")
    return "written"


@attempt
def release_agent(facts, token):
    """The program that the kernel starts as root when a control group empties: written back as it is."""
    tries = []
    for folder, _, names in os.walk("/sys/fs/cgroup"):
        if folder.count("/") > 5:
            continue
        if "release_agent" in names:
            tries.append(lambda at=os.path.join(folder, "release_agent"): rewrite_setting(facts, token, at))
    return first_that_works(tries)


@attempt
def kernel_log(facts, token):
    """What the kernel has logged, by file and by call."""
    def by_call():
        buffer = ctypes.create_string_buffer(4096)
        return "read" if call("syslog", 3, buffer, 4096) else ""
    return first_that_works([lambda: "read" if read("/dev/kmsg", 4096) else "", by_call])


@attempt
def kernel_memory(facts, token):
    """The kernel's memory."""
    return first_that_works([lambda at=at: "read" if read(at, 64) else "" for at in ("/proc/kcore", "/dev/mem")])
