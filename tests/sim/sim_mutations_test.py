#!/usr/bin/env python3
"""Tests scripts/sim-mutations on a stand-in for the simulator: it must not take whatever goes wrong for a bug
that was found."""

import argparse
import contextlib
import importlib.machinery
import importlib.util
import io
import pathlib
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
loader = importlib.machinery.SourceFileLoader("sim_mutations", str(ROOT / "scripts/sim-mutations"))
sim_mutations = importlib.util.module_from_spec(importlib.util.spec_from_loader("sim_mutations", loader))
loader.exec_module(sim_mutations)

SOURCES = {"raft/core.cc": "if (Mutated(Mutation::kForgetVote)) return;",
           "wal/log_store.cc": "if (Mutated(Mutation::kStaleTail)) break;"}

HEADER = """
enum class Mutation : uint8_t {
  kNone,
  kForgetVote,  // a vote is forgotten
  kStaleTail,   // a tail is stale
  kCount,
};
inline constexpr std::array<std::string_view, static_cast<size_t>(Mutation::kCount)> kMutationNames{
    "none", "forget-vote", "stale-tail"};
"""

PASSED = 'echo "seeds from 1: 100 passed, in 0.1 s"'
FOUND = 'echo "SAFETY: seed 7: node 1: a|b"; echo "seeds from 1: 6 passed, in 0.1 s"; exit 10'


class SimMutationsTest(unittest.TestCase):
    def run_on(self, mutated, unmutated=PASSED, header=HEADER, names=(), sources=SOURCES):
        """Whether all were found, and what was printed; `mutated` and `unmutated` are the simulator."""
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "raftkv-sim"
            program.write_text(f'#!/bin/sh\ncase "$*" in\n*--mutation*) {mutated} ;;\n'
                               f"*) {unmutated} ;;\nesac\n")
            program.chmod(0o755)
            for name, text in sources.items():
                path = pathlib.Path(folder) / "src" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            options = argparse.Namespace(seeds=100, jobs=1, names=list(names))
            with contextlib.redirect_stdout(io.StringIO()) as out:
                return sim_mutations.run_all(program, header, path.parents[1], options), out.getvalue()

    def assert_wrong(self, expected, *args, **kwargs):
        with self.assertRaises(sim_mutations.Wrong) as raised:
            self.run_on(*args, **kwargs)
        self.assertIn(expected, str(raised.exception))

    def test_what_was_found_and_what_was_not(self):
        all_found, table = self.run_on(FOUND)
        self.assertTrue(all_found)
        self.assertIn("| `forget-vote` | a vote is forgotten | `raft/core.cc` | seed 7 | a promise broken | "
                      "node 1: a\\|b |", table)
        self.assertEqual(len(table.splitlines()), 4)
        all_found, table = self.run_on(f'case "$*" in *stale-tail) {PASSED} ;; *) {FOUND} ;; esac')
        self.assertFalse(all_found)
        self.assertIn("| `stale-tail` | a tail is stale | `wal/log_store.cc` | **not in 100 seeds** | | |", table)
        self.assertEqual(len(self.run_on(FOUND, names=["stale-tail"])[1].splitlines()), 3)

    def test_only_its_own_exit_codes_with_a_seed_are_a_bug_found(self):
        for code in (1, 2, 9, 13, 139):
            self.assert_wrong(f"forget-vote: raftkv-sim ended with {code}",
                              FOUND.replace("exit 10", f"exit {code}"))
        self.assert_wrong("ended with -6", "kill -ABRT $$")
        self.assert_wrong("ended with 10", "exit 10")
        self.assert_wrong("ended with 11, and says 'SAFETY", FOUND.replace("exit 10", "exit 11"))
        self.assert_wrong("says 'SAFETY: seed 101", FOUND.replace("seed 7", "seed 101"))
        self.assert_wrong("did not run all seeds", "true")
        self.assert_wrong("did not run all seeds", PASSED.replace("100", "10"))

    def test_without_a_mutation_nothing_may_be_found(self):
        self.assert_wrong("without any mutation raftkv-sim ended with 10", FOUND, unmutated=FOUND)
        self.assert_wrong("without any mutation", FOUND, unmutated="true")

    def test_a_name_that_there_is_not(self):
        self.assert_wrong("there is no mutation forgot-vote", FOUND, names=["forgot-vote"])

    def test_no_line_of_the_header_is_skipped(self):
        def changed(old, new):
            self.assertIn(old, HEADER)
            return HEADER.replace(old, new)

        for header in (changed("  // a vote is forgotten", ""), changed("// a vote", "/// a vote"),
                       changed("  kForgetVote,", "  kForgetVote = 1,"), changed("kForgetVote", "ForgetVote")):
            self.assert_wrong("no enumerator and comment", FOUND, header=header)
        for header in (changed('"forget-vote", ', ""), changed('"none", ', ""),
                       changed('"forget-vote", "stale-tail"', '"stale-tail", "forget-vote"')):
            self.assert_wrong("the header's names", FOUND, header=header)
        self.assert_wrong("no enum Mutation", FOUND, header="")

    def test_a_bug_in_a_stand_in_alone_has_a_test_of_the_product(self):
        moved = {**SOURCES, "wal/log_store.cc": "", "sim/node.cc": SOURCES["wal/log_store.cc"]}
        self.assert_wrong("stale-tail is in sim/node.cc: STAND_INS is to name", FOUND, sources=moved)
        self.assert_wrong("stale-tail is put back nowhere", FOUND, sources={**SOURCES, "wal/log_store.cc": ""})
        self.run_on(FOUND, sources={**moved, "wal/log_store.cc": SOURCES["wal/log_store.cc"]})

    def test_the_sources_as_they_are(self):
        known = sim_mutations.mutations(sim_mutations.HEADER.read_text())
        self.assertGreaterEqual(len(known), 23)
        for name, _ in known:
            sim_mutations.place(name, ROOT / "src")
        tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*_test.cc"))
        for file, test in sim_mutations.STAND_INS.values():
            self.assertTrue((ROOT / "src" / file).exists(), file)
            self.assertRegex(tests, r"\bTEST(_F)?\(" + test.replace(".", ", ") + r"\)")


if __name__ == "__main__":
    unittest.main()
