"""docs/benchmarks.md and its plots, from the raw results of bench/compare."""

import collections
import dataclasses
import statistics

import svg

# The plots, by what they show.
PLOTS = {"ratio": "benchmarks-ratio.svg", "rate": "benchmarks-rate.svg",
         "p99": "benchmarks-p99.svg"}
# Their rates are asked for; they have tables of their own.
OPEN_LOOPS = ("open-50", "overload-200")


class Results:
    """The raw results, by stage, work and system."""

    def __init__(self, data):
        self.data = data
        self._runs = collections.defaultdict(list)
        self._titles = {}
        for run in data["runs"]:
            self._runs[run["stage"], run["work"], run["system"]].append(run["result"])
            self._titles[run["stage"], run["work"]] = run["title"]

    def works(self, stage):
        """(name, title) in the order in which they were measured."""
        return [(work, title) for (of, work), title in self._titles.items() if of == stage]

    def all(self, stage, work, system, field):
        """Of each round; without those that have none."""
        values = [run.get(field) for run in self._runs.get((stage, work, system), [])]
        return [value for value in values if value is not None]

    def median(self, stage, work, system, field):
        values = self.all(stage, work, system, field)
        return statistics.median(values) if values else None

    def ratio(self, stage, work, field="ops_per_s", other="etcd"):
        ours = self.median(stage, work, "raftkv", field)
        theirs = self.median(stage, work, other, field)
        return ours / theirs if ours is not None and theirs else None

    def runs(self, stage, work, system):
        return self._runs.get((stage, work, system), [])


def number(value, digits=0, unit=""):
    return "" if value is None else f"{value:,.{digits}f}{unit}"


def milliseconds(us):
    return number(None if us is None else us / 1000, 1 if us is None or us >= 10_000 else 2)


def table(head, rows):
    if not rows:
        return ""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def rate_cell(results, stage, work, system):
    rates = results.all(stage, work, system, "ops_per_s")
    if not rates:
        return ""
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


def latency_cell(results, stage, work, system):
    return ", ".join(milliseconds(results.median(stage, work, system, field))
                     for field in ("p50_us", "p99_us"))


def comparison(results, stage, other="etcd"):
    """raftkv beside another system: throughput, latency and CPU."""
    rows = []
    for work, title in results.works(stage):
        if work in OPEN_LOOPS or not results.runs(stage, work, other):
            continue
        rows.append([title] +
                    [rate_cell(results, stage, work, system) for system in ("raftkv", other)] +
                    [f"**{number(results.ratio(stage, work, other=other), 2)}**"] +
                    [latency_cell(results, stage, work, system) for system in ("raftkv", other)] +
                    [number(results.median(stage, work, system, "others_cpu_us_per_op"), 0)
                     for system in ("raftkv", other)] +
                    [" / ".join(number(results.median(stage, work, system, field), digits)
                                for field, digits in (("generator_cpu_us_per_op", 0),
                                                      ("generator_cpu_percent", 0)))
                     for system in ("raftkv", other)])
    return table(["work", "raftkv, ops/s", f"{other}, ops/s", "ratio", "raftkv p50, p99 (ms)",
                  f"{other} p50, p99 (ms)", "raftkv CPU (us/op)", f"{other} CPU (us/op)",
                  "generator with raftkv (us/op / %)", f"with {other}"], rows)


# The targets of issue 6.

@dataclasses.dataclass(frozen=True)
class Target:
    title: str
    measured: float | None
    bound: float
    at_least: bool = True
    unit: str = "x"
    digits: int = 2

    @property
    def met(self):
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.at_least else self.measured <= self.bound

    def row(self):
        verdict = {None: "not measured", True: "met", False: "**missed**"}[self.met]
        if self.met is False:
            off = abs(self.measured - self.bound) / self.bound if self.bound else None
            verdict += f" by {off:.0%}" if off is not None else ""
        return [self.title,
                f"{'at least' if self.at_least else 'at most'} "
                f"{number(self.bound, self.digits)}{self.unit}",
                "" if self.measured is None else f"{number(self.measured, self.digits)}{self.unit}",
                verdict]


def targets(results):
    def ratio(title, work, bound, stage="three nodes"):
        return Target(title, results.ratio(stage, work), bound)

    def worst(stage, work, field, scale=1.0):
        values = results.all(stage, work, "raftkv", field)
        return max(values) * scale if values else None

    found = [
        ratio("puts, 1 client, against etcd", "put-1", 2),
        ratio("puts, 64 clients", "put-64", 2.5),
        ratio("puts, 1,000 clients", "put-1000", 2.5),
        ratio("linearizable gets, 64 clients", "get-64", 2),
        ratio("serializable gets, 64 clients", "get-serializable-64", 1.5),
        Target("p99 of puts, 64 clients, over etcd's",
               results.ratio("three nodes", "put-64", "p99_us"), 0.5, at_least=False),
        ratio("puts on end, 1,000 clients", "sustained", 3, stage="sustained"),
        Target("longest time without an answer meanwhile, in any round",
               worst("sustained", "sustained", "gap_us", 1e-3), 200, at_least=False, unit=" ms",
               digits=0),
    ]
    for work, title in results.works("one node"):
        if results.runs("one node", work, "ceiling"):
            found.append(Target(f"one node, {title}, over the ceiling",
                                results.ratio("one node", work, other="ceiling"), 0.75))
    peak = results.median("three nodes", "overload-200", "raftkv", "peak_ops_per_s")
    accepted = results.median("three nodes", "overload-200", "raftkv", "ops_per_s")
    found += [
        Target("accepted at twice the capacity, over the capacity",
               accepted / peak if peak and accepted is not None else None, 0.9),
        Target("elections meanwhile, in any round",
               worst("three nodes", "overload-200", "elections"), 0, at_least=False, unit="",
               digits=0),
    ]
    return found


def sustained_table(results):
    rows = []
    for system in ("raftkv", "etcd"):
        def of(field, system=system):
            return results.all("sustained", "sustained", system, field)
        if not of("ops"):
            continue
        rows.append([system, number(statistics.median(of("ops"))),
                     rate_cell(results, "sustained", "sustained", system),
                     latency_cell(results, "sustained", "sustained", system),
                     f"{milliseconds(statistics.median(of('gap_us')))}, "
                     f"{milliseconds(max(of('gap_us')))}",
                     milliseconds(max(of("max_us"))), number(max(of("rss_peak_mib")), 0, " MiB")])
    return table(["", "puts", "ops/s", "p50, p99 (ms)", "longest gap (ms): median, worst round",
                  "slowest put (ms)", "RSS of the largest node"], rows)


def open_table(results):
    rows = []
    for system in ("raftkv", "etcd"):
        def median(field, system=system):
            return results.median("three nodes", "open-50", system, field)
        if median("rate") is None:
            continue
        rows.append([system, number(median("rate")), number(median("ops_per_s"))] +
                    [milliseconds(median(f)) for f in ("p50_us", "p99_us", "p999_us", "max_us")] +
                    [number(median("unstarted"))])
    return table(["", "asked for, a second", "answered, a second", "p50 (ms)", "p99 (ms)",
                  "p99.9 (ms)", "slowest (ms)", "not sent"], rows)


def overload_table(results):
    stage, work = "three nodes", "overload-200"
    rows = []
    for system in ("raftkv", "etcd"):
        runs = results.runs(stage, work, system)
        if not runs:
            continue
        codes = collections.Counter()
        for run in runs:
            codes.update(run["failures_by_code"])
        recoveries = [run["recovery_seconds"] for run in runs]
        recovery = ("not within the time given" if None in recoveries
                    else f"{statistics.median(recoveries):.1f} s, {max(recoveries):.1f} s")
        rows.append([
            system, number(results.median(stage, work, system, "rate")),
            rate_cell(results, stage, work, system),
            number(statistics.median(run["ops_per_s"] / run["peak_ops_per_s"] for run in runs), 2),
            milliseconds(results.median(stage, work, system, "p99_us")),
            ", ".join(f"{code} {count / len(runs):,.0f}"
                      for code, count in codes.items()) or "none",
            number(results.median(stage, work, system, "unstarted")),
            str(sum(run["elections"] for run in runs)),
            number(max(run["rss_peak_mib"] for run in runs), 0, " MiB"), recovery,
            number(results.median(stage, work, system, "generator_cpu_percent"), 0, "%")])
    return table(["", "asked for, a second", "accepted, a second", "over the capacity", "p99 (ms)",
                  "failures a round, by code", "not sent", "elections, all rounds",
                  "RSS of the largest node", "until it served 64 clients as before: median, worst",
                  "generator's CPU"], rows)


def machine_text(data):
    machine = data["machine"]
    syncs = machine["fdatasync_us"]
    median = statistics.median(sync[0] for sync in syncs)
    tail = statistics.median(sync[1] for sync in syncs)
    return (f"Measured on {machine['date']}: {machine['cpus']} processors ({machine['cpu']}), "
            f"{machine['memory_gib']} GiB of memory, Linux {machine['kernel']}, disk {machine['disk']}, where "
            f"appending 4 KiB and `fdatasync` took {median:.0f} us (p99 {tail:.0f} us; measured before the "
            f"first round and after each). raftkv {machine['raftkv']}, etcd {machine['etcd']} (Debian's "
            f"`etcd-server`). {data['length']['rounds']} rounds, {data['length']['seconds']:g} s a work.")


def trouble(data):
    """What went wrong in the run, as a list; empty if nothing did. Overload is meant to fail."""
    lines = [f"- {error}" for error in data.get("errors", [])]
    for run in data["runs"]:
        if run["work"] != "overload-200" and run["result"].get("failures"):
            lines.append(f"- round {run['round']}, {run['stage']}, {run['system']}, {run['title']}: "
                         f"failed requests: {run['result']['failures_by_code']}")
    return "Not all went well in this run:\n\n" + "\n".join(lines) + "\n" if lines else ""


def summary(data):
    results = Results(data)
    parts = [comparison(results, "three nodes"), comparison(results, "one node"),
             comparison(results, "one node", "ceiling"), sustained_table(results),
             open_table(results), overload_table(results),
             table(["target", "", "measured", ""], [target.row() for target in targets(results)])]
    return "\n\n".join(part for part in [*parts, trouble(data)] if part)


INTRO = """# Benchmarks

raftkv beside etcd, by `bench/compare`: this file is made by it, from one run. What is compared:

- Three nodes each on loopback, and one node each, started by turns: every round measures both systems, in an order
  that changes from round to round. The figures are medians over the rounds (with the slowest and the fastest round),
  and what counts is their ratio: absolute figures of a shared machine drift.
- Both with their defaults, and with durability on: every write is on the disks of a majority (of the one node) before
  it is acknowledged. etcd has a larger quota (8 GiB), so that it goes on writing.
- The same load generator for all, `raftkv-bench`, on the same machine; its share of the CPU is in the tables (of all
  processors). Keys of 8 bytes, drawn uniformly from {keys:,} that are there before; values of 256 random bytes, which do not
  compress, unless a row says otherwise. 64 clients have 8 connections, 1,000 have 100, spread over all nodes; one client
  asks the leader, in both systems.
- Before works that read, both are compacted (and a second passes). etcd 3.4 copies its buffer of uncommitted writes for each
  read, at the largest size it ever had, until a commit without puts drops it: after a load its reads would take a multiple
  of their CPU, which is no measure of etcd at rest.
- The *ceiling* is `bench/ceiling.cc`: a bare gRPC server that gathers the puts that wait, appends them to a file, syncs it
  once and answers. No Raft, no database. It bounds what one node can do on this machine with this gRPC.
"""

AGAIN = """## Again

    make bench                                   # etcd's server (not started), and a build
    bench/compare --json /tmp/compare.json       # nothing else should run meanwhile
    bench/compare --report /tmp/compare.json     # this file, and its plots

`--quick` takes a few minutes and shows that everything works; `--only put-64 get-64` measures these works alone. What
`raftkv-bench` can do by itself is in [operations.md](operations.md); how both go on as data grows, in [growth-benchmarks.md](growth-benchmarks.md).
"""


def write(data, docs):
    """The paths that were written."""
    results = Results(data)
    quick = ("**This is a quick run: too short to be quoted.**\n\n" if data.get("quick") else "")
    text = "\n".join([
        INTRO.format(keys=data["length"]["keys"]), quick + machine_text(data), "", *filter(None, [trouble(data)]),
        "## Targets\n", table(["target", "", "measured", ""],
                              [target.row() for target in targets(results)]), "",
        "## Three nodes\n", f"![raftkv's throughput over etcd's]({PLOTS['ratio']})\n",
        comparison(results, "three nodes"), "",
        "CPU is of all nodes together.\n",
        f"![operations a second]({PLOTS['rate']})\n", f"![p99]({PLOTS['p99']})\n",
        "## Puts on end\n", sustained_table(results), "",
        "## Open loop\n",
        "Requests come as from users who do not know of each other (a Poisson process), at half the "
        "rate that this system\nhad with 1,000 clients in this round. Latency counts from when a request "
        "was to be sent.\n",
        open_table(results), "",
        "At twice that rate, with up to 30,000 requests in flight (more are not sent, but counted):\n",
        overload_table(results), "",
        "## One node\n", comparison(results, "one node"), "",
        "Against the ceiling:\n", comparison(results, "one node", "ceiling"), "", AGAIN])
    paths = [docs / "benchmarks.md"]
    paths[0].write_text(text, encoding="utf-8")
    closed = [(title, work) for work, title in results.works("three nodes")
              if work not in OPEN_LOOPS]
    bars = [(title, [results.median("three nodes", work, system, "ops_per_s")
                     for system in ("raftkv", "etcd")]) for title, work in closed]
    tails = [(title, [(results.median("three nodes", work, system, "p99_us") or 0) / 1000
                      for system in ("raftkv", "etcd")]) for title, work in closed]
    wanted = {"put-1": 2, "put-64": 2.5, "put-1000": 2.5, "get-64": 2, "get-serializable-64": 1.5}
    ratios = [(title, results.ratio("three nodes", work), wanted.get(work))
              for title, work in closed]
    for name, drawing in {
            "ratio": svg.ratios("raftkv's throughput over etcd's, three nodes", ratios),
            "rate": svg.pairs("operations a second, three nodes", ("raftkv", "etcd"), bars),
            "p99": svg.pairs("p99 in milliseconds, three nodes (less is better)",
                             ("raftkv", "etcd"), tails)}.items():
        paths.append(docs / PLOTS[name])
        paths[-1].write_text(drawing, encoding="utf-8")
    return paths
