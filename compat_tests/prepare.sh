#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Makes this machine ready to build, demonstrate and test: Debian packages by name, a virtual environment in .venv, and
# the build itself. What is there already is left alone, so a second run takes seconds. Root is needed only when a
# package is missing.
set -eu
cd "$(dirname "$0")/.."

say() { printf '==> %s\n' "$*"; }

# Build; then what the demonstration and the tests run: tools to compare, models, linters, fuzzers.
PACKAGES="gcc g++ make libc6-dev libbpf-dev python3-dev python3-venv libpcap-dev libsodium-dev libvectorscan-dev libssl3 libcap2-bin iproute2 ethtool util-linux procps
tcpdump tcpreplay libcmocka-dev clang clang-format clang-tidy libclang-rt-14-dev cppcheck spin binutils
systemd mandoc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
tshark time ngrep tcpflow p0f arpwatch ssldump dnscap httpry tcpslice nmap softflowd argus-server argus-client libdaq-dev libdaq2 graphviz"

missing=
for package in $PACKAGES; do
	status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
if [ -n "$missing" ]; then
	say "installing Debian packages:$missing"
	if [ "$(id -u)" -ne 0 ]; then
		echo "prepare: only root can install packages; run this as root, or install them yourself" >&2
		exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
	say "Debian packages: all there"
fi

# A half-made environment (an earlier run was stopped) is made anew; the stamp is written last.
stamp=.venv/.ffpf-installed
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c pass 2>/dev/null; then
	say "making the virtual environment .venv"
	rm -rf .venv
	python3 -m venv .venv
fi
if ! cmp -s pyproject.toml "$stamp"; then
	say "installing Python packages into .venv (build tools, then the project with its test tools)"
	.venv/bin/python -m pip install -q --disable-pip-version-check "setuptools>=77" "cffi>=1.16"
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-build-isolation -e '.[test]'
	cp pyproject.toml "$stamp"
else
	say "Python packages: all there"
fi

say "building the library and the Python module"
.venv/bin/python setup.py -q build_ext --inplace
say "built: build/normal/libffpfpcap.so"
