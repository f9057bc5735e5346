"""What is done on the machine itself: batched stat, list, read, readlink, ELF, records, commands. One file, standard
library only, Python 3.7 syntax, so that it also runs through SSH, in a container, or packed as a zipapp.

Every operation is `(name, *arguments)` with plain JSON arguments and gives a plain JSON result:
None where the thing is not there, {"error": reason, "code": short code} where it is there and cannot be looked at.
Nothing raises; nothing writes; every read is bounded; only regular files are opened."""

import errno
import os
import signal
import stat as stat_module
import subprocess
import sys
import threading

READ_CAP_BYTES = 64 << 20
LIST_CAP = 200000
LINK_CAP = 40

ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV, errno.ESRCH)


def failure(error):
    """The error value of an OSError (or any exception)."""
    if isinstance(error, OSError) and error.errno is not None:
        return {"error": os.strerror(error.errno), "code": errno.errorcode.get(error.errno, "EIO")}
    return {"error": "%s: %s" % (type(error).__name__, error), "code": "FAULT"}


class Agent:
    """The operations over one root ("/" or a folder that holds another machine's files)."""

    def __init__(self, root="/"):
        self.root = os.path.abspath(root)
        self.operations = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("op_")}

    def ask(self, name, *arguments):
        """The result of one operation; an unknown one or a fault of ours is an error value."""
        operation = self.operations.get(name)
        if operation is None:
            return {"error": "unknown operation %s" % name, "code": "EOPNOTSUPP"}
        try:
            return operation(*arguments)
        except OSError as error:
            return None if error.errno in ABSENT else failure(error)
        except (ValueError, TypeError, MemoryError, RecursionError, OverflowError) as error:
            return failure(error)

    # -- paths ----------------------------------------------------------------------------------------------------

    def locate(self, path, follow=True):
        """The path on this system for a path of the machine. Under another root each link is followed inside that root."""
        if self.root == "/":
            return path
        return self.root + self.resolve(path, follow)

    def resolve(self, path, follow=True):
        """The machine's real path of `path`: links resolved inside the root, ELOOP after 40 of them.
        What does not exist stays as it is written."""
        parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done = []
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                if done:
                    done.pop()
                continue
            here = "/" + "/".join(done + [part])
            if not parts and not follow:
                return here
            prefix = "" if self.root == "/" else self.root
            try:
                link = os.readlink(prefix + here)
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > LINK_CAP:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if link.startswith("/"):
                done = []
            parts.extend(p for p in reversed(link.split("/")) if p not in ("", "."))
        return "/" + "/".join(done)

    def op_realpath(self, path):
        """The real path, whether or not its last part exists."""
        return self.resolve(path)

    def op_stat(self, path, follow=True):
        """[type, size, mode, uid, "device:inode", [major, minor] or None]."""
        found = os.stat(self.locate(path, follow), follow_symlinks=follow)
        mode = found.st_mode
        kinds = (
            (stat_module.S_ISREG, "file"),
            (stat_module.S_ISDIR, "dir"),
            (stat_module.S_ISLNK, "link"),
            (stat_module.S_ISCHR, "char"),
            (stat_module.S_ISBLK, "block"),
            (stat_module.S_ISFIFO, "fifo"),
        )
        kind = next((name for test, name in kinds if test(mode)), "socket")
        device = None
        if kind in ("char", "block"):
            device = [os.major(found.st_rdev), os.minor(found.st_rdev)]
        file_id = "%d:%d" % (found.st_dev, found.st_ino)
        return [kind, found.st_size, stat_module.S_IMODE(mode), found.st_uid, file_id, device]

    def op_list(self, path):
        """Sorted [name, type] of a folder's entries; type "link" is not followed, "other" is what is no file, folder, link."""
        entries = []
        with os.scandir(self.locate(path)) as scan:
            for entry in scan:
                if len(entries) >= LIST_CAP:
                    break
                try:
                    if entry.is_symlink():
                        kind = "link"
                    elif entry.is_dir(follow_symlinks=False):
                        kind = "dir"
                    elif entry.is_file(follow_symlinks=False):
                        kind = "file"
                    else:
                        kind = "other"
                except OSError:
                    kind = "other"
                entries.append([entry.name, kind])
        return sorted(entries)

    def op_readlink(self, path):
        return os.readlink(self.locate(path, follow=False))

    def open_regular(self, path):
        """A file object on a regular file, opened so that a FIFO or a device cannot hang us."""
        handle = os.open(self.locate(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        if not stat_module.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise ValueError("not a regular file")
        return os.fdopen(handle, "rb")

    def op_read(self, path, max_bytes):
        """{"text"} where the bytes are UTF-8, else {"base64"}; "truncated" where the file is longer than `max_bytes`."""
        limit = min(int(max_bytes), READ_CAP_BYTES)
        with self.open_regular(path) as file:
            data = file.read(limit + 1)
        truncated = len(data) > limit
        data = data[:limit]
        result = {"truncated": True} if truncated else {}
        try:
            result["text"] = data.decode("utf-8")
        except UnicodeDecodeError as error:
            if truncated and error.start >= len(data) - 4:
                result["text"] = data[: error.start].decode("utf-8")
            else:
                import base64

                result["base64"] = base64.b64encode(data).decode("ascii")
        return result

    # -- processes and the system ---------------------------------------------------------------------------------

    def op_environ(self, pid, names):
        """The allowed variables of this process (pid None) or of another. `names` is the allow-list."""
        if pid is None:
            return {name: os.environ[name] for name in names if name in os.environ}
        with open(self.locate("/proc/%d/environ" % pid), "rb") as file:
            raw = file.read(1 << 20)
        found = {}
        for item in raw.split(b"\0"):
            name, _, value = item.partition(b"=")
            found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        return {name: found[name] for name in names if name in found}

    def op_system(self):
        """{"sysname", "release", "machine", "libc", "page_size", "cpus"} of the running kernel and this process's libc."""
        names = os.uname()
        try:
            libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
        except (ValueError, OSError, AttributeError):
            libc = ""
        return {
            "sysname": names.sysname,
            "release": names.release,
            "machine": names.machine,
            "libc": libc,
            "page_size": os.sysconf("SC_PAGE_SIZE"),
            "cpus": os.cpu_count() or 0,
        }

    def op_run(self, argv, timeout_s, max_bytes=1 << 20):
        """Run a command in a session of its own; at the deadline its whole group is ended.
        {"rc", "stdout", "stderr", "timed_out"}; "rc" is None where it did not end by itself."""
        environment = dict(os.environ, LC_ALL="C", LANG="C")
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        captured = [b"", b""]

        def drain(index, stream):
            kept = []
            room = max_bytes
            while True:
                block = stream.read1(65536) if hasattr(stream, "read1") else stream.read(65536)
                if not block:
                    break
                kept.append(block[: max(0, room)])
                room -= len(block)
                captured[index] = b"".join(kept)

        threads = [
            threading.Thread(target=drain, args=(i, s), daemon=True)
            for i, s in enumerate((process.stdout, process.stderr))
        ]
        for thread in threads:
            thread.start()
        timed_out = False
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
        if timed_out:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except OSError:
                pass
        for thread in threads:
            # A grandchild may hold the pipe, and a process in D state never ends: neither is waited for.
            thread.join(0.5)
        return {
            "rc": None if timed_out else process.returncode,
            "stdout": captured[0].decode("utf-8", "replace"),
            "stderr": captured[1].decode("utf-8", "replace"),
            "timed_out": timed_out,
        }


def serve(agent, source, sink):
    """Answer JSON lines: each a list of operations, answered by the list of their results."""
    import json

    for line in source:
        requests = json.loads(line)
        sink.write(json.dumps([agent.ask(*request) for request in requests], separators=(",", ":")) + "\n")
        sink.flush()


if __name__ == "__main__":
    serve(Agent(), sys.stdin, sys.stdout)
