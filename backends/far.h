/*
 * far -- the dialer: a transport's link with the dsync channel on it.
 */
#ifndef DSYNCFS_BACKENDS_FAR_H
#define DSYNCFS_BACKENDS_FAR_H

#include "sync/location.h"

/*
 * Forms (specs/cli.md): words of a command line, or one word with blanks that
 * holds one; tcp:[USER@]HOST:PORT; tcps:[USER@]HOST:PORT; [USER@]HOST, by
 * ssh.  USER is whose mail it is, and not ssh's login, unless
 * dsync_remote_cmd has %{login}.  A command line gets the
 * word dsync-server at its end unless it has it.
 */
extern const struct dialer far_dialer;

#endif
