#!/usr/bin/env python3
"""Checks from the sources what keeps the layers apart: who may include what (the table below is the
layer DAG of docs/architecture.md), how long a file may get, and that unit tests do not sleep.

usage: check_layers.py REPOSITORY      prints one line a violation; exits 1 if there is any
"""

import pathlib
import re
import sys

LINES_MAX = 600

# C++20's standard headers, and the C headers by their C++ names.
STD = frozenset("""
algorithm any array atomic barrier bit bitset cassert cctype cerrno cfenv cfloat charconv chrono
cinttypes climits clocale cmath compare complex concepts condition_variable coroutine csetjmp
csignal cstdarg cstddef cstdint cstdio cstdlib cstring ctime cuchar cwchar cwctype deque exception
execution filesystem format forward_list fstream functional future initializer_list iomanip ios
iosfwd iostream istream iterator latch limits list locale map memory memory_resource mutex new
numbers numeric optional ostream queue random ranges ratio regex scoped_allocator semaphore set
shared_mutex source_location span sstream stack stdexcept stop_token streambuf string string_view
strstream syncstream system_error thread tuple type_traits typeindex typeinfo unordered_map
unordered_set utility valarray variant vector version
""".split())

# The consensus core has no I/O, clock, threads or global randomness (DESIGN: a deterministic state
# machine), so it has no use for these.
IMPURE_STD = frozenset("""
atomic barrier chrono condition_variable csignal cstdio ctime execution filesystem fstream future
iostream istream latch mutex random semaphore shared_mutex stop_token syncstream thread
""".split())
IMPURE_COMMON = frozenset(["common/mailbox.h"])

INTRINSICS = frozenset(["nmmintrin.h", "immintrin.h", "arm_acle.h"])
HASHES = frozenset(["openssl/evp.h"])
POSIX = frozenset("""
dirent.h fcntl.h poll.h pthread.h signal.h sys/file.h sys/resource.h sys/mman.h sys/socket.h
sys/stat.h sys/statvfs.h sys/time.h sys/types.h sys/uio.h sys/wait.h unistd.h netdb.h netinet/in.h
netinet/tcp.h arpa/inet.h stdio.h sys/prctl.h sys/utsname.h termios.h malloc.h
""".split())

MESSAGES = r"(rpc|kv)\.pb\.h"
ANYTHING = r".*"


class Layer:
    """What the files of one layer may include: own folders and layers by prefix, others by regex."""

    def __init__(self, own, system, generated=r"(?!)", std=STD, not_own=frozenset()):
        self.own = own
        self.system = re.compile(system + r"\Z")
        self.generated = re.compile(generated + r"\Z")
        self.std = std
        self.not_own = not_own


LAYERS = {
    "common": Layer(["common/"], "(" + "|".join(map(re.escape, [*INTRINSICS, *HASHES])) + ")"),
    "raft": Layer(["raft/", "common/"], r"(?!)", std=STD - IMPURE_STD, not_own=IMPURE_COMMON),
    # "@engine" stands for the headers of the target raftkv_engine.
    "engine": Layer(["@engine", "common/"], r"(rocksdb|spdlog)/.*|xxhash\.h"),
    "wal": Layer(["wal/", "raft/", "@engine", "common/"], r"(rocksdb|spdlog)/.*"),
    "store": Layer(["store/", "common/"], r"(rocksdb|spdlog|google/protobuf|openssl)/.*", MESSAGES),
    # Judges from the outside: it must not share a mistake with what it judges.
    "check": Layer(["check/", "common/"], r"nlohmann/.*"),
    "sim": Layer(["sim/", "store/", "wal/", "raft/", "common/"], ANYTHING, ANYTHING),
    "server": Layer(["server/", "store/", "wal/", "raft/", "common/"], ANYTHING, ANYTHING),
    # Knows a node only from outside: by its client API, its process and its files.
    "torture": Layer(["torture/", "tools/ctl/", "tools/support/", "check/", "common/"], ANYTHING,
                     ANYTHING),
    "tools": Layer(["tools/", "check/", "store/", "wal/", "raft/", "common/"], ANYTHING, ANYTHING),
}

INCLUDE = re.compile(r"\s*#\s*include\s*(.*)")
INCLUDE_NAME = re.compile(r'(?:<([^>]+)>|"([^"]+)")')
SLEEP = re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(")
SLEEPLESS_TESTS = ("raft", "wal", "store")


def engine_files(root):
    """The stems of the files in src/store that make up the engine, from its CMake target."""
    text = (root / "src/store/CMakeLists.txt").read_text()
    target = re.search(r"raftkv_library\(\s*raftkv_engine\s+SOURCES\s+([^)]*)\)", text)
    if target is None:
        raise SystemExit("check_layers: no target raftkv_engine in src/store/CMakeLists.txt")
    sources = target.group(1).split("DEPENDS")[0].split()
    return frozenset(source.rsplit(".", 1)[0] for source in sources)


def layer_of(path, engine):
    """The layer of a file, given by its parts below src."""
    if path.parts[0] == "store" and path.stem in engine:
        return "engine"
    return path.parts[0]


def include_problem(name, quoted, layer_name, engine):
    """Why a file of this layer may not include `name`, or None."""
    layer = LAYERS[layer_name]
    if quoted and "/" in name and not name.startswith("."):
        if name in layer.not_own:
            return f"{layer_name} must stay free of threads: it may not include {name}"
        in_engine = name.startswith("store/") and pathlib.PurePath(name).stem in engine
        for own in layer.own:
            if name.startswith(own) or (own == "@engine" and in_engine):
                return None
        return f"{layer_name} may not include {name}"
    if quoted:
        if layer.generated.match(name):
            return None
        return f"{layer_name} may not include {name} (own headers are named from src/)"
    if name in STD:
        if name in layer.std:
            return None
        return f"{layer_name} is deterministic and does no I/O: it may not include <{name}>"
    if name in POSIX and layer_name not in ("common", "raft"):
        return None
    if layer.system.match(name):
        return None
    return f"{layer_name} may not include <{name}>"


def check_file(root, path, engine):
    relative = path.relative_to(root)
    below_src = path.relative_to(root / "src")
    layer_name = layer_of(below_src, engine)
    lines = path.read_text(errors="replace").splitlines()
    if layer_name not in LAYERS:
        yield f"{relative}:1: no layer is called {layer_name}"
        return
    if len(lines) > LINES_MAX:
        yield f"{relative}:{len(lines)}: {len(lines)} lines; the most is {LINES_MAX}"
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if include is None:
            continue
        name = INCLUDE_NAME.match(include.group(1))
        if name is None:
            yield f"{relative}:{number}: an #include whose name can't be read"
            continue
        problem = include_problem(name.group(1) or name.group(2), name.group(2) is not None,
                                  layer_name, engine)
        if problem is not None:
            yield f"{relative}:{number}: {problem}"


def check_sleeps(root):
    for folder in SLEEPLESS_TESTS:
        for path in cpp_files(root / "tests" / folder):
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                if SLEEP.search(line.split("//")[0]):
                    yield f"{path.relative_to(root)}:{number}: a unit test sleeps: drive time instead"


def cpp_files(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in (".h", ".cc", ".cpp", ".hpp"))


def check(root):
    """Every violation in the repository at `root`, as "file:line: what"."""
    root = pathlib.Path(root).resolve()
    engine = engine_files(root)
    files = cpp_files(root / "src")
    if not files:
        raise SystemExit(f"check_layers: no sources under {root}/src")
    problems = [problem for path in files for problem in check_file(root, path, engine)]
    return problems + list(check_sleeps(root))


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    problems = check(sys.argv[1])
    print("\n".join(problems), end="\n" if problems else "")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
