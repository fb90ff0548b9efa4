/*
 * metrics -- figures of a mount as a file for Prometheus.
 */
#ifndef DSYNCFS_FS_METRICS_H
#define DSYNCFS_FS_METRICS_H

#include "fs/scheduler.h"

/* From one thread; a failure is reported once, until it works again. */
void metrics_write(const char *file, struct scheduler *s);

#endif
