// Makes tests/testdata/golden-v1: a node's directory with every kind of record there is.
#pragma once

#include <string>

namespace raftkv::tools::dump {

// The node that the directory belongs to: raftkvd --name and --initial-cluster-token.
inline constexpr char kGoldenName[] = "n1";
inline constexpr char kGoldenToken[] = "golden";

// `path` must not exist; `scratch` is an empty directory to work in. As a crash leaves it. What it
// holds is always the same; the files' own times and numbers need not be.
void MakeGoldenDirectory(const std::string& path, const std::string& scratch);

}  // namespace raftkv::tools::dump
