/*
 * registry -- the one list of all drivers, the dialer, the sandbox.
 */
#include "backends/registry.h"

#include "backends/far.h"
#include "backends/maildir/maildir.h"
#include "backends/native/native.h"
#include "backends/sandbox.h"

const struct driver *const backends_registry[] = {
	&native_driver,
	&maildir_driver,
	NULL,
};

const struct backends backends_all = {
	.drivers = backends_registry,
	.dialer = &far_dialer,
	.sandbox = &sandbox_linux,
};
