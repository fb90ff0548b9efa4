#!/bin/bash
# histories -- every history that once showed a fault, lived again.
cd "$(dirname "$0")/../.." || exit 1
build/"${FLAVOUR:-release}"/tests/sim/sim tests/sim/histories/*
