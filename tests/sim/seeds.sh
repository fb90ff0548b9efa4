#!/bin/bash
# seeds -- some thousands of histories drawn from seeds, the same each time;
# `make sim SEEDS=N` runs any number.
cd "$(dirname "$0")/../.." || exit 1
build/"${FLAVOUR:-release}"/tests/sim/sim -j "$(nproc)" 1 "${SIM_SEEDS:-4000}"
