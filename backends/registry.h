/*
 * registry -- the one list of all drivers, the dialer, the sandbox.
 */
#ifndef DSYNCFS_BACKENDS_REGISTRY_H
#define DSYNCFS_BACKENDS_REGISTRY_H

#include "sync/location.h"

/* NULL-terminated */
extern const struct driver *const backends_registry[];
extern const struct backends backends_all;

#endif
