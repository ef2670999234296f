# SPDX-License-Identifier: BSD-3-Clause
# The front door. Everything is built by meson; this installs what is missing and calls it.
BUILD  ?= build
PREFIX ?= /usr/local
NINJA   = ninja -C $(BUILD)

.PHONY: all deps run check check-long bench bench-md fmt fmt-check install clean

all: deps $(BUILD)/build.ninja
	@$(NINJA)

deps:
	@scripts/bootstrap.sh build

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

run: all
	@scripts/run.sh $(BUILD)

check:
	@scripts/check.sh

check-long:
	@scripts/check.sh --long

bench:
	@scripts/bootstrap.sh build bench
	@scripts/bench.sh

# Beside Linux MD, in a guest.
bench-md:
	@scripts/bootstrap.sh build bench
	@[ -f build-bench/build.ninja ] || meson setup build-bench -Dbuildtype=release -Dtests=disabled >/dev/null
	@ninja -C build-bench tools/xbdev-perf >/dev/null
	@XSAN_BUILD=$(CURDIR)/build-bench bench/md.sh

fmt:
	@scripts/fmt.sh

fmt-check:
	@scripts/fmt.sh --check

# A library in a place that the loader knows is found by its cache.
install: all
	@meson setup --reconfigure $(BUILD) --prefix $(abspath $(PREFIX)) >/dev/null
	@meson install -C $(BUILD)
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" -ne 0 ] || ldconfig

clean:
	@rm -rf $(BUILD) build-*
