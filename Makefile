# Every command that a person needs; `make help` lists them.
SHELL    := /bin/bash
PGVER    ?= 15
export PGBIN ?= /usr/lib/postgresql/$(PGVER)/bin
BUILD    ?= build
JOBS     ?= $(shell nproc)
SUDO     := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := all
.PHONY: all deps install uninstall fuzz tsan check model check-sim check-unit check-sql check-tap check-assert check-valgrind check-systemd check-postgres check-long torture sim sim-bugs bench bench-cluster demo demo-stop cluster-demo cluster-demo-stop format tidy clean help

help:            ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

deps:            ## install the Debian packages that Concord is built and tested with
	@scripts/deps.sh

$(BUILD)/build.ninja: CMakeLists.txt
	@cmake -G Ninja -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
		-DPG_CONFIG=$(PGBIN)/pg_config >/dev/null

all: $(BUILD)/build.ninja  ## build the extension and the sidecar
	@cmake --build $(BUILD) -j $(JOBS)

install: all     ## install into PostgreSQL's directories
	@SUDO="$(SUDO)" scripts/install.sh $(BUILD) $(PGBIN)

uninstall:       ## remove what install put there
	@SUDO="$(SUDO)" scripts/install.sh --remove $(BUILD) $(PGBIN)

check:           ## install what is needed, build, run every test
	@scripts/check.sh $(PARTS)

model:           ## have spin check the model of the journal's protocol; MODEL=long: within wider bounds too
	@scripts/deps.sh
	@scripts/model.sh $(MODEL)

check-sim:       ## the simulation with a few seeds, and that it finds bugs planted for it
	@scripts/check.sh sim

check-unit:      ## unit tests with the address and undefined behaviour sanitizers
	@scripts/check.sh unit

check-sql:       ## pg_regress and isolation tests
	@scripts/check.sh regress isolation

check-tap:       ## tests with real processes, crashes and restarts
	@scripts/check.sh tap

check-assert:    ## check, compiled with gcc, with a PostgreSQL that has assertions; builds it from Debian's source if there is none yet
	@pgbin=$$(scripts/assert_postgres.sh) && CXX=g++ $(MAKE) --no-print-directory check PGBIN=$$pgbin BUILD=build-assert

check-valgrind:  ## the regress tests, with the server's processes under valgrind
	@scripts/valgrind.sh

check-postgres:  ## PostgreSQL's own regression and isolation suites; SUITES="regress isolation"
	@scripts/check_postgres.sh $(SUITES)

check-systemd: install ## the unit of concordd under a systemd of its own: kills, stops, a mistake; needs root
	@$(SUDO) scripts/systemd_test.sh

# Each proof once: check-assert leaves out the unit tests, which know no PostgreSQL.
check-long:      ## all long proofs: check with more kills and larger loads, tsan, fuzz, check-postgres, check-assert, check-valgrind, check-systemd; about 100 min on 2 cores
	@CONCORD_KILLS=50 CONCORD_SECONDS=30 CONCORD_CRASH_SEEDS=200 CONCORD_SERVER_CRASHES=10 CONCORD_MATRIX=full \
		CONCORD_TORTURE_KILLS=60 CONCORD_LARGE_MB=100 CONCORD_ROUNDS=3 MODEL=long CONCORD_SIM_SEEDS=2000 CONCORD_SIM_BUGS=all scripts/check.sh
	@$(MAKE) --no-print-directory tsan
	@$(MAKE) --no-print-directory fuzz SECONDS=10
	@$(MAKE) --no-print-directory check-postgres
	@$(MAKE) --no-print-directory check-assert PARTS="regress isolation tap"
	@$(MAKE) --no-print-directory check-valgrind
	@$(MAKE) --no-print-directory check-systemd

torture: install ## kill -9 under load for MINUTES=n, until KILLS=n (200 if neither is given); SEED=n
	@cmake --build $(BUILD) -j $(JOBS) --target torture >/dev/null
	@scripts/torture.sh --minutes $(or $(MINUTES),0) --kills $(or $(KILLS),$(if $(MINUTES),1,200)) $(if $(SEED),--seed $(SEED))

$(BUILD)/sidecar/simulation/concord_simulation: $(BUILD)/build.ninja FORCE
	@cmake --build $(BUILD) -j $(JOBS) --target concord_simulation
FORCE:

sim: $(BUILD)/sidecar/simulation/concord_simulation ## a whole cluster in one process, with misfortunes: SEEDS=n, from SEED_BASE=n on
	@$< --seeds $(or $(SEEDS),200) --base $(or $(SEED_BASE),1)

sim-bugs: $(BUILD)/sidecar/simulation/concord_simulation ## each planted bug must turn the simulation red
	@cmake --build $(BUILD) -j $(JOBS) --target concordd
	@BUILD=$(BUILD) scripts/sim_bugs.sh

fuzz:            ## fuzz what reads bytes from outside, with libFuzzer: SECONDS=n for each target
	@scripts/fuzz.sh $(or $(SECONDS),60)

tsan:            ## unit tests with the thread sanitizer
	@scripts/check.sh threads

bench: install   ## compare with heap tables on one server, in one run
	@bench/bench.sh; status=$$?; bench/recovery.sh && exit $$status

bench-cluster: install ## compare a cluster on this machine with heap and two synchronous standbys, in one run; fail-over times
	@bench/cluster.sh

demo:            ## install everything, start a server, show pgbench on Concord and on heap
	@scripts/demo.sh start

cluster-demo:    ## a cluster on this machine: etcd, three journal nodes, two adjudicators; some are killed under load
	@scripts/cluster_demo.sh start

cluster-demo-stop: ## stop the cluster that `make cluster-demo` left running and remove it
	@scripts/cluster_demo.sh stop

demo-stop:       ## stop the server that `make demo` left running and remove it
	@scripts/demo.sh stop

format:          ## clang-format over the C++ sources
	@scripts/format.sh

tidy: $(BUILD)/build.ninja  ## clang-tidy over the C++ sources
	@git ls-files 'core/*.cpp' 'sidecar/*.cpp' 'extension/bridge/*.cpp' 'extension/gateway/*.cpp' ':!:*_test.cpp' | \
		xargs -P $(JOBS) -n 1 clang-tidy -p $(BUILD) --quiet 2> >(grep -vE '^[0-9]+ warnings? generated\.$$' >&2)

clean:           ## remove what was built
	@rm -rf $(BUILD) build-asan build-assert build-tsan build-valgrind build-fuzz
