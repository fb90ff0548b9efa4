/*
 * metrics -- figures of a mount as a file for Prometheus.
 */
#ifndef DSYNCFS_FS_METRICS_H
#define DSYNCFS_FS_METRICS_H

#include "fs/broker.h"
#include "fs/scheduler.h"

/*
 * Has file written by the broker.  From one thread; a failure is reported once,
 * until it works again.
 */
void metrics_write(
    const char *file, struct scheduler *s, struct broker *broker);
/* In the broker: file becomes what can be read from fd.  -errno */
int metrics_save(const char *file, int fd);

#endif
