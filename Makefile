# The commands people type. What they do is in scripts/; CMake builds (CMakePresets.json).
.DEFAULT_GOAL := help
.PHONY: run test build asan tsan fuzz soak sim bench format tidy clean help
SHELL := /bin/bash

run: ## Install what is missing, build, and run three nodes on this machine (Ctrl-C stops them)
	@scripts/install-deps
	@scripts/build release raftkvd raftkvctl raftkv-dump
	@exec scripts/run-cluster

test: build ## Install what is missing, build, and run every test; what has time for it under sanitizers too
	@scripts/test release
	@scripts/sanitizers

build: ## Install what is missing and build everything (build/release/bin)
	@scripts/install-deps
	@scripts/build release

asan: ## Build and test with AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/install-deps
	@scripts/build asan
	@scripts/test asan

tsan: ## Build and test with ThreadSanitizer
	@scripts/install-deps
	@scripts/build tsan
	@scripts/test tsan

fuzz: ## Install clang, and fuzz every decoder for a minute: make fuzz [SECONDS=60] [TARGET=name]
	@scripts/install-deps --fuzz
	@scripts/fuzz $(or $(SECONDS),60) $(TARGET)

soak: build ## Run the long tests (minutes, gigabytes): docs/operations.md, "Long tests"
	@scripts/soak

sim: ## Simulate clusters on all processors for HOURS hours (default 1)
	@scripts/install-deps
	@scripts/build release raftkv-sim
	@build/release/bin/raftkv-sim --hours $(or $(HOURS),1) --jobs 0 --shrink

bench: ## Install etcd's server (not started) to measure against, and build
	@scripts/install-deps --bench
	@scripts/build release

format: ## Format the C++ sources
	@scripts/format

tidy: ## Run clang-tidy over src (after make build)
	@git ls-files 'src/*.cc' | xargs clang-tidy --quiet -p build/release

clean: ## Remove what was built (not ./data)
	@rm -rf build/release build/debug build/asan build/tsan build/fuzz build/mutations build/e2e-logs

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10
