/*
 * mount_say -- what a mount says, and where: the terminal until it has left
 * that, then syslog(3); and to a service manager.
 */
#ifndef DSYNCFS_FS_MOUNT_SAY_H
#define DSYNCFS_FS_MOUNT_SAY_H

#include <stddef.h>

/* Sets the log's sink and libfuse's. */
void mount_say_start(void);
void mount_say_left_terminal(void);

/* Reaches the log and the service manager, if one started us, for good. */
void mount_say_connect(void);
/* Tells a service manager (sd_notify(3)). */
void mount_say_manager(const char *text);
/* The same for the one line of text that it shows beside the service. */
void mount_say_status(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));
/*
 * Keeps a service manager's watchdog quiet, where there is one; may be called
 * far more often than that.  To be called by one thread, and only when it has
 * just seen that the mount works.
 */
void mount_say_alive(void);

#endif
