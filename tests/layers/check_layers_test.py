#!/usr/bin/env python3
"""Tests the checker on small trees with one thing wrong each: a checker that can't fail shows nothing."""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import check_layers  # noqa: E402

GOOD = {
    "src/store/CMakeLists.txt": "raftkv_library(raftkv_engine\n"
                                "  SOURCES engine.cc directory_lock.cc\n"
                                "  DEPENDS raftkv_common)\n",
    "src/common/status.h": "#include <string>\n",
    "src/raft/core.h": '#include <vector>\n\n#include "common/status.h"\n#include "raft/log.h"\n',
    "src/store/engine.h": '#include <rocksdb/db.h>\n#include <fcntl.h>\n#include "common/status.h"\n',
    "src/store/kv_store.h": '#include "rpc.pb.h"\n#include "store/engine.h"\n',
    "src/wal/log_store.h": '#include "raft/core.h"\n#include "store/engine.h"\n'
                           '#include "store/directory_lock.h"\n',
    "src/server/app.cc": '#include <grpcpp/grpcpp.h>\n#include "store/kv_store.h"\n'
                         '#include "rpc.grpc.pb.h"\n#include "wal/log_store.h"\n',
    "src/tools/ctl/main.cc": '#include "tools/ctl/format.h"\n#include "wal/log_store.h"\n',
    "tests/raft/core_test.cc": "// No sleep() here.\nTick();\n",
    "tests/e2e/helper.cc": "std::this_thread::sleep_for(1s);\n",
}


class CheckLayersTest(unittest.TestCase):
    def problems_with(self, changed):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in {**GOOD, **changed}.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_layers.check(root)

    def assert_one_problem(self, name, text, expected):
        problems = self.problems_with({name: text})
        self.assertEqual(len(problems), 1, problems)
        self.assertTrue(problems[0].startswith(name + ":"), problems)
        self.assertIn(expected, problems[0])

    def test_a_tree_that_keeps_the_rules_passes(self):
        self.assertEqual(self.problems_with({}), [])

    def test_what_each_layer_may_not_include(self):
        forbidden = {
            "src/common/x.h": ['"raft/core.h"', '"store/engine.h"', "<rocksdb/db.h>", "<unistd.h>",
                               "<spdlog/spdlog.h>", '"rpc.pb.h"'],
            "src/raft/x.cc": ['"wal/log_store.h"', '"store/engine.h"', '"server/app.h"', '"raft.pb.h"',
                              "<spdlog/spdlog.h>", "<thread>", "<chrono>", "<random>", "<mutex>",
                              "<fstream>", "<unistd.h>", '"common/mailbox.h"', "<google/protobuf/any.h>"],
            "src/store/engine.cc": ['"store/kv_store.h"', '"raft/core.h"', '"wal/keys.h"', '"rpc.pb.h"'],
            "src/store/directory_lock.cc": ['"store/command.h"'],
            "src/wal/x.cc": ['"store/kv_store.h"', '"store/command.h"', '"server/app.h"', '"rpc.pb.h"',
                             "<grpcpp/grpcpp.h>"],
            "src/store/x.cc": ['"raft/core.h"', '"wal/keys.h"', '"server/app.h"', '"tools/ctl/format.h"',
                               '"rpc.grpc.pb.h"', '"raft.pb.h"', "<grpcpp/grpcpp.h>", "<httplib.h>"],
            "src/server/x.cc": ['"tools/ctl/format.h"'],
            "src/tools/ctl/x.cc": ['"server/app.h"'],
        }
        for name, includes in forbidden.items():
            for include in includes:
                with self.subTest(name=name, include=include):
                    self.assert_one_problem(name, f"#include {include}\n", "may not include")

    def test_ways_around_the_rule(self):
        self.assert_one_problem("src/raft/x.h", '#include "../wal/keys.h"\n', "may not include")
        self.assert_one_problem("src/raft/x.h", '#include "core.h"\n', "named from src/")
        self.assert_one_problem("src/raft/x.h", '  #  include"wal/keys.h"\n', "may not include")
        self.assert_one_problem("src/raft/x.h", "#include WAL_KEYS\n", "can't be read")
        self.assert_one_problem("src/raft/deep/x.h", '#include "wal/keys.h"\n', "may not include")
        self.assert_one_problem("src/extra/x.h", "", "no layer")

    def test_long_files(self):
        self.assertEqual(self.problems_with({"src/raft/x.cc": "\n" * 600}), [])
        self.assert_one_problem("src/raft/x.cc", "\n" * 601, "601 lines")

    def test_sleeping_unit_tests(self):
        for folder in ("raft", "wal", "store"):
            for call in ("std::this_thread::sleep_for(1ms);", "sleep(1);", "usleep (5);"):
                with self.subTest(folder=folder, call=call):
                    self.assert_one_problem(f"tests/{folder}/x_test.cc", call + "\n", "sleeps")

    def test_an_empty_tree_is_not_a_pass(self):
        with tempfile.TemporaryDirectory() as folder:
            store = pathlib.Path(folder) / "src/store"
            store.mkdir(parents=True)
            (store / "CMakeLists.txt").write_text(GOOD["src/store/CMakeLists.txt"])
            with self.assertRaises(SystemExit):
                check_layers.check(folder)


if __name__ == "__main__":
    unittest.main()
