/*
 * sandbox -- base/sandbox.h on Linux: Landlock, seccomp, no new privileges.
 */
#ifndef DSYNCFS_BACKENDS_SANDBOX_H
#define DSYNCFS_BACKENDS_SANDBOX_H

#include "base/sandbox.h"

extern const struct sandbox sandbox_linux;

#endif
