/*
 * registry -- the one list of all drivers.
 */
#include "backends/registry.h"

#include "backends/maildir/maildir.h"
#include "backends/native/native.h"

const struct driver *const backends_registry[] = {
	&native_driver,
	&maildir_driver,
	NULL,
};
