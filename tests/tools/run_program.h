// Runs one of our programs as a user would.
#pragma once

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace raftkv::tools {

struct ProgramResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};

inline std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// A word for the shell.
inline std::string Quoted(const std::string& word) {
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

// `scratch` is a directory for standard error, which may be shared: ctest runs tests side by side.
// The program's input is empty.
inline ProgramResult RunProgram(const std::string& program,
                                const std::vector<std::string>& arguments,
                                const std::string& scratch) {
  std::string command = Quoted(program);
  for (const std::string& argument : arguments) command += " " + Quoted(argument);
  ProgramResult result;
  std::string err_path = scratch + "/stderr-XXXXXX";
  const int err_fd = mkstemp(err_path.data());
  EXPECT_GE(err_fd, 0);
  if (err_fd < 0) return result;
  close(err_fd);
  command += " </dev/null 2>" + Quoted(err_path);
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr);
  if (pipe == nullptr) return result;
  char bytes[4096];
  for (size_t n; (n = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) result.out.append(bytes, n);
  const int status = pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.err = ReadFile(err_path);
  unlink(err_path.c_str());
  return result;
}

}  // namespace raftkv::tools
